"""A pool of threads that works on many things at once, and on each of them with one thread at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from skylift.cloud.loops.guard import guarded


class Work:
    """`act(key)` is done for every key that is submitted, and once more for one submitted while it is under way."""

    def __init__(self, what: str, act: Callable[[str], None], workers: int) -> None:
        self._what = what
        self._act = act
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix=what)
        self._lock = threading.RLock()
        self._idle = threading.Condition(self._lock)
        self._busy: set[str] = set()
        self._again: set[str] = set()
        self._timers: dict[str, threading.Timer] = {}
        self._closed = False

    def submit(self, key: str) -> None:
        with self._lock:
            if self._closed:
                return
            if key in self._busy:
                self._again.add(key)
                return
            self._busy.add(key)
        self._pool.submit(self._do, key)

    def later(self, key: str, seconds: float) -> None:
        """Runs it after a delay: for events that are not reported."""
        with self._lock:
            if self._closed or key in self._timers:
                return
            timer = threading.Timer(seconds, self._due, (key,))
            timer.daemon = True
            self._timers[key] = timer
        timer.start()

    def not_later(self, key: str) -> None:
        """Nothing is waited for any more."""
        with self._lock:
            timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()

    def wait_until_idle(self, patience: float | None = None) -> None:
        """Waits until nothing is under way, or `patience` seconds. Delayed work does not count."""
        with self._idle:
            self._idle.wait_for(lambda: not self._busy, patience)

    def close(self) -> None:
        """Finishes the work under way and starts nothing more. The next start of the cloud finds what was submitted."""
        with self._lock:
            self._closed = True
            timers = list(self._timers.values())
        for timer in timers:
            timer.cancel()
        self._pool.shutdown(cancel_futures=True)

    def _due(self, key: str) -> None:
        with self._lock:
            self._timers.pop(key, None)
        self.submit(key)

    def _do(self, key: str) -> None:
        try:
            # Whatever it is belongs in the log, not in a forgotten future.
            guarded(f"{self._what} {key}", partial(self._act, key))
        finally:
            with self._idle:
                self._busy.discard(key)
                if key in self._again:
                    self._again.discard(key)
                    self.submit(key)
                self._idle.notify_all()
