"""Inputs that come by themselves, each at its place in the job's folder."""

from __future__ import annotations

import os
import pwd
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, Set, Tuple

from skylift.runner.supervisor.aws import Refused, Unreachable, patiently
from skylift.runner.supervisor.prefix import Prefix
from skylift.runner.supervisor.unpack import make_room, sha256_of
from skylift.runner.supervisor.verdict import Ended

SHELF = "inputs/sha256"
_SPAN = 32 << 20
"""Bytes in one request: what has to be asked for again when one breaks off."""
_AT_A_TIME = 4


class Inputs:
    """`fetch_large` gets what the record has under `large`. What cannot be had within `until` ends the job."""

    def __init__(self, place: Path, user: pwd.struct_passwd, until: float) -> None:
        self._place, self._user, self._until = place, user, until
        self._folders: Set[Path] = set()

    def fetch_large(self, shelf: Prefix, wanted: List[Dict[str, Any]]) -> None:
        self._fetch((shelf, each["sha256"], each["size"], self._target(each)) for each in wanted)
        for each in wanted:
            target = self._target(each)
            if sha256_of(target) != each["sha256"]:
                raise Ended("broken", "The input %s is not what was sent (%s)." % (each["place"], each["sha256"]))
            target.chmod(each["mode"])

    def _target(self, wanted: Dict[str, Any]) -> Path:
        return make_room(wanted["place"], self._place, self._user, self._folders)

    def _fetch(self, wanted: Iterable[Tuple[Prefix, str, int, Path]]) -> None:
        """(where, key, size, target) of each; in spans, several at a time."""
        spans = [(where, key, span, target) for where, key, size, target in wanted for span in self._make(target, size)]
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            list(pool.map(lambda each: self._fetch_span(*each), spans))

    def _make(self, target: Path, size: int) -> Iterator[Tuple[int, int]]:
        if target.is_symlink() or target.exists():
            target.unlink()
        target.touch(mode=0o644)
        os.chown(str(target), self._user.pw_uid, self._user.pw_gid)
        return ((start, min(start + _SPAN, size)) for start in range(0, size, _SPAN))

    def _fetch_span(self, where: Prefix, key: str, span: Tuple[int, int], target: Path) -> None:
        start, end = span

        def fetch() -> None:
            with target.open("r+b") as file:
                file.seek(start)
                where.fetch_span(key, start, end, file)

        try:
            patiently(key, fetch, self._until)
        except (Unreachable, Refused) as error:
            raise Ended("broken", "The input %s cannot be had: %s" % (target.name, error)) from None
