"""Runs its steps six times a minute."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from skylift.cloud.loops.guard import guarded, named

TICK = 10
"""Seconds. This is the shortest period of an alarm, as on AWS."""


class Ticker:
    """One thread. `steps` are run in order at every tick; those that are due while they run are lost."""

    def __init__(self, every: float = TICK) -> None:
        self.steps: Sequence[Callable[[], None]] = ()
        self._every = every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ticker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.ident is not None:
            # A cloud may be stopped before its loops have begun.
            self._thread.join()

    def _run(self) -> None:
        due = self._after(time.time())
        # A clock that has been set back is not waited for.
        while not self._stop.wait(min(self._every, max(0.0, due - time.time()))):
            now = time.time()
            if now < due <= now + self._every:
                continue
            due = self._after(now)
            for step in self.steps:
                guarded(named(step), step)

    def _after(self, now: float) -> float:
        return (now // self._every + 1) * self._every
