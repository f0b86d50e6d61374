"""The working directories of a map's inputs: folders with links to the job's files, which no input may change.

Inputs that run at the same time have the same user, who may change anything in their folders. Root makes these folders
by path. So each input gets a new one, and the user gets it once root has nothing more to do in it.
"""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path
from typing import List, NamedTuple, Optional, Tuple

from skylift.agent.job.login_user import Login
from skylift.agent.machine.walk import walk

_MODE = 0o755
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Layout(NamedTuple):
    """A folder's content, by paths in it: folders, parents before children, and links with their targets."""

    folders: List[str]
    links: List[Tuple[str, str]]


class InputFolders:
    """`tree` has the job's files, which do not change any more; `cwd` is where the program runs, relative to it.
    `make` may be called from any thread."""

    def __init__(self, tree: Path, cwd: str, login: Login) -> None:
        self._tree, self._cwd, self._login = tree, cwd, login
        self._reading = threading.Lock()
        self._layout: Optional[Layout] = None

    def make(self, path: Path) -> None:
        """`path` must not be there yet, and what is above must be root's. Raises OSError."""
        with self._reading:
            if self._layout is None:
                self._layout = _read(str(self._tree), self._cwd)
            layout = self._layout
        for inner in layout.folders:
            os.mkdir(_place(path, inner), _MODE)
        for inner, target in layout.links:
            os.symlink(target, _place(path, inner))
        if os.geteuid() == 0:
            # From the bottom up: the owner of a folder can replace what is below it.
            for inner in reversed(layout.folders):
                os.lchown(_place(path, inner), self._login.uid, self._login.gid)


def make_unchangeable(tree: Path) -> None:
    """All inputs of a server share the job's files. Processes of their user may be here already, left by a build of the
    project: so each folder is taken from them before root looks at what is in it. Raises OSError."""
    top, inners = os.open(str(tree), _FOLDER), ["."]
    try:
        while inners:
            inner = inners.pop()
            folder = os.open(inner, _FOLDER, dir_fd=top)
            try:
                inners += [os.path.join(inner, name) for name in _take_away(folder)]
            finally:
                os.close(folder)
    finally:
        os.close(top)


def _take_away(folder: int) -> List[str]:
    """The folder and its files. Returns the names of the folders in it."""
    is_root, folders = os.geteuid() == 0, []
    if is_root:
        os.fchown(folder, 0, 0)
    os.fchmod(folder, stat.S_IMODE(os.fstat(folder).st_mode) & 0o555)
    for name in os.listdir(folder):
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
        if stat.S_ISDIR(mode):
            folders.append(name)
            continue
        if is_root:
            os.chown(name, 0, 0, dir_fd=folder, follow_symlinks=False)
        if not stat.S_ISLNK(mode):
            os.chmod(name, stat.S_IMODE(mode) & 0o555, dir_fd=folder)
    return folders


def _place(path: Path, inner: str) -> str:
    return os.path.normpath(os.path.join(str(path), inner))


def _read(tree: str, cwd: str) -> Layout:
    layout = Layout([], [])
    for inner, found in walk(tree):
        place = os.path.join(tree, inner)
        if stat.S_ISDIR(found.st_mode):
            layout.folders.append(inner or ".")
        else:
            layout.links.append((inner, os.readlink(place) if stat.S_ISLNK(found.st_mode) else place))
    _add(layout, cwd)
    return layout


def _add(layout: Layout, cwd: str) -> None:
    """The working directory, if no file of the job is in it."""
    links, inner = {each for each, _ in layout.links}, "."
    for name in Path(os.path.normpath(cwd)).parts:
        inner = os.path.normpath(os.path.join(inner, name))
        if inner in links:
            return
        if inner not in layout.folders:
            layout.folders.append(inner)
