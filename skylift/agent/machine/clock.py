"""Elapsed time, and wall clock time. The wall clock may jump: it is corrected after a boot, and a machine may sleep for
hours."""

from __future__ import annotations

import threading
import time
from typing import Any, Callable, Optional

_LOOK = 15.0
"""Seconds between two checks of the wall clock."""


class Stopwatch:
    """How long the program has run, in seconds; None before it does."""

    def __init__(self) -> None:
        self._began: Optional[float] = None
        self._ended: Optional[float] = None

    def start(self, already: float = 0.0) -> None:
        self._began = time.monotonic() - already

    def stop(self) -> None:
        """Stop the watch. Only the first call counts."""
        if self._ended is None:
            self._ended = time.monotonic()

    def go_on(self) -> None:
        """It was not the end: the time since then counts, too."""
        self._ended = None

    def stop_at(self, seconds: float) -> None:
        if self._began is not None:
            self._ended = self._began + seconds

    @property
    def seconds(self) -> Optional[float]:
        if self._began is None:
            return None
        return (time.monotonic() if self._ended is None else self._ended) - self._began


class AlarmClock(threading.Thread):
    """Calls `call` when the wall clock reaches `at`, or when as many seconds have passed, whichever comes first."""

    def __init__(self, at: float, call: Callable[[], Any], seconds: float = float("inf")) -> None:
        super().__init__(name="alarm", daemon=True)
        self._at, self._call, self._seconds = at, call, seconds
        self._over = threading.Event()

    def cancel(self) -> None:
        self._over.set()

    def run(self) -> None:
        until = time.monotonic() + self._seconds
        while True:
            left = min(self._at - time.time(), until - time.monotonic())
            if left <= 0:
                break
            if self._over.wait(min(left, _LOOK)):
                return
        if not self._over.is_set():
            self._call()
