"""Opening what a program has left in its working directory.

This process is root, and the program's user may exchange every file and folder there for another one at any moment: for
a link to what only root may read, or for a FIFO, which would be waited at for ever. So nothing is judged by its path.
It is opened first, without being read or waited for, and then it must be a regular file that lies in the working
directory, by the kernel's own word (/proc/self/fd). A link counts as what it points to, if that is in there. A mount of
another namespace is elsewhere, whatever its path: links of /proc lead there, and programs without root's rights can
mount what they like where they like in a namespace of their own.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Optional

from skylift.runner.server.mounts import mount_of, own_mounts

_NAMED = os.O_PATH | os.O_CLOEXEC
"""Opens nothing but the name: no FIFO waits, and no device does anything."""
_READING = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_LISTING = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class WorkingFolder:
    """The working directory of a program, which must be in `place`: a folder whose name is in the user's hands, and
    which is at a path that only root can change. `inner` is the working directory's path in it, `uid` the program's
    user. Raises OSError: FileNotFoundError when there is none. To be closed by `with`."""

    def __init__(self, place: Path, inner: str, uid: int) -> None:
        self._uid = uid
        top = os.open(str(place), _NAMED | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            found = _open_in(top, inner, _NAMED | os.O_DIRECTORY)
        finally:
            os.close(top)
        if found is None:
            raise elsewhere(inner)
        self._descriptor: int = found

    def __enter__(self) -> WorkingFolder:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def holds(self, descriptor: int) -> bool:
        """Whether this is in the folder, whatever path has led to it."""
        return _is_in(descriptor, self._descriptor)

    def is_at(self, descriptor: int, inner: str) -> bool:
        """Whether this is at a path without a link on the way."""
        return path_of(descriptor) == os.path.join(path_of(self._descriptor), inner)

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

    def open(self, inner: str) -> Optional[int]:
        """A descriptor of a regular file, also behind a link. None when it is elsewhere. Raises OSError."""
        found = _open_in(self._descriptor, inner, _NAMED)
        if found is None:
            return None
        try:
            self._judge(os.fstat(found))
            return os.open("/proc/self/fd/%d" % found, _READING)
        finally:
            os.close(found)

    def open_in(self, name: str, folder: int) -> int:
        """The same for a file of an open folder. Raises OSError, with ELOOP for a link."""
        descriptor = os.open(name, _READING | os.O_NOFOLLOW, dir_fd=folder)
        try:
            self._judge(os.fstat(descriptor))
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def open_folder(self, inner: str) -> Optional[int]:
        """A descriptor of a folder, also behind a link. None when it is elsewhere. Raises OSError."""
        return _open_in(self._descriptor, inner or ".", _LISTING)

    def _judge(self, found: os.stat_result) -> None:
        if not stat.S_ISREG(found.st_mode):
            raise OSError(0, "it is no longer a file")
        if is_lent(found, self._uid):
            raise OSError(errno.EACCES, "it is another name of a file that the program may not read")


class OneByOne:
    """Opens files of a working directory. The folder of the last one stays open: the next is mostly in it, too."""

    def __init__(self, top: WorkingFolder) -> None:
        self._top = top
        self._name: Optional[str] = None
        self._folder: Optional[int] = None

    def __enter__(self) -> OneByOne:
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()

    def open(self, inner: str) -> Optional[int]:
        """As WorkingFolder.open does."""
        folder, _, name = inner.rpartition("/")
        if folder != self._name:
            self._leave()
            self._folder = self._top.open_folder(folder)
            self._name = folder
        if self._folder is None:
            return None
        try:
            return self._top.open_in(name, self._folder)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
        return self._top.open(inner)

    def _leave(self) -> None:
        if self._folder is not None:
            os.close(self._folder)
        self._name = self._folder = None


def elsewhere(inner: str) -> OSError:
    """For what is not in the working directory when it is opened, although it was there when it was found."""
    return OSError(errno.ELOOP, "a link that leads elsewhere is in its place", inner)


def is_lent(found: os.stat_result, uid: int) -> bool:
    """Whether a name in the user's folder is another name of a file that they may not read. Who may not read a file may
    give it a name, where the kernel lets them. What a program has had root write there has one name."""
    return os.geteuid() == 0 and found.st_nlink > 1 and found.st_uid != uid and not found.st_mode & stat.S_IROTH


def _open_in(folder: int, inner: str, flags: int) -> Optional[int]:
    """A descriptor of what is at a path now. None when that is not in the folder. Raises OSError."""
    descriptor = os.open(inner, flags, dir_fd=folder)
    try:
        is_inside = _is_in(descriptor, folder)
    except OSError:
        os.close(descriptor)
        raise
    if is_inside:
        return descriptor
    os.close(descriptor)
    return None


def _is_in(descriptor: int, folder: int) -> bool:
    mount = mount_of(descriptor)
    if mount != mount_of(folder) and mount not in own_mounts():
        return False
    # The folder first: its user may move it, but not to where a file is that is none of theirs.
    top = path_of(folder).rstrip(os.sep) + os.sep
    return (path_of(descriptor) + os.sep).startswith(top)


def path_of(descriptor: int) -> str:
    """Where it is now, whatever path has led to it."""
    return os.readlink("/proc/self/fd/%d" % descriptor)
