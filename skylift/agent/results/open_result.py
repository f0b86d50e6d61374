"""Opens what a program has left in its working directory.

The program may still change its files. So nothing is judged by its path: a file is opened first, without blocking, as a
FIFO would block for ever. Then it must be a regular file in the working directory, by the kernel's own word
(/proc/self/fd). A link counts as its target, if that is in the working directory: files elsewhere on the server are not
results.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Optional

_NAMED = os.O_PATH | os.O_CLOEXEC
"""Opens nothing but the name: no FIFO waits, and no device does anything."""
_READING = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_LISTING = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class WorkingFolder:
    """The working directory of a program, which must be in `place`, the job's folder. `inner` is its path there. Raises
    OSError: FileNotFoundError if it does not exist. To be closed by `with`."""

    def __init__(self, place: Path, inner: str) -> None:
        top = os.open(str(place), _NAMED | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            found = _open_in(top, inner, _NAMED | os.O_DIRECTORY)
        finally:
            os.close(top)
        if found is None:
            raise _elsewhere(inner)
        self._descriptor: int = found

    def __enter__(self) -> WorkingFolder:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def look(self, inner: str) -> os.stat_result:
        """What is at a path now: this opens nothing, and so proves nothing."""
        return os.stat(inner or ".", dir_fd=self._descriptor, follow_symlinks=False)

    def has(self, inner: str) -> bool:
        """Also a link that leads nowhere."""
        try:
            self.look(inner)
        except OSError:
            return False
        return True

    def is_folder(self, inner: str) -> bool:
        """Also a link to one, wherever that is."""
        try:
            return stat.S_ISDIR(os.stat(inner or ".", dir_fd=self._descriptor).st_mode)
        except OSError:
            return False

    def has_folder(self, inner: str) -> bool:
        """As open_folder."""
        try:
            found = self.open_folder(inner)
        except OSError:
            return False
        if found is not None:
            os.close(found)
        return found is not None

    def find(self, inner: str) -> Optional[os.stat_result]:
        """A regular file, also behind a link. None for anything else, and for what is elsewhere. Raises OSError."""
        found = _open_in(self._descriptor, inner, _NAMED)
        if found is None:
            return None
        try:
            seen = os.fstat(found)
        finally:
            os.close(found)
        return seen if stat.S_ISREG(seen.st_mode) else None

    def open(self, inner: str) -> int:
        """A descriptor of a regular file, also behind a link. Raises OSError, also for what is elsewhere."""
        found = _open_in(self._descriptor, inner, _READING)
        if found is None:
            raise _elsewhere(inner)
        if not stat.S_ISREG(os.fstat(found).st_mode):
            os.close(found)
            raise OSError(0, "it is no longer a file")
        return found

    def open_folder(self, inner: str) -> Optional[int]:
        """A descriptor of a folder, also behind a link. None when it is elsewhere. Raises OSError."""
        return _open_in(self._descriptor, inner or ".", _LISTING)


def _elsewhere(inner: str) -> OSError:
    """The error for a file that was found in the working directory, but is not there when it is opened."""
    return OSError(errno.ELOOP, "a link that leads elsewhere is in its place", inner)


def _open_in(folder: int, inner: str, flags: int) -> Optional[int]:
    """A descriptor of what is at a path now. None if that is not in the folder. Raises OSError."""
    descriptor = os.open(inner, flags, dir_fd=folder)
    # The folder's path is read first. If the folder is moved between, the check only fails; it accepts no other file.
    top = path_of(folder).rstrip(os.sep) + os.sep
    if (path_of(descriptor) + os.sep).startswith(top):
        return descriptor
    os.close(descriptor)
    return None


def path_of(descriptor: int) -> str:
    """Where it is now, whatever path has led to it."""
    return os.readlink("/proc/self/fd/%d" % descriptor)
