"""Which files a job takes along, and the archive they travel in.

- A script with a PEP 723 header goes alone: it says itself what it needs.
- Inside a project (the nearest folder above with `pyproject.toml` or `.git`) the project goes, by git's own ignore
  rules.
- Otherwise a script goes alone, with the `requirements.txt` beside it.
- `--in` adds files, folders and globs. Everything keeps its place relative to the working directory.
"""

from __future__ import annotations

import glob
import gzip
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO

from skylift.runner.errors import UsageError
from skylift.runner.job import Bundle

_PROJECT_MARKS = ("pyproject.toml", ".git")
_WORTH_A_LOOK = 4 << 20
_SAMPLE = 1 << 18
_LARGE = 8 << 20
"""Bytes from which a file travels by itself."""
_MOST_LARGE = 40
"""The job's role names each of them, and the policies of a role have room for 10,240 characters."""


def find_project(start: Path) -> Path | None:
    """The nearest folder, from `start` upwards, that is a project; the home directory and `/` are nobody's project."""
    for folder in (start, *start.parents):
        if folder in (Path.home(), Path("/")):
            return None
        if any((folder / mark).exists() for mark in _PROJECT_MARKS):
            return folder
    return None


def plan_bundle(cwd: Path, project: Path | None, alone: Iterable[Path], inputs: Iterable[str]) -> Bundle:
    """Choose the files: `project` whole, the single files of `alone` besides, and what the `--in` of `inputs` name.

    Raises UsageError for what is missing, unreadable, or outside the folder whose layout is kept.
    """
    root = project or cwd
    chosen = _Chosen(root)
    if project is not None:
        for place in list_project(project):
            chosen.take_listed(place)
    for path in alone:
        if _inside(path, root):
            chosen.take(path)
        else:
            chosen.take(path, at=(cwd.relative_to(root) / path.name).as_posix())
    for text in inputs:
        for path in _expand_input(cwd, text):
            if not _inside(path, root):
                raise UsageError(
                    f"--in {text}: {path} is outside {root}, so it has no place relative to the working directory.",
                    "Run skylift from a folder that contains both, or copy or link the file into this one.",
                )
            chosen.take(path)
    return chosen.bundle(cwd)


def list_project(project: Path) -> list[str]:
    """Files of a project that git would keep: tracked, or untracked and not ignored; as posix paths, sorted."""
    if shutil.which("git") is None:
        if (project / ".gitignore").exists() or (project / ".git").exists():
            raise UsageError(
                f"{project} has git's ignore rules, but there is no `git` on this machine to apply them.",
                "Install git, or give the script a PEP 723 header (`# /// script` and `# ///`) to send it alone.",
            )
        return sorted(place for place in _walk(project, "") if not place.endswith(".pyc"))
    if (project / ".git").exists():
        return sorted(_ask_git(project, "", ()))
    with tempfile.TemporaryDirectory(prefix="skylift-git-") as scratch:
        subprocess.run(["git", "init", "--quiet", "--bare", scratch], check=True, capture_output=True)
        return sorted(_ask_git(project, "", (f"--git-dir={scratch}", f"--work-tree={project}")))


def _ask_git(top: Path, inner: str, options: tuple[str, ...]) -> Iterator[str]:
    """Submodules and nested repositories come as one entry each, so git is asked again inside them."""
    folder = top / inner
    command = ["git", *options, "-c", "core.fsmonitor=false", "-C", str(folder), "ls-files", "-z"]
    command += ["--cached", "--others", "--exclude-standard"]
    answer = subprocess.run(command, capture_output=True, check=False)
    if answer.returncode != 0:
        words = answer.stderr.decode(errors="replace").strip()
        raise UsageError(f"git could not list the files of {folder}: {words}")
    seen = set()
    for raw in answer.stdout.split(b"\0"):
        name = os.fsdecode(raw).rstrip("/")
        if not name or name in seen:
            continue
        seen.add(name)
        place = f"{inner}/{name}" if inner else name
        path = top / place
        if path.is_dir() and not path.is_symlink():
            if (path / ".git").exists():
                yield from _ask_git(top, place, ())
        elif os.path.lexists(path):
            yield place


def _walk(top: Path, inner: str) -> Iterator[str]:
    for entry in sorted(os.scandir(top / inner), key=lambda each: each.name):
        place = f"{inner}/{entry.name}" if inner else entry.name
        if entry.is_dir(follow_symlinks=False):
            if entry.name not in ("__pycache__", ".git"):
                yield from _walk(top, place)
        else:
            yield place


def _expand_input(cwd: Path, text: str) -> list[Path]:
    """What one `--in` names: a file, a folder, or all that a glob matches; absolute, with links left as they are."""
    path = Path(os.path.normpath(cwd / Path(text).expanduser()))
    if os.path.lexists(path):
        return [path]
    if glob.has_magic(text):
        found = sorted(glob.glob(text, root_dir=cwd, recursive=True))  # noqa: PTH207 (Path.glob takes no absolute ones)
        if found:
            return [Path(os.path.normpath(cwd / each)) for each in found]
        raise UsageError(f"--in {text}: nothing matches.", f"Globs are looked up from {cwd}.")
    raise UsageError(f"--in {text}: there is no such file or folder.", f"It was looked for at {path}.")


def _inside(path: Path, root: Path) -> bool:
    return path.is_relative_to(root)


class _Chosen:
    """Files by place; a file chosen twice is taken once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files: dict[str, Path] = {}
        self._notes: list[str] = []
        self._size = 0

    def take_listed(self, place: str) -> None:
        """A file of the project. Links to nowhere and special files do not stop a run: they are left out and told."""
        path = self._root / place
        if path.is_symlink() and not path.exists():
            self._notes.append(f"{place} is a link to nowhere and stays here")
        elif path.is_dir():
            if _link_stays_inside(path, self._root):
                self._add(place, path)
            else:
                self._notes.append(
                    f"{place} links to a folder outside the project and stays here; --in {place} sends it"
                )
        elif not path.is_file():
            self._notes.append(f"{place} is not a regular file and stays here")
        else:
            self._add(place, path)

    def take(self, path: Path, at: str | None = None) -> None:
        """A file or folder that the user named: what cannot be sent is an error."""
        place = at if at is not None else path.relative_to(self._root).as_posix()
        if path.is_dir():
            self._take_folder(path, place)
        elif not path.exists():
            raise UsageError(f"{path} is missing, or a link to nowhere.")
        elif not path.is_file():
            raise UsageError(f"{path} is not a regular file, so it cannot be sent.")
        else:
            self._add(place, path)

    def _take_folder(self, folder: Path, place: str) -> None:
        if not os.access(folder, os.R_OK | os.X_OK):
            raise UsageError(f"The folder {folder} cannot be read by {_me()}.", f"chmod u+rx {folder}")
        if self._files.get(place, folder).is_symlink():
            self._files.pop(place, None)  # listed as a link before; now its content was asked for
        for inner in _walk(folder, ""):
            self.take(folder / inner, at=f"{place}/{inner}" if place != "." else inner)

    def _add(self, place: str, path: Path) -> None:
        if place in self._files:
            return
        if not os.access(path, os.R_OK):
            raise UsageError(f"{path} cannot be read by {_me()}.", f"chmod u+r {path}, or leave it out of the job.")
        self._files[place] = path
        if not path.is_symlink() or path.is_file():
            self._size += path.stat().st_size

    def bundle(self, cwd: Path) -> Bundle:
        files = tuple(sorted(self._files.items()))
        large = [(path.stat().st_size, place) for place, path in files if path.is_file() and not path.is_symlink()]
        large = sorted((each for each in large if each[0] >= _LARGE), reverse=True)[:_MOST_LARGE]
        return Bundle(
            root=self._root,
            cwd=cwd.relative_to(self._root).as_posix(),
            files=files,
            size=self._size,
            notes=tuple(self._notes),
            large=frozenset(place for _, place in large),
        )


def _me() -> str:
    return os.environ.get("USER") or f"uid {os.geteuid()}"


def _link_stays_inside(path: Path, root: Path) -> bool:
    """Whether a symbolic link means the same on the server: relative, and to a place within the root."""
    target = path.readlink()
    if target.is_absolute():
        return False
    return Path(os.path.normpath(path.parent / target)).is_relative_to(root)


def write_archive(bundle: Bundle, target: IO[bytes], progress: Callable[[int], None] | None = None) -> None:
    """All but the large files as tar.gz, the same bytes for the same content: no times, owners or names of here.

    A link that stays within the root stays a link, if what it points to goes too; any other is replaced by what it
    points to. Raises UsageError for a file that changed its size while it was being read.
    """
    places = {place for place, _ in bundle.files}
    folders = {parent.as_posix() for place in places for parent in _parents(place)}
    with (
        gzip.GzipFile(filename="", fileobj=target, mode="wb", compresslevel=_level(bundle), mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for place, path in bundle.files:
            if place in bundle.large:
                continue
            if path.is_symlink() and _link_is_sent(path, place, places | folders):
                tar.addfile(_entry(place, tarfile.SYMTYPE, linkname=str(path.readlink())))
            elif path.is_file():
                _add_file(tar, place, path)
            if progress is not None:
                progress(target.tell())


def _level(bundle: Bundle) -> int:
    """0 (store) for data that gains nothing: packing is slower than sending. The largest file's start tells."""
    packed = (path for place, path in bundle.files if place not in bundle.large and path.is_file())
    largest = max(packed, key=lambda path: path.stat().st_size, default=None)
    if largest is None or largest.stat().st_size < _WORTH_A_LOOK:
        return 1
    with largest.open("rb") as file:
        start = file.read(_SAMPLE)
    return 0 if len(zlib.compress(start, 1)) > 0.9 * len(start) else 1


def _parents(place: str) -> Iterator[Path]:
    return (parent for parent in Path(place).parents if parent != Path())


def _link_is_sent(path: Path, place: str, sent: set[str]) -> bool:
    target = path.readlink()
    return not target.is_absolute() and os.path.normpath(Path(place).parent / target) in sent


def _entry(place: str, kind: bytes, size: int = 0, mode: int = 0o777, linkname: str = "") -> tarfile.TarInfo:
    entry = tarfile.TarInfo(place)
    entry.type, entry.size, entry.mode, entry.linkname = kind, size, mode, linkname
    return entry


def _add_file(tar: tarfile.TarFile, place: str, path: Path) -> None:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            mode = mode_of(status)
            tar.addfile(_entry(place, tarfile.REGTYPE, size=status.st_size, mode=mode), _Exactly(file, path))
    except (PermissionError, FileNotFoundError) as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None


def mode_of(status: os.stat_result) -> int:
    """Of a file's mode, what is the same for everybody: whether it is a program."""
    return 0o755 if status.st_mode & 0o100 else 0o644


class _Exactly(io.RawIOBase):
    """A file that must have as many bytes as its entry says; tarfile would end in an unexplained error."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self._file = file
        self._path = path

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        if size > 0 and len(data) < size:
            raise UsageError(
                f"{self._path} became shorter while it was being sent.", "Send it when nothing writes to it."
            )
        return data
