"""The workers of a cluster: those that are there, those that start, and those that were lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from skylift.python.watching import log

FAILURES = 3
"""Workers in a row that end before they have registered, after which no other is started."""
SHORTEST, LONGEST = 15.0, 600.0
"""Seconds until another start is tried after one that has brought no server: EC2 may have room again. The pause doubles
each time."""
_AT_ONCE = 8


@dataclass
class _Worker:
    starting: Future[None]
    registered: bool = field(default=False)


class Workers:
    """`start` starts the worker of that name and returns when its server has it; `end` ends it and removes its job."""

    def __init__(
        self,
        name_of: Callable[[int], str],
        start: Callable[[str], None],
        end: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name_of, self._start, self._end, self._clock = name_of, start, end, clock
        self._pause, self._not_before = SHORTEST, 0.0
        self._workers: dict[str, _Worker] = {}
        self._lost: list[str] = []
        """Their logs can be read until the cluster is closed."""
        self._number = self._failures = 0
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="skylift-cluster")
        self._closed = False

    def __len__(self) -> int:
        return len(self._workers)

    @property
    def failing(self) -> bool:
        return self._failures >= FAILURES

    def reset_failures(self) -> None:
        """Start workers again although the last ones failed: the user asks for it."""
        self._failures, self._pause, self._not_before = 0, SHORTEST, 0.0

    def add(self, count: int) -> None:
        """Returns at once."""
        with self._lock:
            for _ in range(0 if self._closed or self.failing or self._clock() < self._not_before else count):
                self._number += 1
                name = self._name_of(self._number)
                self._workers[name] = _Worker(self._pool.submit(self._start, name))

    def registered(self, names: set[str]) -> None:
        """These have registered with the scheduler."""
        with self._lock:
            for name in names & self._workers.keys():
                if not self._workers[name].registered:
                    self._workers[name].registered = True
                    self._failures, self._pause = 0, SHORTEST

    def forget_lost(self, here: set[str], alive: Callable[[], set[str]]) -> None:
        """Forget workers that are gone: their servers were lost, or what they run fails. `here` are registered ones,
        and `alive` returns all jobs that have not ended; it is asked only where somebody is missing."""
        with self._lock:
            missing = [name for name, each in self._workers.items() if each.starting.done() and name not in here]
        if not missing:
            return
        living = alive()
        for name in missing:
            with self._lock:
                worker = self._workers[name]
                error = worker.starting.exception()
                if error is None and name in living:
                    continue
                del self._workers[name]
                if error is None:
                    self._failures += not worker.registered
                    self._lost.append(name)
                elif self._clock() >= self._not_before:
                    # Those that were started at the same time are one try.
                    self._not_before, self._pause = self._clock() + self._pause, min(2 * self._pause, LONGEST)
            if error is not None:
                wait = self._not_before - self._clock()
                log.warning("The worker %s was not started: %s The next try is in %.0f s.", name, error, wait)
                continue
            log.warning("The worker %s is gone; see `skylift logs %s`.", name, name)
            if self.failing:
                log.error("%d workers in a row have failed; no other is started.", self._failures)

    def give_back(self, names: set[str]) -> None:
        """End these, which the scheduler has retired. Returns at once."""
        with self._lock:
            for name in sorted(names & self._workers.keys()) if not self._closed else ():
                del self._workers[name]
                self._pool.submit(self._end, name)

    def close(self) -> list[str]:
        """Start no other, and wait for those that are being started. The names of those whose jobs are there."""
        with self._lock:
            self._closed = True
        self._pool.shutdown()
        # One that could not be started may have failed because another's job has its name.
        return [*self._lost, *(name for name, each in self._workers.items() if each.starting.exception() is None)]
