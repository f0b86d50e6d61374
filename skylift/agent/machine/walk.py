"""Walking through a folder, however many there are in each other: os.walk calls itself for each before Python 3.12."""

from __future__ import annotations

import os
import stat
from typing import Container, Iterator, Tuple


def walk(top: str, without: Container[str] = ()) -> Iterator[Tuple[str, os.stat_result]]:
    """A folder itself, as "", and everything below it by its relative path, parents before children. No link is
    followed, and what has a name in `without` is left out. Raises OSError, also for a path that is too long."""
    waiting = [""]
    while waiting:
        inner = waiting.pop()
        full = os.path.join(top, inner) if inner else top
        found = os.lstat(full)
        yield inner, found
        if stat.S_ISDIR(found.st_mode):
            names = sorted((each for each in os.listdir(full) if each not in without), reverse=True)
            waiting += [os.path.join(inner, name) for name in names]
