"""What is done six times a minute, on the clock that everybody else has."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

log = logging.getLogger(__name__)

TICK = 10
"""Seconds. It is the shortest period of an alarm that is evaluated, as on AWS."""


class Ticker:
    """One thread. `steps` are run in order at every tick; those that take longer than one lose the ticks in between.
    `between` are run after them, and also whenever somebody wakes it."""

    def __init__(self) -> None:
        self.steps: Sequence[Callable[[], None]] = ()
        self.between: Sequence[Callable[[], None]] = ()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ticker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        self._wake.set()

    def stop(self) -> None:
        self._stopping.set()
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        next_tick = _after(time.time())
        while not self._stopping.is_set():
            self._wake.wait(max(0.0, next_tick - time.time()))
            self._wake.clear()
            if self._stopping.is_set():
                return
            now = time.time()
            if now >= next_tick or next_tick - now > TICK:
                # The second: somebody has set the clock back.
                next_tick = _after(now)
                for step in self.steps:
                    _guarded(step)
            for step in self.between:
                _guarded(step)


def _after(now: float) -> float:
    return (now // TICK + 1) * TICK


def _guarded(step: Callable[[], None]) -> None:
    try:
        step()
    except Exception:
        # It has to go on for everybody else; the step runs again at the next tick.
        log.exception("%s failed", getattr(step, "__qualname__", step))
