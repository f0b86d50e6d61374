"""Inputs that come by themselves, each at its place in the job's folder."""

from __future__ import annotations

import os
import pwd
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Set

from skylift.runner.supervisor.aws import Aws, Refused, Unreachable, patiently
from skylift.runner.supervisor.prefix import Prefix
from skylift.runner.supervisor.program import Program
from skylift.runner.supervisor.unpack import make_room, sha256_of
from skylift.runner.supervisor.verdict import Ended

SHELF = "inputs/sha256"
_SPAN = 32 << 20
"""Bytes in one request: what has to be asked for again when one breaks off."""
_AT_A_TIME = 4
_PATIENCE = 300
"""Seconds for each request, which include those in which S3 has not heard of a new role yet."""


@dataclass(frozen=True)
class _Wanted:
    where: Prefix
    key: str
    etag: str
    size: int
    target: Path


@dataclass(frozen=True)
class _Span:
    wanted: _Wanted
    start: int
    end: int


class Inputs:
    """What cannot be had ends the job, as does `program`, when that is to be ended before it has begun."""

    def __init__(self, place: Path, user: pwd.struct_passwd, program: Program, until: float) -> None:
        self._place, self._user, self._program, self._until = place, user, program, until
        self._folders: Set[Path] = set()

    def fetch_large(self, shelf: Prefix, large: List[Dict[str, Any]]) -> None:
        """What the record has under `large`."""
        wanted = [_Wanted(shelf, each["sha256"], "", each["size"], self._target(each["place"])) for each in large]
        self._fetch(wanted)
        for each in large:
            target = self._target(each["place"])
            if sha256_of(target) != each["sha256"]:
                raise Ended("broken", "The input %s is not what was sent (%s)." % (each["place"], each["sha256"]))
            target.chmod(each["mode"])

    def fetch_s3(self, aws: Aws, sources: List[Dict[str, Any]]) -> None:
        """What in/s3.json names."""
        wanted = [
            _Wanted(bucket, key, etag, size, self._target(place))
            for source in sources
            for bucket in [Prefix(aws.in_region(source["region"]), source["bucket"])]
            for key, etag, size, place in source["objects"]
        ]
        self._fetch(wanted)

    def _target(self, place: str) -> Path:
        return make_room(place, self._place, self._user, self._folders)

    def _fetch(self, wanted: List[_Wanted]) -> None:
        spans = [span for each in wanted for span in self._make(each)]
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            list(pool.map(self._fetch_span, spans))

    def _make(self, wanted: _Wanted) -> Iterator[_Span]:
        target, size = wanted.target, wanted.size
        if target.is_symlink() or target.exists():
            target.unlink()
        target.touch()
        target.chmod(0o644)
        os.chown(str(target), self._user.pw_uid, self._user.pw_gid)
        return (_Span(wanted, start, min(start + _SPAN, size)) for start in range(0, size, _SPAN))

    def _fetch_span(self, span: _Span) -> None:
        wanted, until = span.wanted, min(self._until, time.time() + _PATIENCE)
        if self._program.ending:
            raise Ended(self._program.ending, "The job was ended before its inputs had come.", exit_code=143)

        def fetch() -> None:
            with wanted.target.open("r+b") as file:
                file.seek(span.start)
                wanted.where.fetch_span(wanted.key, span.start, span.end, file, wanted.etag)

        try:
            patiently(wanted.key, fetch, until)
        except (Unreachable, Refused) as error:
            raise Ended("broken", "The input %s cannot be had: %s" % (wanted.key, error)) from None
