"""The index of an environment in the bucket, parsed before root writes what it names.

Its digest proves that the bucket has what was pinned first. It does not prove that skylift wrote it: anyone who may
write an environment may pin one.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Dict, List, Set

_LONGEST_TIME = 1 << 40


class Changed(Exception):
    """An index is not as a server writes it, or a file differs from the index."""


def parse_index(text: bytes, home: Path, folders: List[Path]) -> Dict[str, Any]:
    """`folders` are what the environment consists of, below `home`. Raises Changed."""
    try:
        index = json.loads(text)
    except (ValueError, RecursionError):
        raise Changed("its index is not JSON") from None
    if not isinstance(index, dict):
        raise Changed("its index is not a JSON object")
    if index.get("home") != str(home):
        raise Changed("it was made for %s" % str(index.get("home"))[:200])
    lock, entries, packs = index.get("lock"), index.get("entries"), index.get("packs")
    if not (lock is None or isinstance(lock, str)) or not isinstance(entries, list) or not isinstance(packs, list):
        raise Changed("its index is not valid")
    _Entries([str(each.relative_to(home)) for each in folders]).check(entries)
    _check_packs(packs, sum(each[1] == "f" for each in entries))
    return index


class _Entries:
    """Each path is in a folder that is listed before it, and below one of `tops`. So no path leads through a link."""

    def __init__(self, tops: List[str]) -> None:
        self._tops = tops
        self._seen: Set[str] = set()
        self._folders: Set[str] = {""}

    def check(self, entries: List[Any]) -> None:
        for each in entries:
            if not self._is_valid(each):
                raise Changed("its index has what no server writes: %.200r" % (each,))

    def _is_valid(self, entry: Any) -> bool:
        if not isinstance(entry, list) or len(entry) < 3 or not _is_text(entry[0]):
            return False
        path, kind, more = entry[0], entry[1], entry[2:]
        above, _, name = path.rpartition("/")
        if name in ("", ".", "..") or above not in self._folders or path in self._seen:
            return False
        self._seen.add(path)
        inside = any(path.startswith(top + "/") for top in self._tops)
        if kind == "d":
            self._folders.add(path)
            around = any((top + "/").startswith(path + "/") for top in self._tops)
            return (inside or around) and len(more) == 1 and _is_number(more[0], 0o7777)
        if kind == "l":
            return inside and len(more) == 1 and _is_text(more[0])
        # Set-uid files of root are not part of an environment.
        return (
            inside and kind == "f" and len(more) == 3 and _is_number(more[0], 0o777)
            and _is_number(more[1]) and _is_number(more[2], _LONGEST_TIME, least=-_LONGEST_TIME)
        )  # fmt: skip


def _is_text(value: Any) -> bool:
    """Whether it may be a path."""
    try:
        return isinstance(value, str) and b"\0" not in os.fsencode(value)
    except UnicodeEncodeError:
        return False


def _is_number(value: Any, most: float = float("inf"), least: int = 0) -> bool:
    return isinstance(value, int) and least <= value <= most


def _check_packs(packs: List[Any], files: int) -> None:
    """They follow each other, and have all files."""
    done = 0
    for each in packs:
        valid = isinstance(each, list) and len(each) == 3 and each[0] == done and isinstance(each[2], str)
        if not valid or not _is_number(each[1], files, least=done + 1):
            raise Changed("its index has packs that no server writes")
        done = each[1]
    if done != files:
        raise Changed("its index has files that are in no pack")
