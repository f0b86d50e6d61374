"""Whether a map's server can take inputs: a full or broken disk is not the fault of the input that meets it.

Such an error is not an outcome. The input is handed back, and the server takes no other one until it can write again.
Temporary files that ended inputs have left are removed then, but only while no input runs, as it may use them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
import time
from pathlib import Path
from typing import Iterator

from skylift.agent.machine.remove_tree import remove_below
from skylift.agent.workers.input_helper import NO_ROOM

UNFIT = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, *NO_ROOM)
_FULL = (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT))
ROOM, FILES = 4 << 20, 64
"""Bytes, and new files, for which there must be room."""
_HOLDING = 5.0
"""Seconds for which an input waits here until the server can take it. Then another server may have it."""
_LOOKING = 0.5
_TEMPORARY = ("tmp", "var/tmp", "dev/shm")
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class ServerUnfit(Exception):
    """This server cannot run an input now. Nothing is known of the input."""


class Fitness:
    """`runs` has a folder for each input that runs; `uid` is the inputs' user; `down` ends all waiting."""

    def __init__(self, runs: Path, root: Path, uid: int, down: threading.Event) -> None:
        self._runs, self._uid, self._down = runs, uid, down
        self._temporary = [root / each for each in _TEMPORARY]
        self._changing, self._running, self._reason = threading.Lock(), 0, ""

    @contextlib.contextmanager
    def one_input(self) -> Iterator[None]:
        """Around each input. Raises ServerUnfit, also in the place of an OSError that says so."""
        self._begin()
        try:
            yield
        except OSError as error:
            if error.errno not in UNFIT:
                raise
            # Without the path, which differs for each input.
            self._reason = os.strerror(error.errno)
            raise ServerUnfit(self._reason) from None
        finally:
            with self._changing:
                self._running -= 1

    def _begin(self) -> None:
        until = time.monotonic() + _HOLDING
        while True:
            with self._changing:
                crowded, self._reason = any(_is_full(each) for each in self._temporary if each.exists()), self._lack()
                if (crowded or self._reason in _FULL) and not self._running:
                    for place in self._temporary:
                        _remove_owned(place, self._uid)
                    # What is left there is of others, and may have been there from the beginning.
                    crowded, self._reason = False, self._lack()
                if not (crowded or self._reason):
                    self._running += 1
                    return
            if self._down.wait(_LOOKING) or time.monotonic() > until:
                raise ServerUnfit(self._reason or _FULL[0])

    def _lack(self) -> str:
        """What this server lacks; empty where it can take an input."""
        try:
            if _is_full(self._runs):
                return _FULL[0]
            if self._reason:
                probe = self._runs / "probe"
                with probe.open("wb", buffering=0) as file:
                    file.write(b"x")
                    os.fsync(file.fileno())
                probe.unlink()
        except OSError as error:
            return os.strerror(error.errno or 0)
        return ""


def _is_full(place: Path) -> bool:
    """Folders for temporary files may be in memory, and differ in size."""
    found = os.statvfs(str(place))
    total, free = found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
    return free < min(ROOM, total / 2) or (found.f_files > 0 and found.f_favail < FILES)


def _remove_owned(place: Path, uid: int) -> None:
    """Remove what a user has put into this folder, as far as that can be."""
    with contextlib.suppress(OSError), contextlib.ExitStack() as end:
        folder = os.open(str(place), _FOLDER)
        end.callback(os.close, folder)
        for name in os.listdir(folder):
            with contextlib.suppress(OSError):
                found = os.stat(name, dir_fd=folder, follow_symlinks=False)
                if found.st_uid == uid and stat.S_ISDIR(found.st_mode):
                    remove_below(place, place / name)
                elif found.st_uid == uid:
                    os.unlink(name, dir_fd=folder)
