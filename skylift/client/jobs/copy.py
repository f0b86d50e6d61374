"""Copies files to and from the folder of a job whose server still exists, while its program runs or after it.

Names and types of files that a server reports are hostile. A file is written only below the folder that the user named:
local folders are walked by descriptors, and no link below that folder is followed. At both ends a file is written under
another name and then renamed, so that it appears whole or not at all.
"""

from __future__ import annotations

import asyncio
import errno
import os
import posixpath
import secrets
import stat
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, aclosing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from skylift.client.errors import RemoteFileError, RunError, SkyliftError, UsageError
from skylift.client.job.job import NAME_FORM
from skylift.client.jobs.jobs import Jobs
from skylift.client.jobs.names import LAST
from skylift.client.remote.account import Account
from skylift.client.remote.connection import Connection, RemoteFile, RemoteFiles
from skylift.client.steps import Clock, in_thread, together
from skylift.client.text.size import spell_size
from skylift.client.text.visible import shown
from skylift.client.watcher import Watcher

STANDARD = "-"
"""In the place of a file: standard input or output."""
_JOB_FOLDER = "job"
"""The folder of a job's files in the home of the login user (see server/login_user.py)."""
_MOST = 1_000_000
"""The most files and folders that are copied at a time: a server can name them without end."""
_AT_A_TIME = 16
_LONGEST = 3_839
"""Bytes of a folder's path with which each name in it has a path. OpenSSH's server leaves out what has none."""
_DEEPEST = 200
"""The most nested folders: a server can name as many as it likes."""
_PIECE = 1 << 20
_UNSIZED = 16 << 20
"""The most bytes that are read of a file whose size is reported as 0: files of /proc have content all the same."""
_REPORT_EVERY = 0.05
_PART = ".skylift-part"
_IN_PARTS = "No file was copied. Copy them in parts."


@dataclass(frozen=True)
class RemotePath:
    """A path on a job's server; one that is not absolute is relative to where the program runs."""

    job: str
    path: str


def parse_path(text: str) -> RemotePath | str:
    """`NAME:PATH` is a path on a job's server; anything else is one of this machine, as is `./a:b`."""
    name, colon, path = text.partition(":")
    return RemotePath(name, path) if colon and (name == LAST or NAME_FORM.fullmatch(name)) else text


@dataclass(frozen=True)
class CopyOrder:
    """What `skylift cp` does: copy from a job to this machine (`download`), or from this machine to a job."""

    job: str
    sources: tuple[str, ...]
    target: str
    download: bool
    recursive: bool


def plan_copy(words: Sequence[str], *, recursive: bool) -> CopyOrder:
    """Raises UsageError."""
    if len(words) < 2:
        raise UsageError("Name what to copy, and where to.", "skylift cp NAME:results.csv . (or the other way)")
    *sources, target = [parse_path(word) for word in words]
    jobs = {each.job for each in (*sources, target) if isinstance(each, RemotePath)}
    remote = [isinstance(each, RemotePath) for each in sources]
    if not jobs:
        raise UsageError("Neither place is a job's.", "A place on a job's server is written NAME:PATH.")
    if (isinstance(target, RemotePath) and any(remote)) or any(remote) != all(remote) or len(jobs) > 1:
        raise UsageError("Files go from one job's server to this machine, or from here to one.", "Copy in two steps.")
    paths = [each.path if isinstance(each, RemotePath) else each for each in sources]
    place = target.path if isinstance(target, RemotePath) else target
    if STANDARD in (*paths, place) and (len(paths) > 1 or recursive):
        raise UsageError("`-` stands for one file: standard output, or standard input.")
    if isinstance(target, RemotePath) and paths == [STANDARD] and posixpath.basename(place) in ("", ".", ".."):
        raise UsageError("Standard input needs a file name on the server.", f"skylift cp - {target.job}:NAME")
    _check_names(paths)
    return CopyOrder(jobs.pop(), tuple(paths), place, download=not isinstance(target, RemotePath), recursive=recursive)


def _check_names(paths: Sequence[str]) -> None:
    """Raises UsageError where one source would overwrite another one in the same folder."""
    named: dict[str, str] = {}
    for path in paths:
        name = _name_of(path)
        if name in named:
            raise UsageError(
                f"{shown(named[name])} and {shown(path)} have the same name: one would overwrite the other.",
                "Copy them into different folders.",
            )
        if name:
            named[name] = path


def _name_of(path: str) -> str:
    """Empty where it ends with `.`: what the folder holds is copied, without it."""
    name = posixpath.basename(path.rstrip("/"))
    return "" if name in (".", "..") else name


async def copy(account: Account, order: CopyOrder, watcher: Watcher, clock: Clock) -> None:
    """Raises UsageError for what is missing or in the way, RunError for what could not be copied."""
    record = await in_thread(account.record, order.job)
    base = posixpath.normpath(posixpath.join(_JOB_FOLDER, record.cwd))
    access = await in_thread(Jobs(account.settings, account).access, order.job)
    connection = await access.connect()
    try:
        await copy_by(connection, base, order, watcher, clock)
    finally:
        await connection.close()


async def copy_by(connection: Connection, base: str, order: CopyOrder, watcher: Watcher, clock: Clock) -> None:
    """Copy by an open connection; `base` is where relative paths begin, in the login user's home."""
    async with connection.files() as files:
        tally = _Tally(watcher)
        transfer = (_Download if order.download else _Upload)(files, base, tally)
        if STANDARD in (order.target, *order.sources):
            await transfer.stream(order.sources[0], order.target)
            return
        with clock.step("copy") as step:
            await transfer.run(order)
            step.detail = f"{tally.files} file{'s' * (tally.files != 1)}, {spell_size(tally.done)}"


@dataclass
class _Tally:
    """What is to be copied, and what has been. `errors` are of one file each."""

    watcher: Watcher
    total: int = 0
    count: int = 0
    done: int = 0
    files: int = 0
    errors: list[SkyliftError] = field(default_factory=list)
    _reported: float = 0.0

    def expect(self, size: int) -> None:
        self.total += size
        self.count += 1

    def advance(self, size: int, files: int = 0) -> None:
        self.done += size
        self.files += files
        now = time.monotonic()
        if now - self._reported > _REPORT_EVERY or self.files == self.count:
            self._reported = now
            self.watcher.progress("copy", self.done, max(self.done, self.total), (self.files, self.count))

    def skip(self, place: str, why: str) -> None:
        self.watcher.note(f"{shown(place)} {why} and is left out.")

    @contextmanager
    def one(self) -> Iterator[None]:
        """Keep the error of one file, so that the others are copied: the program may be changing the folder."""
        try:
            yield
        except RemoteFileError as error:
            if error.kind == "full":
                raise
            self.errors.append(error)

    def check(self) -> None:
        if self.errors:
            first, more = self.errors[0], len(self.errors) - 1
            others = f" So it is with {more} more; all else is copied." if more else ""
            raise RunError(first.message + others, first.advice)


class _Copy:
    def __init__(self, files: RemoteFiles, base: str, tally: _Tally) -> None:
        self._files, self._base, self._tally = files, base, tally
        self._work: list[Callable[[], Awaitable[None]]] = []
        self._sources: dict[str, str] = {}

    def _plan(self, size: int, source: str, place: bytes, copy: Callable[[], Awaitable[None]]) -> None:
        """Nothing is written before all is planned. Raises UsageError where another source has a file of this place."""
        other = self._sources.setdefault(name := shown(os.fsdecode(place)), source)
        if other != source:
            raise UsageError(
                f"{shown(other)} and {shown(source)} both have {name}: one would overwrite the other.",
                "Copy them into different folders.",
            )
        self._tally.expect(size)
        self._work.append(copy)

    def _remote_path(self, path: str) -> bytes:
        return os.fsencode(posixpath.normpath(posixpath.join(self._base, path)))

    async def _source(self, path: str) -> RemoteFile:
        """Raises UsageError where there is none."""
        try:
            return await self._files.look(self._remote_path(path))
        except RemoteFileError as error:
            if error.kind == "missing":
                raise _missing(path, self._base) from None
            raise

    async def _all(self) -> None:
        """Run several at a time. An error of one file is kept until the end; the first other error ends all."""
        waiting = iter(self._work)

        async def worker() -> None:
            for each in waiting:
                with self._tally.one():
                    await each()

        await together(*(worker() for _ in range(min(_AT_A_TIME, len(self._work)))))
        self._tally.check()


class _Download(_Copy):
    """From the server to this machine."""

    async def stream(self, source: str, target: str) -> None:
        found = await self._source(source)
        _check_file(found, source)
        async with aclosing(self._files.read(self._remote_path(source), found.size or _UNSIZED)) as pieces:
            async for piece in pieces:
                _write_whole(1, piece)

    async def run(self, order: CopyOrder) -> None:
        into_folder = Path(order.target).is_dir()
        if len(order.sources) > 1 and not into_folder:
            raise UsageError(f"{shown(order.target)} is not a folder: several files need one.")
        with ExitStack() as opened:
            folder = None
            for source in order.sources:
                found = await self._source(source)
                if found.kind != "folder" or not order.recursive:
                    _check_file(found, source)
                top, names = _local_place(order.target, _name_of(source), into_folder=into_folder)
                folder = folder or opened.enter_context(_opened(top))
                if found.kind == "folder":
                    await self._plan_folder(folder, names, source)
                else:
                    self._plan_file(folder, names, self._remote_path(source), found, source)
            await self._all()

    def _plan_file(self, folder: _LocalFolder, names: Names, path: bytes, found: RemoteFile, source: str) -> None:
        self._plan(found.size, source, b"/".join(names), partial(self._download, folder, names, path, found))

    async def _download(self, folder: _LocalFolder, names: Names, path: bytes, found: RemoteFile) -> None:
        with folder.written(names, executable=found.executable) as file:
            async with aclosing(self._files.read(path, found.size or _UNSIZED)) as pieces:
                async for piece in pieces:
                    _write_whole(file, piece)
                    self._tally.advance(len(piece))
        self._tally.advance(0, files=1)

    async def _plan_folder(self, folder: _LocalFolder, names: Names, source: str) -> None:
        folder.make(names)
        async with aclosing(self._walk(self._remote_path(source))) as found:
            async for inner, file in found:
                place = (*names, *inner)
                if file.kind == "folder":
                    folder.make(place)
                    continue
                self._plan_file(folder, place, b"/".join((self._remote_path(source), *inner)), file, source)

    async def _walk(self, top: bytes) -> AsyncGenerator[tuple[Names, RemoteFile], None]:
        """Folders before what is in them. Links to files are those files; other links, and what is no file, are
        reported and left out."""
        waiting, count = list[Names]([()]), 0
        while waiting:
            folder = waiting.pop()
            path = b"/".join((top, *folder))
            entries: list[tuple[bytes, RemoteFile]] = []
            with self._tally.one():
                entries = await self._files.entries(path, _MOST - count + 1)
            if len(path) > _LONGEST:
                place = shown(os.fsdecode(path))
                self._tally.watcher.note(f"{place} is so deep that its server may not list all that is in it.")
            count += len(entries)
            if count > _MOST:
                raise RunError(f"The server names more than {_MOST:,} files and folders.", _IN_PARTS)
            for name, listed in sorted(entries, key=lambda each: each[0]):
                if not _is_name(name):
                    raise RunError(f"The server names a file that no folder can hold: {shown(os.fsdecode(name))}.")
                inner, file = (*folder, name), await self._resolve_link(b"/".join((path, name)), listed)
                if file is None:
                    continue
                if file.kind == "folder":
                    if len(inner) > _DEEPEST:
                        raise RunError(f"The server names more than {_DEEPEST} folders in each other.", _IN_PARTS)
                    waiting.append(inner)
                yield inner, file

    async def _resolve_link(self, path: bytes, listed: RemoteFile) -> RemoteFile | None:
        name, file = os.fsdecode(path), listed
        if listed.kind == "link":
            try:
                file = await self._files.look(path)
            except RemoteFileError:
                self._tally.skip(name, "is a link to nowhere")
                return None
            if file.kind == "folder":
                self._tally.skip(name, "is a link to a folder")
                return None
        if file.kind not in ("file", "folder"):
            self._tally.skip(name, "is not a regular file")
            return None
        return file


class _Upload(_Copy):
    """From this machine to the server."""

    async def stream(self, source: str, target: str) -> None:
        await self._write(await self._target(target, None, several=False), _standard_input(), executable=False)

    async def run(self, order: CopyOrder) -> None:
        for source in order.sources:
            path = Path(source)
            found = _stat_local(path)
            if stat.S_ISDIR(found.st_mode) and not order.recursive:
                raise UsageError(f"{shown(source)} is a folder.", "-r copies it with all that is in it.")
            target = await self._target(order.target, _name_of(source), several=len(order.sources) > 1)
            if stat.S_ISDIR(found.st_mode):
                await self._plan_folder(path, target, source)
            elif stat.S_ISREG(found.st_mode):
                self._plan(found.st_size, source, target, partial(self._upload, path, target))
            else:
                raise UsageError(
                    f"{shown(source)} is not a regular file.", "`-` sends standard input, also that of a pipe."
                )
        await self._all()

    async def _target(self, path: str, name: str | None, *, several: bool) -> bytes:
        """The place on the server: in `path` if that is a folder, else `path` itself. A source `.` has no name:
        what it holds goes into the folder."""
        place, found = self._remote_path(path), None
        try:
            found = await self._files.look(place)
        except RemoteFileError as error:
            if error.kind != "missing":
                raise
        if found is None and not (several or path.endswith("/")):
            return place
        if found is None:
            raise UsageError(f"There is no folder {shown(path)} in {shown(self._base)} on the server.")
        if found.kind == "folder":
            if name is None:
                raise UsageError(f"{shown(path)} is a folder on the server.", "Name a file in it.")
            return place + b"/" + os.fsencode(name) if name else place
        if several or path.endswith("/"):
            raise UsageError(f"{shown(path)} is not a folder on the server.")
        return place

    async def _upload(self, path: Path, place: bytes) -> None:
        file = _open_local(path)
        try:
            executable = bool(os.fstat(file).st_mode & 0o100)
            await self._write(place, self._pieces(path, file), executable=executable)
        finally:
            os.close(file)
        self._tally.advance(0, files=1)

    async def _write(self, place: bytes, pieces: AsyncGenerator[bytes, None], *, executable: bool) -> None:
        try:
            await self._files.write(place, pieces, executable=executable)
        except RemoteFileError as error:
            folder = posixpath.dirname(os.fsdecode(place))
            if error.kind == "missing":
                raise UsageError(f"There is no folder {shown(folder)} on the server.") from None
            with suppress(RemoteFileError):
                if (await self._files.look(place)).kind == "folder":
                    raise UsageError(f"{shown(os.fsdecode(place))} is a folder on the server.") from None
            raise

    async def _pieces(self, path: Path, file: int) -> AsyncGenerator[bytes, None]:
        while True:
            try:
                data = os.read(file, _PIECE)
            except OSError as error:
                raise RunError(f"{shown(path)} cannot be read: {error.strerror}.") from None
            if not data:
                return
            yield data
            self._tally.advance(len(data))

    async def _plan_folder(self, top: Path, place: bytes, source: str) -> None:
        await self._make(place)
        for inner, path, is_folder in self._walk(top):
            remote = place + b"/" + os.fsencode(inner)
            if is_folder:
                await self._make(remote)
                continue
            self._plan(_stat_local(path).st_size, source, remote, partial(self._upload, path, remote))

    async def _make(self, folder: bytes) -> None:
        try:
            await self._files.make_folder(folder)
        except RemoteFileError as error:
            if error.kind != "missing":
                raise
            outer = posixpath.dirname(os.fsdecode(folder))
            raise UsageError(f"There is no folder {shown(outer)} on the server.") from None

    def _walk(self, top: Path) -> Iterator[tuple[str, Path, bool]]:
        """Walk this machine's folder as the other class walks the server's."""
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            try:
                entries = sorted(os.scandir(top / folder), key=lambda each: each.name)
            except OSError as error:
                raise UsageError(f"The folder {shown(top / folder)} cannot be read: {error.strerror}.") from None
            for entry in entries:
                inner, path = posixpath.join(folder, entry.name), top / folder / entry.name
                mode = _mode_behind(path) if entry.is_symlink() else 0
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(inner)
                    yield inner, path, True
                elif stat.S_ISDIR(mode):
                    self._tally.skip(str(path), "is a link to a folder")
                elif stat.S_ISREG(mode) or entry.is_file(follow_symlinks=False):
                    yield inner, path, False
                else:
                    is_lost = entry.is_symlink() and not mode
                    self._tally.skip(str(path), "is a link to nowhere" if is_lost else "is not a regular file")


# This machine's files.

Names = tuple[bytes, ...]
"""The names from an open folder down to a file below it."""


class _LocalFolder:
    """An open folder that the user named. No link below it is followed."""

    def __init__(self, path: Path, top: int) -> None:
        self._path, self._top = path, top

    def make(self, names: Names) -> None:
        with self._folder(names):
            pass

    @contextmanager
    def written(self, names: Names, *, executable: bool) -> Iterator[int]:
        """Write a new file, and rename it when it is whole. It replaces a file or a link, and nothing else."""
        *outer, name = names
        with self._folder(tuple(outer)) as folder, _local_errors(self._show(names)):
            _check_in_the_way(folder, name, self._show(names))
            part = f".{secrets.token_hex(8)}{_PART}"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            file = os.open(part, flags, 0o777 if executable else 0o666, dir_fd=folder)
            try:
                try:
                    yield file
                finally:
                    os.close(file)
                os.rename(part, name, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with suppress(FileNotFoundError):
                    os.unlink(part, dir_fd=folder)
                raise

    @contextmanager
    def _folder(self, names: Names) -> Iterator[int]:
        """Make the folder if it is missing."""
        folder = os.dup(self._top)
        try:
            for number, name in enumerate(names):
                with _local_errors(self._show(names[: number + 1])):
                    with suppress(FileExistsError):
                        os.mkdir(name, dir_fd=folder)
                    inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
                os.close(folder)
                folder = inner
            yield folder
        finally:
            os.close(folder)

    def _show(self, names: Names) -> str:
        return shown(self._path.joinpath(*map(os.fsdecode, names)))


def _write_whole(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


@contextmanager
def _opened(top: Path) -> Iterator[_LocalFolder]:
    with _local_errors(shown(top)):
        folder = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield _LocalFolder(top, folder)
    finally:
        os.close(folder)


def _check_in_the_way(folder: int, name: bytes, path_shown: str) -> None:
    with suppress(FileNotFoundError):
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
            what = "a folder" if stat.S_ISDIR(mode) else "no regular file"
            raise UsageError(f"{path_shown} is {what} here, and stays as it is.")


@contextmanager
def _local_errors(path_shown: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise UsageError(f"{path_shown} is a link or a file here, and nothing is written through it.") from None
        raise RunError(f"{path_shown} cannot be written here: {error.strerror}.") from None


def _local_place(target: str, name: str, *, into_folder: bool) -> tuple[Path, Names]:
    """The existing folder, and the names below it: the source's name in a folder, or the name that the user gave."""
    if into_folder:
        return Path(target), (os.fsencode(name),) if name else ()
    place = Path(target)
    if not place.parent.is_dir() or target.endswith("/"):
        missing = place if target.endswith("/") else place.parent
        raise UsageError(f"There is no folder {shown(missing)} here.", "Make it first, or name one that is there.")
    return place.parent, (os.fsencode(place.name),)


def _stat_local(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        raise UsageError(f"{shown(path)} cannot be read: {error.strerror}.") from None


def _mode_behind(link: Path) -> int:
    """Of what a link leads to; 0 where that is nothing, as in a circle."""
    try:
        return link.stat().st_mode
    except OSError:
        return 0


def _open_local(path: Path) -> int:
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise RunError(f"{shown(path)} cannot be read: {error.strerror}.") from None
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise RunError(f"{shown(path)} is not a regular file any more.")
    return file


async def _standard_input() -> AsyncGenerator[bytes, None]:
    """Standard input as it comes. Ctrl-C still works meanwhile."""
    while True:
        await _readable(0)
        data = os.read(0, _PIECE)
        if not data:
            return
        yield data


async def _readable(file: int) -> None:
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    try:
        loop.add_reader(file, ready.set)
    except PermissionError:
        return  # a plain file, which is always readable
    try:
        await ready.wait()
    finally:
        loop.remove_reader(file)


# The server's.


def _is_name(name: bytes) -> bool:
    return name not in (b"", b".", b"..") and not set(b"/\0") & set(name) and len(name) <= 255


def _check_file(found: RemoteFile, path: str) -> None:
    if found.kind == "folder":
        raise UsageError(f"{shown(path or '.')} is a folder.", "-r copies it with all that is in it.")
    if found.kind != "file":
        raise UsageError(f"{shown(path)} is not a regular file.")


def _missing(path: str, base: str) -> UsageError:
    where = "" if path.startswith("/") else f" in {shown(base)}"
    return UsageError(f"There is no {shown(path)}{where} on the server.", "Look with: skylift ssh NAME ls job")
