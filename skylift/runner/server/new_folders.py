"""Folders that root makes and fills in a home, whose user may put anything there in the place of anything else.

A folder belongs to root alone until it is full. Nobody else can enter it before, so paths in it lead nowhere else. The
way to it is by descriptors, and no link is followed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Dict, List

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MODE = 0o700
_OTHERS = 0o077


class NewFolders:
    """`tops` are in `home`, and must not be there yet; all paths are relative to `home`. They and what is in them come
    to be the user's with `give`. To be closed by `with`."""

    def __init__(self, home: Path, tops: List[Path], uid: int, gid: int) -> None:
        self._tops = [str(each.relative_to(home)) for each in tops]
        self._uid, self._gid = uid, gid
        self._opened = {"": os.open(os.path.realpath(str(home)), _FOLDER)}
        self._modes: Dict[str, int] = {}

    def __enter__(self) -> NewFolders:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._opened.values():
            os.close(each)

    def make(self, path: str, mode: int) -> None:
        """What it is in must have been made before. A folder that a top is in may be there: it stays as it is. Raises
        OSError."""
        if self._top_of(path):
            place = self.place(path)
            os.mkdir(place, _MODE)
            os.lchown(place, self._uid, self._gid)
            os.chmod(place, mode)
        elif path in self._tops:
            self._make_new(path)
            self._modes[path] = mode
        else:
            self._make_above(path, mode)

    def place(self, path: str) -> str:
        """The path of what is in a top, for root."""
        top = self._top_of(path)
        return "/proc/self/fd/%d/%s" % (self._opened[top], path[len(top) + 1 :])

    def give(self) -> None:
        for path, mode in self._modes.items():
            self._hand_over(path, mode)

    def _top_of(self, path: str) -> str:
        return next((top for top in self._tops if path.startswith(top + "/")), "")

    def _make_above(self, path: str, mode: int) -> None:
        try:
            self._make_new(path)
        except FileExistsError:
            self._open(path)
        else:
            self._hand_over(path, mode)

    def _make_new(self, path: str) -> None:
        above, _, name = path.rpartition("/")
        os.mkdir(name, _MODE, dir_fd=self._opened[above])
        self._open(path)
        found = os.fstat(self._opened[path])
        if found.st_uid != os.geteuid() or found.st_mode & _OTHERS or os.listdir(self._opened[path]):
            raise OSError(0, "it was exchanged while it was made", path)

    def _open(self, path: str) -> None:
        above, _, name = path.rpartition("/")
        self._opened[path] = os.open(name, _FOLDER, dir_fd=self._opened[above])

    def _hand_over(self, path: str, mode: int) -> None:
        os.fchown(self._opened[path], self._uid, self._gid)
        os.fchmod(self._opened[path], mode)
