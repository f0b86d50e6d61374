"""Which files are sent with a job.

- A script with a PEP 723 header is sent alone, because the header says what it needs.
- Inside a project (the nearest folder above with `pyproject.toml` or `.git`) the whole project is sent, without files
  that git ignores, and without virtual environments.
- Otherwise a script is sent alone, with the `requirements.txt` beside it.
- `--in` adds files, folders and globs. Everything keeps its path relative to the working directory.

A project may be somebody else's. Files that it links to outside of itself, or in its `.git`, are not sent unless --in
names them: `data.txt` may be a link to a private key.
"""

from __future__ import annotations

import errno
import fnmatch
import glob
import os
import stat
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from skylift.agent.results.outputs import asked_for
from skylift.client.errors import UsageError
from skylift.client.job.job import Bundle, SentFile
from skylift.client.ship.git import has_git, list_repository, list_unversioned, list_within, repository_of
from skylift.client.text.user_path import user_path
from skylift.client.text.visible import shown

_PROJECT_MARKS = ("pyproject.toml", ".git")
_ENVIRONMENT_MARKS = ("/pyvenv.cfg", "/conda-meta/history")
"""Files at fixed places of virtual environments, of venv and of conda. Nothing in one is of use on a server, and not
every tool that makes one tells git to ignore it."""
_LARGE = 8 << 20
"""The size in bytes from which a file is uploaded by itself."""
_MOST_LARGE = 32
"""The job's role names each large file and each pack of the others (see pack.py). The policies of a role have at most
10,240 characters."""
_MOST_FILES = 500_000
_MOST_BYTES = 100 << 30
"""The most bytes of a project. Files that --in names may be larger."""
_MOST_LINKS = 40
"""The longest chain of links to folders; the kernel follows as many in a path."""


def is_environment(folder: Path) -> bool:
    """Whether it is a virtual environment."""
    return any(os.access(f"{folder}{mark}", os.F_OK) for mark in _ENVIRONMENT_MARKS)


def find_project(start: Path) -> Path | None:
    """The nearest project folder from `start` upwards. The home directory and `/` are no projects, and neither is a
    folder like /tmp, where other users may make a `pyproject.toml`."""
    # A working directory has no links in its path; the home directory may be one.
    home = user_path("~")
    ends = (Path("/"), home, _resolve(home))
    for folder in (start, *start.parents):
        if folder in ends:
            return None
        if any((folder / mark).exists() for mark in _PROJECT_MARKS):
            return None if folder.stat().st_mode & stat.S_ISVTX else folder
    return None


def plan_bundle(
    cwd: Path, project: Path | None, alone: Iterable[Path], inputs: Iterable[str], beside: Iterable[Path] = ()
) -> Bundle:
    """Choose the files: the whole `project`, the single files of `alone`, the files that the --in of `inputs` name, and
    those of `beside`, which the user has not named.

    Raises UsageError for a file that is missing, unreadable, or outside the folder whose layout is kept, and for a
    named link that leads out of it.
    """
    root = project or cwd
    chosen = _Chosen(root)
    if project is not None:
        listed = list_project(project)
        for place in listed:
            chosen.take_listed(place, frozenset(listed))
        chosen.check_size()
    for path in alone:
        chosen.take(path, at=_place_of(path, root, cwd), home=project)
    for path in beside:
        chosen.take(path, at=_place_of(path, root, cwd), home=project or path.parent)
    wanted = [each for text in inputs for each in _expand_input(cwd, text)]
    named = {each.path for each in wanted if each.named}
    for each in wanted:
        if not each.path.is_relative_to(root):
            raise UsageError(
                f"--in {shown(each.text)}: {shown(each.path)} is outside {shown(root)}, so it has no place relative to "
                "the working directory.",
                "Run skylift from a folder that contains both, or copy or link the file into this one.",
            )
        known = any(each.path.is_relative_to(other) for other in named)
        chosen.take(each.path, home=None if known else root, named=named)
    return chosen.bundle(cwd)


def _place_of(path: Path, root: Path, cwd: Path) -> str:
    inside = path.is_relative_to(root)
    return path.relative_to(root).as_posix() if inside else (cwd.relative_to(root) / path.name).as_posix()


def list_project(project: Path) -> list[str]:
    """Files of a project that are tracked, or untracked and not ignored, as sorted POSIX paths; without virtual
    environments."""
    places = _list_all(project)
    environments = {place.removesuffix(mark) for place in places for mark in _ENVIRONMENT_MARKS if place.endswith(mark)}
    within = tuple(f"{each}/" for each in environments)
    return [each for each in places if not each.startswith(within)] if within else places


def _list_all(project: Path) -> list[str]:
    if not has_git():
        if (project / ".gitignore").exists() or (project / ".git").exists():
            raise UsageError(
                f"{shown(project)} has git's ignore rules, but there is no `git` on this machine to apply them.",
                "Install git, or give the script a PEP 723 header (`# /// script` and `# ///`) to send it alone.",
            )
        return sorted(place for place in _walk(project) if not place.endswith(".pyc"))
    is_repository = (project / ".git").exists()
    # Of a repository further up that has the project in it, the rules count as well.
    names = list_repository(project) if is_repository else list_within(project, tracked=False) or []
    if not is_repository and "pyproject.toml" not in names:
        names = list_unversioned(project)
    return sorted(_list_nested(project, names))


def _list_nested(top: Path, names: list[str]) -> Iterator[str]:
    """List submodules and nested repositories too: git has one entry for each of them."""
    waiting = list(names)
    while waiting:
        place = waiting.pop()
        path = top / place
        if not _is_a_place(place):
            yield place
        elif path.is_dir() and not path.is_symlink():
            if (path / ".git").exists():
                waiting += [f"{place}/{each}" for each in list_repository(path)]
        elif os.path.lexists(path):
            yield place


def _is_a_place(name: str) -> bool:
    """Whether a name is a relative path below the folder. A manipulated git index may have other names."""
    return not name.startswith("/") and not {"", ".", ".."} & set(name.split("/")) and not _is_in_git(name)


def _is_in_git(name: str) -> bool:
    """Whether a name is in git's own folder, which has credentials of remotes, and hooks; on file systems that ignore
    case, in any case."""
    return ".git" in name.casefold().split("/")


def _walk(top: Path) -> Iterator[str]:
    """All files below a folder. Links to folders are not followed. Raises UsageError for a folder that cannot be
    read."""
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            entries = sorted(os.scandir(top / folder), key=lambda each: each.name)
        except OSError as error:
            raise UsageError(f"The folder {shown(top / folder)} cannot be read: {error.strerror}.") from None
        for entry in entries:
            place = f"{folder}/{entry.name}" if folder else entry.name
            if not entry.is_dir(follow_symlinks=False):
                yield place
            elif entry.name not in ("__pycache__", ".git"):
                waiting.append(place)


class _Wanted(NamedTuple):
    """One path of an `--in`. `named` is whether the user wrote it out, without a glob."""

    text: str
    path: Path
    named: bool


def expand(cwd: Path, text: str) -> list[Path]:
    """The absolute paths that a word names: what has this very name, or else all matches of a glob, which may be none.
    Links are not resolved."""
    path = _absolute(cwd, text)
    if os.path.lexists(path):
        return [path]
    if not glob.has_magic(text):
        return []
    parts = user_path(text).parts
    found = sorted(set(_glob(Path("/"), parts[1:]) if parts[0] == "/" else _glob(cwd, parts)))
    return [Path(os.path.normpath(each)) for each in found]


def _absolute(cwd: Path, text: str) -> Path:
    return Path(os.path.normpath(cwd / user_path(text)))


def no_such(text: str, cwd: Path, option: str = "") -> UsageError:
    """The error that a word names nothing. `option` is the one that it belongs to, with a space."""
    if glob.has_magic(text):
        return UsageError(f"{option}{shown(text)}: nothing matches.", f"Globs are looked up from {shown(cwd)}.")
    where = f"It was looked for at {shown(_absolute(cwd, text))}."
    return UsageError(f"{option}{shown(text)}: there is no such file or folder.", where)


def _expand_input(cwd: Path, text: str) -> list[_Wanted]:
    """The paths that one --in names: a file, a folder, or all matches of a glob."""
    found = expand(cwd, text)
    if not found:
        raise no_such(text, cwd, "--in ")
    named = found == [_absolute(cwd, text)]
    return [_Wanted(text, each, named) for each in found]


def _glob(base: Path, parts: Sequence[str]) -> Iterator[Path]:
    """The matches below a folder, as in a shell: only a pattern that begins with a dot matches hidden names, and `**`
    matches nested folders, but not links to folders, which may form a circle."""
    if not parts:
        yield base
        return
    first, rest = parts[0], parts[1:]
    if not glob.has_magic(first):
        if os.path.lexists(base / first):
            yield from _glob(base / first, rest)
    elif first == "**":
        waiting = [base]
        while waiting:
            folder = waiting.pop()
            shown_here = [each for each in _entries(folder) if not each.name.startswith(".")]
            waiting += [each for each in shown_here if each.is_dir() and not each.is_symlink()]
            yield from (each for each in shown_here if not rest and not each.is_dir())
            yield from _glob(folder, rest)
    else:
        for path in _entries(base):
            if fnmatch.fnmatchcase(path.name, first) and (first.startswith(".") or not path.name.startswith(".")):
                yield from _glob(path, rest)


def _entries(folder: Path) -> list[Path]:
    """Nothing of one that may not be looked into, or is none."""
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def fixed_part(cwd: Path, text: str) -> Path:
    """What a path, or a glob whatever its wildcards match, is or is in; without links."""
    parts = user_path(text).parts
    plain = next((number for number, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    return _resolve(cwd.joinpath(*parts[:plain]))


def unlisted(cwd: Path, text: str) -> list[str]:
    """What an --in of this text sends of the project that it leads to, and does not go along by itself: what git
    ignores, and virtual environments. Raises UsageError."""
    place = fixed_part(cwd, text)
    root = find_project(place if place.is_dir() else place.parent)
    if root is None:
        return []
    listed, chosen = frozenset(list_project(root)), _Chosen(root)
    for path in expand(cwd, text):
        chosen.take(path, at=path.as_posix())
    sent = (each.real for each in chosen.bundle(root).files if each.real.is_relative_to(root))
    return [name for each in sent if (name := each.relative_to(root).as_posix()) not in listed]


def replaced(cwd: Path, text: str) -> list[str]:
    """Files below `cwd` that git tracks and an --out of this text names; the text itself where git cannot tell, and
    what another repository has there."""
    tracked, pattern = list_within(cwd, tracked=True), PurePosixPath(text.casefold()).as_posix()
    if tracked is None:
        return [text]
    if found := [each for each in tracked if asked_for(each.casefold(), [pattern])]:
        return found
    top = repository_of(cwd)
    return [each.name for each in expand(cwd, text) if repository_of(each if each.is_dir() else each.parent) != top]


class _Chosen:
    """The chosen files by their path in the archive. A file that is chosen twice is taken once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._real_root = root.resolve()
        self._folders: dict[Path, Path] = {}
        self._files: dict[str, SentFile] = {}
        self._notes: list[str] = []
        self._size = 0

    def _real(self, path: Path) -> Path:
        """The path with all links resolved."""
        folder = self._folders.get(path.parent)
        if folder is None:
            folder = self._folders[path.parent] = _resolve(path.parent)
        return _resolve(path) if path.is_symlink() else folder / path.name

    def take_listed(self, place: str, listed: Collection[str]) -> None:
        """Take a file of the project. Broken links, links that lead out and special files are left out with a note, and
        do not stop the run."""
        path = self._root / place
        if not _is_a_place(place):
            self._notes.append(f"{shown(place)} is listed, but is not a file of the project, and stays here")
            return
        real = self._real(path)
        status = _look(real)
        if status is None:
            self._notes.append(f"{shown(place)} is a link to nowhere and stays here")
        elif real != path and (trouble := _leads_out(real, (self._real_root,))):
            self._notes.append(f"{shown(place)} is a link that {trouble} and stays here; --in {shown(place)} sends it")
        elif path.is_symlink() and not real.is_dir() and real.relative_to(self._real_root).as_posix() not in listed:
            why = "a link to what git ignores"
            self._notes.append(f"{shown(place)} is {why} and stays here; --in {shown(place)} sends it")
        elif real != path and self._folders[path.parent] != (self._real_root / place).parent:
            self._notes.append(f"{shown(place)} is behind a link to a folder and stays here; the link goes along")
        elif stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode):
            self._add(place, path, real, status)
        else:
            self._notes.append(f"{shown(place)} is not a regular file and stays here")

    def check_size(self) -> None:
        """Raises UsageError when the project, without files that --in names, is too large."""
        if self._size > _MOST_BYTES:
            largest = max(self._files.values(), key=lambda each: each.size)
            raise UsageError(
                f"The project {shown(self._root)} has {self._size >> 30} GiB of files, the largest of which is "
                f"{shown(largest.place)}; at most {_MOST_BYTES >> 30} GiB are sent without being named.",
                "Have git ignore what the job does not need (.gitignore); --in sends the rest all the same.",
            )

    def take(self, path: Path, at: str | None = None, home: Path | None = None, named: Iterable[Path] = ()) -> None:
        """Take a file or folder that the user named. Raises UsageError when it cannot be sent, or when it belongs to
        `home` and leads out of it. Paths in `named` are skipped, because they are taken by themselves."""
        place = at if at is not None else path.relative_to(self._root).as_posix()
        real = self._real(path)
        if home is not None:
            self._check_link(path, real, (_resolve(home),))
        if real.is_dir():
            self._take_folder(_Folder(path, place, real, (self._real_root, real), frozenset(named)))
        else:
            self._take_file(path, place, real)

    def _check_link(self, path: Path, real: Path, homes: Sequence[Path]) -> None:
        trouble = _leads_out(real, homes)
        if trouble and os.path.lexists(real):
            raise UsageError(
                f"{shown(path)} is a link that {trouble}.",
                f"If that is meant, name it by itself: --in {shown(os.path.relpath(path))}",
            )

    def _take_file(self, path: Path, place: str, real: Path) -> None:
        status = _look(real)
        if status is None:
            raise UsageError(f"{shown(path)} is missing, or a link to nowhere.")
        if not stat.S_ISREG(status.st_mode):
            raise UsageError(f"{shown(path)} is not a regular file, so it cannot be sent.")
        self._add(place, path, real, status)

    def _take_folder(self, folder: _Folder) -> None:
        if not os.access(folder.path, os.R_OK | os.X_OK):
            raise UsageError(
                f"The folder {shown(folder.path)} cannot be read by {_me()}.", f"chmod u+rx {shown(folder.path)}"
            )
        before = self._files.get(folder.place)
        if before is not None and before.link:
            self._files.pop(folder.place)  # listed as a link before; now its content was asked for
        for inner in _walk(folder.path):
            path = folder.path / inner
            if path in folder.named:
                continue
            place, real = (f"{folder.place}/{inner}" if folder.place != "." else inner), self._real(path)
            self._check_link(path, real, folder.homes)
            if real.is_dir():
                self._take_folder(folder.inner(path, place, real))
            else:
                self._take_file(path, place, real)

    def _add(self, place: str, path: Path, real: Path, status: os.stat_result) -> None:
        if place in self._files:
            return
        if not os.access(path, os.R_OK):
            raise UsageError(
                f"{shown(path)} cannot be read by {_me()}.", f"chmod u+r {shown(path)}, or leave it out of the job."
            )
        if len(self._files) == _MOST_FILES:
            raise UsageError(
                f"{shown(self._root)} has more than {_MOST_FILES} files to send.",
                "Have git ignore what the job does not need, or pack the files into one.",
            )
        is_folder = stat.S_ISDIR(status.st_mode)
        size = 0 if is_folder else status.st_size
        link = str(path.readlink()) if real != path and path.is_symlink() else ""
        self._files[place] = SentFile(place, path, real, status.st_dev, status.st_ino, size, link, is_folder)
        self._size += size

    def bundle(self, cwd: Path) -> Bundle:
        files = tuple(sorted(self._files.values(), key=lambda each: each.place))
        large = sorted((each for each in files if each.size >= _LARGE and not each.link), key=lambda each: -each.size)
        return Bundle(
            root=self._root,
            cwd=cwd.relative_to(self._root).as_posix(),
            files=files,
            size=self._size,
            notes=tuple(self._notes),
            large=frozenset(each.place for each in large[:_MOST_LARGE]),
        )


@dataclass(frozen=True)
class _Folder:
    """A folder that is taken whole, and the folders that led to it."""

    path: Path
    place: str
    real: Path
    homes: Sequence[Path]
    named: frozenset[Path]
    above: tuple[Path, ...] = ()

    def inner(self, path: Path, place: str, real: Path) -> _Folder:
        """The folder that a link in this one points to. Raises UsageError for a circle."""
        around = (*self.above, self.real)
        below = _resolve(path.parent)
        trouble = f"more than {_MOST_LINKS} links lead on from each other" if len(around) > _MOST_LINKS else ""
        if _identity(real) in map(_identity, (*around, below, *below.parents)):
            trouble = "that folder has this link in it, so that it goes round in a circle"
        if trouble:
            raise UsageError(
                f"{shown(path)} is a link to {shown(real)}: {trouble}.",
                f"Remove the link, or name what you need of {shown(self.path)} one by one.",
            )
        return _Folder(path, place, real, self.homes, self.named, around)


def _resolve(path: Path) -> Path:
    """Like Path.resolve, except that a link is treated as broken that leads round in a circle, or on for longer than
    the kernel follows."""
    try:
        Path(os.path.realpath(path.parent), path.name).stat()
    except OSError as error:
        if error.errno == errno.ELOOP:
            return path
    return Path(os.path.realpath(path))


def _look(real: Path) -> os.stat_result | None:
    try:
        return real.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _identity(folder: Path) -> tuple[int, int]:
    found = folder.stat()
    return found.st_dev, found.st_ino


def _leads_out(real: Path, homes: Sequence[Path]) -> str:
    """What is wrong with a link to this path, as words for the user. Empty if it is in one of `homes` and not in git's
    own folder."""
    home = next((each for each in homes if real.is_relative_to(each)), None)
    if home is None:
        return f"leads out of {shown(homes[-1])}, to {shown(real)},"
    if _is_in_git(real.relative_to(home).as_posix()):
        return f"leads to git's own files, to {shown(real)},"
    return ""


def _me() -> str:
    return os.environ.get("USER") or f"uid {os.geteuid()}"
