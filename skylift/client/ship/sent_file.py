"""Opening the files that were chosen: what is sent is what was looked at, or nothing."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import IO

from skylift.client.job.job import SentFile

_WAY = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Opener:
    """Opens files that were chosen. The folder of the last one stays open: the next is mostly in it."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._way = -1

    def __enter__(self) -> Opener:
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()

    def open(self, sent: SentFile) -> int:
        """A descriptor of the file. Raises OSError, also when another file is at its path by now."""
        if sent.real.parent != self._folder:
            self._enter(sent.real.parent)
        file = os.open(sent.real.name, _FILE, dir_fd=self._way)
        status = os.fstat(file)
        if (status.st_dev, status.st_ino) != (sent.device, sent.inode) or not stat.S_ISREG(status.st_mode):
            os.close(file)
            raise OSError(errno.ESTALE, "it is not the file that it was a moment ago")
        return file

    def _enter(self, folder: Path) -> None:
        self._leave()
        self._way = os.open("/", _WAY)
        for part in folder.parts[1:]:
            # No link is followed: the chosen path had none.
            inner = os.open(part, _WAY, dir_fd=self._way)
            os.close(self._way)
            self._way = inner
        self._folder = folder

    def _leave(self) -> None:
        if self._way >= 0:
            os.close(self._way)
        self._folder, self._way = None, -1


def open_sent(sent: SentFile) -> IO[bytes]:
    """Open the file that was chosen. Raises OSError, also when another file is at its path by now."""
    with Opener() as opener:
        return os.fdopen(opener.open(sent), "rb")


def mode_of(status: os.stat_result) -> int:
    """The mode in the archive: only whether the file is executable, so that it is the same for all users."""
    return 0o755 if status.st_mode & 0o100 else 0o644
