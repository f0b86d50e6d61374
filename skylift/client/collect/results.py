"""Downloading results from the job's prefix into the working directory. A file appears there whole and checked.

A file that a server has sent is written only if the job's own record asks for it (see server/outputs.py), and only
below the working directory: folders are opened by descriptors, without following symbolic links. Files that were sent
and not asked for are named, and stay in S3. The same holds for a result whose name no file here can have, and for one
that would replace what spared.py spares.

A large result is fetched in stretches, several at a time, and written in their order: what is left of a download that
breaks off is the beginning of the file, and the next one goes on from there.

Small results share an object. The manifest says where in it each result is and how long it is. Nothing else of such a
pack is trusted: the bytes there are the result only if their digest is right.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import os
import stat
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import IO

from skylift.agent.results.outputs import asked_for, folded, named_outright
from skylift.client.collect.spared import is_here, spared
from skylift.client.errors import Refused, ResultsDamaged, RunError
from skylift.client.job.outcome import Missing, Result
from skylift.client.job.record import JobKeys
from skylift.client.job.server_record import parse_manifest
from skylift.client.remote.api import Api
from skylift.client.waiting import Threads
from skylift.contract.results import MANIFEST_LIMIT, SentFile

_AT_A_TIME = 8
_NOT_THERE = {"NoSuchKey", "404", "InvalidRange", "416"}
_NO_NAME = {
    errno.ENAMETOOLONG: "its name is too long for this file system",
    errno.EILSEQ: "no file here can have its name",
}
_PART = ".skylift-part"
_SPAN = 4 << 20
"""The most bytes of a shared object in one request, and of a result that is read from one into memory."""
_STRETCH = 8 << 20
"""The most bytes of a result in one request. There are _AT_A_TIME of these in memory at the most."""
_GAP = 4096
"""Bytes between two results that are read in vain, rather than with a second request."""


@dataclass(frozen=True)
class Manifest:
    """What the supervisor has sent.

    `unmatched` are outputs that matched no file. `left_behind` are new files that were not asked for, and `not_written`
    are files that were sent although they were not asked for. `missing` are results that cannot be had, and `changed`
    are results that changed while the server read them. `places` has the object and the offset of each result that
    shares an object. `spares_tracked` is as in the job's record.
    """

    results: tuple[Result, ...] = ()
    unmatched: tuple[str, ...] = ()
    left_behind: tuple[str, ...] = ()
    not_written: tuple[str, ...] = ()
    missing: tuple[Missing, ...] = ()
    changed: tuple[str, ...] = ()
    places: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    spares_tracked: bool = False

    @cached_property
    def size(self) -> int:
        """Bytes of all results. It is added up once: progress of each of many results is told with it."""
        return sum(each.size for each in self.results)


def read_manifest(
    api: Api, bucket: str, prefix: JobKeys, outputs: Sequence[str], script: str = "", *, spares_tracked: bool = False
) -> Manifest:
    """The job's manifest; an empty one when there is none. `outputs`, `script` (the program's own file) and
    `spares_tracked` come from the job's record. Raises RecordDamaged."""
    found = api.get(bucket, prefix.manifest, MANIFEST_LIMIT)
    if found is None:
        return Manifest()
    sent = parse_manifest(prefix.manifest, found)
    wanted: list[SentFile] = []
    others: list[str] = []
    for each in sent.results:
        if is_wanted(each.path, outputs, script):
            wanted.append(each)
        else:
            others.append(each.path)
    return Manifest(
        tuple(Result(each.path, each.size, each.sha256) for each in wanted),
        sent.unmatched,
        sent.left_behind,
        tuple(others),
        tuple(Missing(each.path, each.reason) for each in sent.not_sent),
        sent.changed,
        {each.path: each.at for each in wanted if each.at is not None},
        spares_tracked,
    )


def is_wanted(path: str, outputs: Sequence[str], script: str) -> bool:
    """Whether the record asks for this file. A glob asks neither for the program's own file, which would overwrite the
    user's, nor for the partial files of a download. Nor does a folder's name ask for a HEAD in it: git takes a folder
    with that for a repository, and runs what its settings name."""
    if path == script and not named_outright(path, outputs):
        return False
    if folded(path.rpartition("/")[2]) == "head" and path not in outputs:
        return False
    return not path.endswith(_PART) and asked_for(path, outputs)


def bring_home(
    api: Api,
    bucket: str,
    prefix: JobKeys,
    manifest: Manifest,
    home: Path,
    progress: Callable[[int], None],
    stop: threading.Event | None = None,
) -> Manifest:
    """Download every result. Returns the manifest of those that are here now. Raises ResultsDamaged, which says where
    the missing ones are, after all others have been downloaded. Once `stop` is set, nothing more is asked for, and
    RunError is raised."""
    kept = f"They are kept in s3://{bucket}/{prefix.base}/server/. Elsewhere: skylift results {prefix.job} DIR"
    stay = spared(manifest.results, home, tracked=manifest.spares_tracked)
    coming = tuple(each for each in manifest.results if each.path not in stay)
    manifest = replace(manifest, results=coming, missing=(*manifest.missing, *stay.values()))
    if not manifest.results:
        return manifest
    try:
        home.mkdir(parents=True, exist_ok=True)
        top = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        there = next(each for each in (home, *home.parents) if each.exists())
        raise ResultsDamaged(f"Nothing can be written to {there}: {error.strerror}.", kept) from None
    try:
        return _Download(api, bucket, prefix, manifest, top, progress, kept, stop or threading.Event()).run()
    finally:
        os.close(top)


class _Download:
    """The download of all results of a manifest, several at a time. An error of one does not stop the others."""

    def __init__(
        self,
        api: Api,
        bucket: str,
        prefix: JobKeys,
        manifest: Manifest,
        top: int,
        progress: Callable[[int], None],
        kept: str,
        stop: threading.Event,
    ) -> None:
        self._api, self._bucket, self._prefix, self._top, self._kept = api, bucket, prefix, top, kept
        self._manifest, self._progress = manifest, progress
        self._missing: dict[str, str] = {}
        self._troubles: list[ResultsDamaged] = []
        self._links = hasattr(os, "O_TMPFILE")
        self._hashers = Threads(_AT_A_TIME)
        self._fetchers = Threads(_AT_A_TIME)
        self._room = threading.Semaphore(_AT_A_TIME)
        self._stop = stop

    def run(self) -> Manifest:
        manifest = self._manifest
        alone = [each for each in manifest.results if not self._is_shared(each)]
        with self._hashers, Threads(_AT_A_TIME) as pool, self._fetchers:
            spans = pool.map(self._fetch_span, _spans(manifest, filter(self._is_shared, manifest.results)))
            files = pool.map(self._fetch, alone)
            try:
                for _ in (*spans, *files):
                    continue
            except BaseException:
                self._stop.set()
                raise
        if self._troubles:
            more = len(self._troubles) - 1
            first = self._troubles[0]
            raise ResultsDamaged(first.message + (f" So it is with {more} more." if more else ""), first.advice)
        missing = tuple(Missing(path, reason) for path, reason in sorted(self._missing.items()))
        here = tuple(each for each in manifest.results if each.path not in self._missing)
        return replace(manifest, results=here, missing=manifest.missing + missing)

    def _is_shared(self, result: Result) -> bool:
        """Whether the result is downloaded together with others of the same object."""
        return result.path in self._manifest.places and result.size <= _SPAN

    @contextmanager
    def _each(self, result: Result) -> Iterator[None]:
        """Collect the errors of one result. They are raised when all others are here."""
        try:
            yield
        except ResultsDamaged as trouble:
            self._troubles.append(trouble)
        except OSError as error:
            if error.errno in _NO_NAME:
                self._missing[result.path] = _NO_NAME[error.errno]
                return
            reason = f"The result {result.path} cannot be written here: {error.strerror}."
            self._troubles.append(ResultsDamaged(reason, self._kept))

    def _go_on(self) -> None:
        if self._stop.is_set():
            raise RunError("The download was stopped, or that of other results has failed.")

    def _fetch(self, result: Result) -> None:
        self._go_on()
        with self._each(result), _Folders(self._top, self._kept) as folders:
            folder, name = folders.place(result)
            if is_here(folder, name, result):
                self._progress(result.size)
                return
            try:
                self._write(folder, name, result, lambda file: self._complete(result, file))
            except Refused as error:
                if error.code not in _NOT_THERE:
                    raise
                raise ResultsDamaged(
                    f"The result {result.path} is missing in S3, or is not the one that its server sent.", self._kept
                ) from None

    def _fetch_span(self, span: _Span) -> None:
        """Download results that are next to each other in one object."""
        self._go_on()
        with _Folders(self._top, self._kept) as folders:
            wanted = [result for result in span.results if not self._was_here(result, folders)]
            if not wanted:
                return
            content, size = io.BytesIO(), span.end - span.start
            try:
                # A range of zero bytes cannot be requested.
                for _ in self._api.stream(self._bucket, self._prefix.shared(span.key), content, span.start, size or 1):
                    self._go_on()
            except Refused as error:
                if error.code not in _NOT_THERE:
                    raise
            whole = content.getbuffer()
            for result in wanted:
                offset = self._manifest.places[result.path][1] - span.start
                self._take(result, folders, whole[offset : offset + result.size])

    def _was_here(self, result: Result, folders: _Folders) -> bool:
        with self._each(result):
            folder, name = folders.place(result)
            if not is_here(folder, name, result):
                return False
        self._progress(result.size)
        return True

    def _take(self, result: Result, folders: _Folders, data: memoryview) -> None:
        with self._each(result):
            folder, name = folders.place(result)
            if len(data) != result.size or hashlib.sha256(data).hexdigest() != result.sha256:
                raise ResultsDamaged(f"The result {result.path} arrived damaged.", self._kept)

            if not self._links or not self._link(folder, name, data):
                self._write(folder, name, result, lambda file: _refill(file, data, result))
            self._progress(result.size)

    def _link(self, folder: int, name: bytes, data: memoryview) -> bool:
        """Write a new file that gets its name when it is complete: less than half of the work of a part that is
        renamed. False where that is not possible, as when there is a file of that name, and nothing has changed."""
        try:
            _write_linked(folder, name, data)
        except FileExistsError:
            return False
        except OSError as error:
            # Not all file systems have it. What else is wrong is wrong with a part as well, which says so.
            self._links = error.errno in _NO_NAME
            return False
        return True

    def _write(self, folder: int, name: bytes, result: Result, fill: Callable[[IO[bytes]], str]) -> None:
        # Named by path and content: a part that a killed client has left is the beginning of the same file.
        place = hashlib.sha256(result.path.encode("utf-8", "surrogateescape")).hexdigest()
        part = f".{place[:16]}.{result.sha256[:16]}{_PART}"
        with _open_part(folder, part) as file:
            _alone(file, result)
            try:
                digest = fill(file)
            except Refused as error:
                if error.code in _NOT_THERE:
                    # Nothing goes on from there.
                    os.unlink(part, dir_fd=folder)
                raise
            if digest != result.sha256:
                os.unlink(part, dir_fd=folder)
                raise ResultsDamaged(f"The result {result.path} arrived damaged.", self._kept)
            try:
                os.rename(part, name, src_dir_fd=folder, dst_dir_fd=folder)
            except OSError as error:
                if error.errno in _NO_NAME:
                    os.unlink(part, dir_fd=folder)
                raise

    def _complete(self, result: Result, file: IO[bytes]) -> str:
        """Download the rest of a partial file. Returns the digest of the whole file."""
        digest = hashlib.sha256()
        if os.fstat(file.fileno()).st_size > result.size:
            file.truncate(0)
        file.seek(0)
        for piece in iter(lambda: file.read(1 << 20), b""):
            digest.update(piece)
            self._progress(len(piece))
        target = _Both(file, digest, self._hashers)
        with closing(self._stretches(result, file.tell())) as stretches:
            for stretch in stretches:
                try:
                    stretch.coming.result()
                finally:
                    # Of one that broke off, the beginning is right, too.
                    for piece in stretch.pieces:
                        target.write(piece)
                if sum(map(len, stretch.pieces)) != stretch.size:
                    # What follows would stand in its place.
                    break
        target.finish()
        file.flush()
        return digest.hexdigest() if os.fstat(file.fileno()).st_size == result.size else ""

    def _stretches(self, result: Result, start: int) -> Generator[_Stretch]:
        """What is missing of a result, in order. The next ones are on their way while one is written, as long as there
        is room for them; for one of each result there will be."""
        key, offset = self._manifest.places.get(result.path, ("", 0))
        key = self._prefix.shared(key) if key else self._prefix.result(result.path)
        waiting: deque[_Stretch] = deque()
        try:
            while waiting or start < result.size:
                self._go_on()
                while start < result.size and self._room.acquire(blocking=not waiting):
                    size, pieces = min(_STRETCH, result.size - start), list[bytes]()
                    coming = self._fetchers.submit(self._fetch_stretch, key, offset + start, size, pieces)
                    waiting.append(_Stretch(size, pieces, coming))
                    start += size
                yield waiting[0]
                waiting.popleft()
                self._room.release()
        finally:
            # Nobody waits for these any more.
            for left in waiting:
                left.coming.add_done_callback(lambda _: self._room.release())
                left.coming.cancel()

    def _fetch_stretch(self, key: str, start: int, size: int, pieces: list[bytes]) -> None:
        come = 0
        self._go_on()
        for more in self._api.stream(self._bucket, key, _Pieces(pieces), start, size):
            come += more
            self._progress(more)
            self._go_on()
            if come > size:
                # Never more in memory than was asked for.
                break


@dataclass(frozen=True)
class _Stretch:
    """So many bytes of a large result: what of them is here, and the call that fetches them."""

    size: int
    pieces: list[bytes]
    coming: Future[None]


class _Pieces:
    """A list as what an object is written to."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    def write(self, data: bytes) -> None:
        self._pieces.append(data)


@dataclass(frozen=True)
class _Span:
    """Bytes [start, end) of a shared object, and the results that are in them."""

    key: str
    start: int
    end: int
    results: list[Result]


def _spans(manifest: Manifest, results: Iterable[Result]) -> Iterator[_Span]:
    """Spans in the order of their objects and offsets, none longer than one request."""
    span: _Span | None = None
    for result in sorted(results, key=lambda each: manifest.places[each.path]):
        key, start = manifest.places[result.path]
        end = start + result.size
        if span is not None and key == span.key and start <= span.end + _GAP and end <= span.start + _SPAN:
            span = replace(span, end=max(span.end, end))
            span.results.append(result)
            continue
        if span is not None:
            yield span
        span = _Span(key, start, end, [result])
    if span is not None:
        yield span


class _Folders:
    """The folders of results, below `top`. The last one stays open: the next result is mostly in it too."""

    def __init__(self, top: int, kept: str) -> None:
        self._top, self._kept = top, kept
        self._names: list[bytes] | None = None
        self._last = -1

    def __enter__(self) -> _Folders:
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()

    def place(self, result: Result) -> tuple[int, bytes]:
        """A descriptor of the result's folder, until the next call, and its name there. Missing folders are made."""
        *names, name = result.path.encode("utf-8", "surrogateescape").split(b"/")
        if names != self._names:
            self._enter(names)
        return self._last, name

    def _enter(self, names: list[bytes]) -> None:
        self._leave()
        self._last = os.dup(self._top)
        for number, name in enumerate(names):
            with suppress(FileExistsError):
                os.mkdir(name, dir_fd=self._last)
            try:
                inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._last)
            except OSError as error:
                if stat.S_ISLNK(os.stat(name, dir_fd=self._last, follow_symlinks=False).st_mode):
                    place = b"/".join(names[: number + 1]).decode("utf-8", "surrogateescape")
                    reason = f"{place} is a symbolic link here, and results are not written through one."
                    raise ResultsDamaged(reason, self._kept) from None
                raise error
            os.close(self._last)
            self._last = inner
        self._names = names

    def _leave(self) -> None:
        if self._last >= 0:
            os.close(self._last)
        self._names, self._last = None, -1


def _open_part(folder: int, name: str) -> IO[bytes]:
    """Open a partial file. One that exists is continued if it must be ours: a regular file with one name, owned by this
    user. Anything else of that name is removed."""
    flags = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with suppress(FileExistsError):
        return _new_part(folder, name, flags)
    try:
        part = os.open(name, flags, dir_fd=folder)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ELOOP, errno.ENXIO, errno.EACCES, errno.EISDIR):
            raise
    else:
        found = os.fstat(part)
        if stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and found.st_uid == os.geteuid():
            return os.fdopen(part, "a+b")
        os.close(part)
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)
    return _new_part(folder, name, flags)


def _new_part(folder: int, name: str, flags: int) -> IO[bytes]:
    return os.fdopen(os.open(name, flags | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=folder), "a+b")


def _write_linked(folder: int, name: bytes, data: memoryview) -> None:
    """Write a new file without a name, and give it this one. Raises OSError, and leaves nothing then."""
    file = os.open(".", os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o666, dir_fd=folder)
    try:
        left = data
        while left:
            left = left[os.write(file, left) :]
        os.link(f"/proc/self/fd/{file}", name, dst_dir_fd=folder)
    finally:
        os.close(file)


def _refill(file: IO[bytes], data: memoryview, result: Result) -> str:
    # ext4 writes a file to the disk when it is closed, if it was truncated, even if it had been empty.
    if os.fstat(file.fileno()).st_size:
        file.truncate(0)
    file.write(data)
    file.flush()
    return result.sha256


def _alone(file: IO[bytes], result: Result) -> None:
    """Nobody else may be writing the same part."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RunError(
            f"Another skylift is downloading {result.path} at this moment.", "Let it finish, or end it."
        ) from None


class _Both:
    """A file that also puts everything written into a digest. A piece is hashed in another thread while it is written
    and the next one comes: neither needs the interpreter."""

    def __init__(self, file: IO[bytes], digest: hashlib._Hash, hashers: Executor) -> None:
        self._file, self._digest, self._hashers = file, digest, hashers
        self._hashing: Future[None] | None = None

    def write(self, data: bytes) -> int:
        self.finish()
        self._hashing = self._hashers.submit(self._digest.update, data)
        return self._file.write(data)

    def finish(self) -> None:
        """Wait until the digest has everything."""
        if self._hashing is not None:
            self._hashing.result()
