"""Inputs that are separate objects in S3: large files, and objects of the user's buckets."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import shutil
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Sequence, Set

from skylift.agent.environment.unpack import make_room, sha256_of
from skylift.agent.job.outcome import Ended
from skylift.agent.machine.concurrently import thread_pool
from skylift.agent.program.program import UserProcess
from skylift.agent.remote.aws import Aws, Refused, Unreachable, retry_until
from skylift.agent.remote.prefix import Prefix
from skylift.contract.record import LargeInput
from skylift.contract.states import State

BLOBS = "inputs/sha256"
_SPAN = 32 << 20
"""Bytes in one request. A request that breaks off is repeated."""
_AT_A_TIME = 4
_PATIENCE = 300
"""Seconds for each request. S3 may refuse a new role for some of them."""


class _Wanted(NamedTuple):
    where: Prefix
    key: str
    etag: str
    size: int
    target: Path


class _Span(NamedTuple):
    wanted: _Wanted
    start: int
    end: int


class InputDownloads:
    """Downloads inputs. If an input cannot be downloaded, the job ends. It also ends if `program` is cancelled.

    `kept` is a folder on a kept server with large files for its next job. They are hard links to the job's own files,
    so they take no room. If the program has changed one, its digest shows that.
    """

    def __init__(self, place: Path, user: pwd.struct_passwd, program: UserProcess, until: float, kept: Path) -> None:
        self._place, self._user, self._program, self._until, self._kept = place, user, program, until, kept
        self._folders: Set[Path] = set()

    def fetch_large(self, blobs: Prefix, large: Sequence[LargeInput]) -> None:
        """Download the files in the record's `large`."""
        missing = [each for each in large if not self._take_kept(each)]
        wanted = [_Wanted(blobs, each.sha256, "", each.size, self._target(each.place)) for each in missing]
        for number, digest in enumerate(self._fetch_hashed(wanted)):
            each = missing[number]
            if digest != each.sha256:
                raise Ended(State.BROKEN, "The input %s is not what was sent (%s)." % (each.place, each.sha256))
        for each in large:
            self._target(each.place).chmod(each.mode)

    def _take_kept(self, wanted: LargeInput) -> bool:
        there, target = self._kept / wanted.sha256, self._target(wanted.place)
        if not there.exists() or sha256_of(there) != wanted.sha256:
            return False
        target.unlink(missing_ok=True)
        there.replace(target)
        os.chown(str(target), self._user.pw_uid, self._user.pw_gid)
        return True

    def keep_large(self, large: Sequence[LargeInput]) -> None:
        """Keep these files for the next job, and drop those that were kept before."""
        shutil.rmtree(str(self._kept), ignore_errors=True)
        self._kept.mkdir(mode=0o700, parents=True)
        for each in large:
            # Two paths may have the same content, and a file system may not support hard links.
            with contextlib.suppress(OSError):
                os.link(str(self._target(each.place)), str(self._kept / each.sha256))

    def fetch_s3(self, aws: Aws, sources: List[Dict[str, Any]]) -> None:
        """Download the objects that in/s3.json names."""
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
        if spans:
            with thread_pool(_AT_A_TIME) as pool:
                list(pool.map(self._fetch_span, spans))

    def _fetch_hashed(self, wanted: List[_Wanted]) -> List[str]:
        """The digest of each. A span is hashed, as it is on the disk, while those behind it are fetched."""
        digests: List[str] = []
        if not wanted:
            return digests
        files = [(each, list(self._make(each))) for each in wanted]
        with thread_pool(_AT_A_TIME) as pool:
            come = pool.map(self._fetch_span, [span for _, spans in files for span in spans])
            for each, spans in files:
                digest = hashlib.sha256()
                with each.target.open("rb", buffering=0) as file:
                    for span in spans:
                        next(come)
                        digest.update(file.read(span.end - span.start))
                digests.append(digest.hexdigest())
        return digests

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
            raise Ended(self._program.ending, "The job was ended before its inputs had arrived.", exit_code=143)

        def fetch() -> None:
            with wanted.target.open("r+b") as file:
                file.seek(span.start)
                wanted.where.fetch_span(wanted.key, span.start, span.end, file, wanted.etag)

        try:
            retry_until(wanted.key, fetch, until)
        except (Unreachable, Refused) as error:
            raise Ended(State.BROKEN, "The input %s cannot be fetched: %s" % (wanted.key, error)) from None
