"""Time as it passes, and as the wall clock tells it, which may be set at any moment: a server's clock is put right
after its boot, and a machine that slept wakes up hours later."""

from __future__ import annotations

import threading
import time
from typing import Any, Callable, Optional

_LOOK = 15.0
"""Seconds between two looks at the wall clock."""


class Stopwatch:
    """How long the program has run, in seconds; None before it does."""

    def __init__(self) -> None:
        self._began: Optional[float] = None
        self._ended: Optional[float] = None

    def start(self, already: float = 0.0) -> None:
        self._began = time.monotonic() - already

    def stop(self) -> None:
        """The first time counts."""
        if self._ended is None:
            self._ended = time.monotonic()

    def stop_at(self, seconds: float) -> None:
        if self._began is not None:
            self._ended = self._began + seconds

    @property
    def seconds(self) -> Optional[float]:
        if self._began is None:
            return None
        return (time.monotonic() if self._ended is None else self._ended) - self._began


class Alarm(threading.Thread):
    """Calls `call` once started: when the wall clock says `at`, or after so many seconds, whichever comes first."""

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
