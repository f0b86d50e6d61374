"""Results come home: from the job's prefix to the working directory, each file whole and checked before it is there.

What a server sent is written only where the job's own record asks for it (see supervisor/outputs.py), and only below
the working directory: folders are walked by descriptors, and no symbolic link is followed on the way. What was sent and
not asked for is named, and stays in S3.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from skylift.runner.ec2 import Api
from skylift.runner.errors import Refused, ResultsDamaged, RunError
from skylift.runner.job import Result
from skylift.runner.record import Prefix
from skylift.runner.server_record import MANIFEST_LIMIT, parse_manifest
from skylift.runner.supervisor.outputs import asked_for, named_outright

_AT_A_TIME = 4
_NOT_THERE = {"NoSuchKey", "404", "InvalidRange", "416"}
_PART = ".skylift-part"


@dataclass(frozen=True)
class Manifest:
    """What the supervisor sent. `unmatched` outputs named nothing; `left_behind` are new files nobody asked for, and
    `not_written` are those that were sent all the same."""

    results: tuple[Result, ...] = ()
    unmatched: tuple[str, ...] = ()
    left_behind: tuple[str, ...] = ()
    not_written: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        return sum(each.size for each in self.results)


def read_manifest(api: Api, bucket: str, prefix: Prefix, outputs: Sequence[str], script: str = "") -> Manifest:
    """`outputs` and `script`, the program's own file, are those of the job's record. Raises RecordDamaged."""
    found = api.get(bucket, prefix.manifest, MANIFEST_LIMIT)
    if found is None:
        return Manifest()
    sent = parse_manifest(prefix.manifest, found)
    wanted = {each.path for each in sent.files if _is_wanted(each.path, outputs, script)}
    return Manifest(
        tuple(Result(each.path, each.size, each.sha256) for each in sent.files if each.path in wanted),
        sent.unmatched,
        sent.left_behind,
        tuple(each.path for each in sent.files if each.path not in wanted),
    )


def _is_wanted(path: str, outputs: Sequence[str], script: str) -> bool:
    """A glob does not ask for another program in the place of the one that was sent, nor anything for one of our own
    half-fetched files."""
    if path == script and not named_outright(path, outputs):
        return False
    return not path.endswith(_PART) and asked_for(path, outputs)


def bring_home(
    api: Api, bucket: str, prefix: Prefix, manifest: Manifest, home: Path, progress: Callable[[int], None]
) -> None:
    """Download every result. Raises ResultsDamaged, which says where they still are."""
    kept = f"They are kept in s3://{bucket}/{prefix.base}/server/results/."
    if not manifest.results:
        return
    try:
        home.mkdir(parents=True, exist_ok=True)
        top = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ResultsDamaged(f"Nothing can be written to {home}: {error.strerror}.", kept) from None
    try:
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            list(pool.map(lambda result: _fetch(api, bucket, prefix, result, top, progress, kept), manifest.results))
    finally:
        os.close(top)


def _fetch(
    api: Api, bucket: str, prefix: Prefix, result: Result, top: int, progress: Callable[[int], None], kept: str
) -> None:
    *folders, name = result.path.split("/")
    try:
        with _folder(top, folders, kept) as folder:
            if _is_here(folder, name, result):
                progress(result.size)
                return
            # Named by its place and content: what a killed client left of it is the beginning of the same file.
            place = hashlib.sha256(result.path.encode()).hexdigest()
            part = f".{place[:16]}.{result.sha256[:16]}{_PART}"
            with _open_part(folder, part) as file:
                _alone(file, result)
                if _complete(api, bucket, prefix, result, file, progress) != result.sha256:
                    os.unlink(part, dir_fd=folder)
                    raise ResultsDamaged(f"The result {result.path} arrived damaged.", kept)
                os.rename(part, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError as error:
        raise ResultsDamaged(f"The result {result.path} cannot be written here: {error.strerror}.", kept) from None
    except Refused as error:
        if error.code not in _NOT_THERE:
            raise
        raise ResultsDamaged(f"The result {result.path} is not in S3 as its server said.", kept) from None


@contextmanager
def _folder(top: int, names: Sequence[str], kept: str) -> Iterator[int]:
    """A descriptor of the folder, made where there is none."""
    here = os.dup(top)
    try:
        for number, name in enumerate(names):
            with suppress(FileExistsError):
                os.mkdir(name, dir_fd=here)
            try:
                inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
            except OSError as error:
                if stat.S_ISLNK(os.stat(name, dir_fd=here, follow_symlinks=False).st_mode):
                    place = "/".join(names[: number + 1])
                    raise ResultsDamaged(
                        f"{place} is a symbolic link here, and results are not written through one.",
                        f"{kept} Have them brought elsewhere: skylift results NAME DIR",
                    ) from None
                raise error
            os.close(here)
            here = inner
        yield here
    finally:
        os.close(here)


def _is_here(folder: int, name: str, result: Result) -> bool:
    """Only a file of its own counts: no link to one, and nothing that cannot be read to its end."""
    try:
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENXIO, errno.EACCES):
            return False
        raise
    with os.fdopen(file, "rb") as content:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode) or found.st_size != result.size:
            return False
        return hashlib.file_digest(content, "sha256").hexdigest() == result.sha256


def _open_part(folder: int, name: str) -> IO[bytes]:
    """What is there already is gone on with if it can only be ours: a plain file, with this one name, of this user.
    What else has the name makes way."""
    flags = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
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
    return os.fdopen(os.open(name, flags | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=folder), "a+b")


def _alone(file: IO[bytes], result: Result) -> None:
    """Nobody else may be writing the same part."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RunError(
            f"Another skylift is bringing {result.path} here at this moment.", "Let it finish, or end it."
        ) from None


def _complete(
    api: Api,
    bucket: str,
    prefix: Prefix,
    result: Result,
    file: IO[bytes],
    progress: Callable[[int], None],
) -> str:
    """Fetch what is missing of a part. The digest of the whole: what is there is read once, the rest as it comes."""
    digest = hashlib.sha256()
    if os.fstat(file.fileno()).st_size > result.size:
        file.truncate(0)
    file.seek(0)
    for piece in iter(lambda: file.read(1 << 20), b""):
        digest.update(piece)
        progress(len(piece))
    offset = file.tell()
    if offset < result.size:
        target = _Both(file, digest)
        for size in api.stream(bucket, prefix.result(result.path), target, offset, result.size - offset):
            progress(size)
    file.flush()
    return digest.hexdigest()


class _Both:
    """What is written to a file goes into a digest too."""

    def __init__(self, file: IO[bytes], digest: hashlib._Hash) -> None:
        self._file, self._digest = file, digest

    def write(self, data: bytes) -> int:
        self._digest.update(data)
        return self._file.write(data)
