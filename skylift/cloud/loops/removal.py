"""Deletes, in the background, what servers have made and nothing needs any more."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from skylift.cloud.compute.disk.removal import NotRemoved, Removal, trees_aside
from skylift.cloud.loops.work import Work

log = logging.getLogger(__name__)

AGAIN = 600.0
"""Seconds until the next attempt with a tree that could not be deleted."""


class RemovalLoop:
    """`places` are the directories in which trees are set aside. A tree that cannot be deleted delays no other."""

    def __init__(self, places: Sequence[Path], begin: Callable[[Path], Removal]) -> None:
        self._places = places
        self._begin = begin
        self._lock = threading.Lock()
        self._under_way: set[Removal] = set()
        self._taken: set[str] = set()
        self._closed = False
        self._work = Work("removal", self._remove, workers=2)

    def step(self) -> None:
        for tree in trees_aside(self._places):
            if str(tree) not in self._taken:
                self._taken.add(str(tree))
                self._work.submit(str(tree))

    def close(self) -> None:
        """What is under way is cut off: the next start goes on with it."""
        with self._lock:
            self._closed = True
            for removal in self._under_way:
                removal.stop()
        self._work.close()

    def _remove(self, tree: str) -> None:
        try:
            with self._lock:
                if self._closed:
                    return
                removal = self._begin(Path(tree))
                self._under_way.add(removal)
            try:
                removal.wait()
            finally:
                with self._lock:
                    self._under_way.discard(removal)
            self._taken.discard(tree)
        except (NotRemoved, OSError) as error:
            if not self._closed:
                log.error("%s; it is tried again in %.0f minutes", error, AGAIN / 60)
                self._work.later(tree, AGAIN)
