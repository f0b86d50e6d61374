"""The working directories of a map's inputs: folders with links to the job's files, which no input may change.

A large project has thousands of files, and to make and remove as many links takes longer than many a program runs. So
what an input has left of its folder is put right, and the next one has it. A folder of it that nobody has touched since
shows that by the time of its last change, which only root could set. What does not look as it should is made anew.
"""

from __future__ import annotations

import os
import shutil
import stat
import threading
import time
from pathlib import Path
from typing import Dict, List, NamedTuple, Tuple

from skylift.runner.server.login_user import Login

_TICK = 50_000_000
"""Nanoseconds in which the clock of a file system may not have moved on: a change in this time may not be seen."""
_MODE = 0o755


class Changed(Exception):
    """A folder that cannot be put right."""


class Entries(NamedTuple):
    """What one folder has: links with their targets, and folders."""

    links: Dict[str, str]
    folders: List[str]


class InputFolder:
    """`tree` has the job's files, `cwd` is where the program runs, relative to it. The folder's own `path` must not be
    there yet."""

    def __init__(self, path: Path, tree: Path, cwd: str, login: Login) -> None:
        self.path = path
        self._login = login
        self._known: Dict[str, Entries] = {}
        self._seen: Dict[str, Tuple[int, int]] = {}
        for folder, folders, files in os.walk(str(tree)):
            inner = os.path.relpath(folder, str(tree))
            linked = [each for each in folders if os.path.islink(os.path.join(folder, each))]
            links = {name: _target(os.path.join(folder, name)) for name in [*files, *linked]}
            self._known[inner] = Entries(links, [each for each in folders if each not in linked])
        self._add(cwd)
        for inner in self._known:
            self._make(inner)
        for inner in self._known:
            self._see(inner)

    def _add(self, cwd: str) -> None:
        """The working directory, if no file of the job is in it."""
        inner = "."
        for name in Path(os.path.normpath(cwd)).parts:
            above, inner = self._known[inner], os.path.normpath(os.path.join(inner, name))
            if inner in self._known or name in above.links:
                if name in above.links:
                    return
                continue
            above.folders.append(name)
            self._known[inner] = Entries({}, [])

    def _make(self, inner: str) -> None:
        place = self._place(inner)
        os.mkdir(place, _MODE)
        if os.geteuid() == 0:
            os.lchown(place, self._login.uid, self._login.gid)
        for name, target in self._known[inner].links.items():
            os.symlink(target, os.path.join(place, name))

    def _place(self, inner: str) -> str:
        return os.path.normpath(os.path.join(str(self.path), inner))

    def _see(self, inner: str) -> None:
        """Remember how it is now. One that has changed a moment ago may change again without a sign of it."""
        found = os.lstat(self._place(inner))
        long_ago = time.time() * 1e9 - found.st_ctime_ns > _TICK
        self._seen[inner] = (found.st_ino, found.st_ctime_ns if long_ago else 0)

    def restore(self) -> None:
        """Put it right after an input whose processes have all ended. Raises Changed, and OSError."""
        changed = []
        for inner, (number, when) in self._seen.items():
            found = os.lstat(self._place(inner))
            if not stat.S_ISDIR(found.st_mode) or found.st_ino != number:
                raise Changed(inner)
            if found.st_ctime_ns != when:
                changed.append(inner)
                self._check(inner, found)
        for inner in changed:
            self._restore(inner)
        # Afterwards: what is removed in a folder changes the one above.
        for inner in changed:
            self._see(inner)

    def _check(self, inner: str, found: os.stat_result) -> None:
        owner = (self._login.uid, self._login.gid) if os.geteuid() == 0 else (found.st_uid, found.st_gid)
        if stat.S_IMODE(found.st_mode) != _MODE or (found.st_uid, found.st_gid) != owner:
            raise Changed(inner)

    def _restore(self, inner: str) -> None:
        place, known = self._place(inner), self._known[inner]
        missing = dict(known.links)
        with os.scandir(place) as entries:
            for each in list(entries):
                if each.name in known.folders:
                    continue
                if each.is_symlink() and missing.get(each.name) == os.readlink(each.path):
                    del missing[each.name]
                elif each.is_dir(follow_symlinks=False):
                    shutil.rmtree(each.path)
                else:
                    os.unlink(each.path)
        for name, target in missing.items():
            os.symlink(target, os.path.join(place, name))


def _target(path: str) -> str:
    return os.readlink(path) if os.path.islink(path) else path


class InputFolders:
    """`take` and `give_back` may be called from any thread. `place` is a folder of their own."""

    def __init__(self, place: Path, tree: Path, cwd: str, login: Login) -> None:
        self._place, self._made_of = place, (tree, cwd, login)
        self._free: List[InputFolder] = []
        self._changing, self._number = threading.Lock(), 0

    def take(self) -> InputFolder:
        """Raises OSError."""
        with self._changing:
            if self._free:
                return self._free.pop()
            self._number += 1
            path = self._place / ("folder-%d" % self._number)
        try:
            return InputFolder(path, *self._made_of)
        except OSError:
            shutil.rmtree(str(path), ignore_errors=True)
            raise

    def give_back(self, folder: InputFolder) -> None:
        """For the next input. No process of the last one may be there."""
        try:
            folder.restore()
        except (Changed, OSError):
            self.remove(folder)
            return
        with self._changing:
            self._free.append(folder)

    def remove(self, folder: InputFolder) -> None:
        shutil.rmtree(str(folder.path), ignore_errors=True)

    def close(self) -> None:
        while self._free:
            self.remove(self._free.pop())
