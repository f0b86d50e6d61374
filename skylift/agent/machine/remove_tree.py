"""Removing what a program has left, as root.

A program can nest folders more deeply than paths can name, than Python can recurse, and than there are descriptors.
shutil.rmtree needs one of these for each level (the first two before Python 3.13). Here two folders at most are open at
a time. No link is followed, even if the user changes the tree during the removal. A file system that is mounted in the
tree, such as a volume that a program has had root mount there, is left.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Callable, List, NamedTuple, Optional, Tuple

from skylift.agent.machine.mounts import mount_of

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NAMED = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


class _Level(NamedTuple):
    """A folder on the way down: what it is, and the folders in it that are still to be removed."""

    name: str
    identity: Tuple[int, int]
    folders: List[str]


def remove_below(top: Path, path: Path) -> None:
    """Removes what is at a path below `top`, a folder with all in it. This is safe even if its user exchanges folders
    on the way. A link is removed itself, not what it leads to. What cannot be removed is left, and the first error is
    raised at the end. Raises OSError: FileNotFoundError if there is nothing. Only root may be able to change what is
    above `top`."""
    *above, name = path.relative_to(top).parts
    place = os.open(os.path.realpath(str(top)), _FOLDER)
    try:
        for each in above:
            if not _is_folder(each, place):
                os.unlink(each, dir_fd=place)
                return
            before, place = place, os.open(each, _FOLDER, dir_fd=place)
            os.close(before)
        if not _is_folder(name, place):
            os.unlink(name, dir_fd=place)
            return
        removing = _Removing(os.open(name, _FOLDER, dir_fd=place))
        try:
            removing.check(name)
            removing.run()
        finally:
            removing.close()
        os.rmdir(name, dir_fd=place)
    finally:
        os.close(place)


def _is_folder(name: str, place: int) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=place, follow_symlinks=False).st_mode)


class _Removing:
    """`_folder` is the folder that is looked at, on the way down and up again."""

    def __init__(self, folder: int) -> None:
        self._folder = folder
        self._mount = mount_of(folder)
        self._failure: Optional[OSError] = None

    def close(self) -> None:
        os.close(self._folder)

    def check(self, name: str) -> None:
        """Raises OSError if something is mounted on the folder itself."""
        above = os.open("..", _NAMED, dir_fd=self._folder)
        try:
            if mount_of(above) != self._mount:
                raise _mounted(name)
        finally:
            os.close(above)

    def run(self) -> None:
        way = [self._enter("")]
        while True:
            if way[-1].folders:
                name = way[-1].folders.pop()
                if self._try(lambda: self._go_into(name)):  # noqa: B023 (called at once)
                    way.append(self._enter(name))
                continue
            name = way.pop().name
            if not way:
                break
            self._go_up()
            if self._identity() != way[-1].identity:
                raise OSError(0, "it was moved while it was removed", name)
            self._try(lambda: os.rmdir(name, dir_fd=self._folder))  # noqa: B023 (called at once)
        if self._failure is not None:
            raise self._failure

    def _enter(self, name: str) -> _Level:
        """Removes everything in this folder except its subfolders."""
        folders: List[str] = []
        files: List[str] = []
        self._try(lambda: self._list(folders, files))
        for file in files:
            self._try(lambda: os.unlink(file, dir_fd=self._folder))  # noqa: B023 (called at once)
        return _Level(name, self._identity(), folders)

    def _list(self, folders: List[str], files: List[str]) -> None:
        with os.scandir(self._folder) as found:
            for each in found:
                (folders if each.is_dir(follow_symlinks=False) else files).append(each.name)

    def _identity(self) -> Tuple[int, int]:
        found = os.fstat(self._folder)
        return found.st_dev, found.st_ino

    def _go_into(self, name: str) -> None:
        folder = os.open(name, _FOLDER, dir_fd=self._folder)
        try:
            if mount_of(folder) != self._mount:
                raise _mounted(name)
        except OSError:
            os.close(folder)
            raise
        os.close(self._folder)
        self._folder = folder

    def _go_up(self) -> None:
        before, self._folder = self._folder, os.open("..", _FOLDER, dir_fd=self._folder)
        os.close(before)

    def _try(self, step: Callable[[], object]) -> bool:
        """Whether it went well. What is gone already need not be removed."""
        try:
            step()
        except FileNotFoundError:
            return False
        except OSError as error:
            self._failure = self._failure or error
            return False
        return True


def _mounted(name: str) -> OSError:
    return OSError(errno.EBUSY, "something is mounted there", name)
