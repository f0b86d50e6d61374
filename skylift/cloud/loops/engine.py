"""One thread that runs the loops whenever something was committed, and once in a while without a reason."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence

from skylift.cloud.loops.guard import guarded, named

IDLE_SECONDS = 60.0


class Engine:
    """Steps are run in order. A commit that happens while they run makes them run once more. `chores` follow them, but
    once in a while only."""

    def __init__(self, name: str = "loops") -> None:
        self.steps: Sequence[Callable[[], None]] = ()
        self.chores: Sequence[Callable[[], None]] = ()
        self._wake = threading.Event()
        self._due = math.inf
        self._stop = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        self._wake.set()

    def wake_in(self, seconds: float) -> None:
        """Runs the steps again after `seconds`. A step must ask each time: every run that is due clears the request."""
        due = time.monotonic() + max(0.0, seconds)
        if due < self._due:
            self._due = due
            if threading.current_thread() is not self._thread:
                # A step in this thread is noticed anyway, before the thread goes to rest.
                self._wake.set()

    def stop(self) -> None:
        self._stop = True
        self._wake.set()
        if self._thread.ident is not None:
            # A cloud may be stopped before its loops have begun.
            self._thread.join()

    def _run(self) -> None:
        chores_due = time.monotonic()
        while not self._stop:
            self._wake.clear()
            if time.monotonic() >= self._due:
                self._due = math.inf
            for step in self.steps:
                guarded(named(step), step)
            if time.monotonic() >= chores_due:
                for chore in self.chores:
                    guarded(named(chore), chore)
                chores_due = time.monotonic() + IDLE_SECONDS
            self._wake.wait(min(IDLE_SECONDS, max(0.0, self._due - time.monotonic())))
