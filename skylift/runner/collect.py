"""Results come home: from the job's prefix to the working directory, each file whole and checked before it is there."""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from skylift.runner.ec2 import Api
from skylift.runner.errors import ResultsDamaged, RunError
from skylift.runner.job import Result
from skylift.runner.record import Prefix

_AT_A_TIME = 4


@dataclass(frozen=True)
class Manifest:
    """What the supervisor sent. `unmatched` outputs named nothing; `left_behind` are new files nobody asked for."""

    results: tuple[Result, ...] = ()
    unmatched: tuple[str, ...] = ()
    left_behind: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        return sum(each.size for each in self.results)


def read_manifest(api: Api, bucket: str, prefix: Prefix) -> Manifest:
    found = api.get(bucket, prefix.manifest)
    if found is None:
        return Manifest()
    content: dict[str, Any] = json.loads(found)
    results = tuple(Result(each["path"], each["size"], each["sha256"]) for each in content["results"])
    return Manifest(results, tuple(content["unmatched"]), tuple(content["left_behind"]))


def bring_home(
    api: Api, bucket: str, prefix: Prefix, manifest: Manifest, home: Path, progress: Callable[[int], None]
) -> None:
    """Download every result. Raises ResultsDamaged, which says where they still are."""
    kept = f"They are kept in s3://{bucket}/{prefix.base}/server/results/."
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        list(pool.map(lambda result: _fetch(api, bucket, prefix, result, home, progress, kept), manifest.results))


def _fetch(
    api: Api, bucket: str, prefix: Prefix, result: Result, home: Path, progress: Callable[[int], None], kept: str
) -> None:
    place = PurePosixPath(result.path)
    if place.is_absolute() or ".." in place.parts:
        raise ResultsDamaged(f"The result {result.path!r} names a place outside the working directory.", kept)
    target = home / place
    try:
        if _is_here(target, result):
            progress(result.size)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        # Named by its content: what a killed client left of it is the beginning of the same file.
        part = target.with_name(f".{target.name}.{result.sha256[:12]}.skylift-part")
        with part.open("ab") as file:
            _alone(file, result)
            if _complete(api, bucket, prefix, result, file, part, progress) != result.sha256:
                part.unlink()
                raise ResultsDamaged(f"The result {result.path} arrived damaged.", kept)
            part.replace(target)
    except OSError as error:
        raise ResultsDamaged(f"The result {result.path} cannot be written here: {error.strerror}.", kept) from None


def _is_here(target: Path, result: Result) -> bool:
    return target.is_file() and target.stat().st_size == result.size and _sha256(target) == result.sha256


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
    part: Path,
    progress: Callable[[int], None],
) -> str:
    """Fetch what is missing of a part. The digest of the whole: what is there is read once, the rest as it comes."""
    digest = hashlib.sha256()
    if file.tell() > result.size:
        file.truncate(0)
    with part.open("rb") as already:
        for piece in iter(lambda: already.read(1 << 20), b""):
            digest.update(piece)
            progress(len(piece))
    offset = file.tell()
    if offset < result.size:
        for size in api.stream(bucket, prefix.result(result.path), _Both(file, digest), offset):
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


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
