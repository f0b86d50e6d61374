"""Results come home: from the job's prefix to the working directory, each file whole and checked before it is there."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from skylift.runner.ec2 import Api
from skylift.runner.errors import ResultsDamaged
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
    part = target.with_name(f".{target.name}.skylift-part.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as file:
                for size in api.stream(bucket, prefix.result(result.path), file):
                    progress(size)
            digest = _sha256(part)
            if digest != result.sha256:
                raise ResultsDamaged(f"The result {result.path} arrived damaged.", kept)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise ResultsDamaged(f"The result {result.path} cannot be written here: {error.strerror}.", kept) from None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
