"""Whether the job does anything: output, or CPU time of the login user's processes."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path
from typing import Callable

from skylift.agent.machine.console import say

_SHARE = 0.01
"""The share of one processor below which a program counts as idle."""
_GRAIN = 0.05
"""Seconds of CPU time that are ignored, however short the interval: one tick of the kernel's accounting."""


class Idleness:
    """Calls `idle` when nothing has happened for `seconds`."""

    def __init__(self, seconds: int, uid: int, output: Callable[[], int], idle: Callable[[], None]) -> None:
        self._seconds, self._uid, self._output, self._idle = seconds, uid, output, idle
        self._touched = threading.Event()
        self._over = threading.Event()
        threading.Thread(target=self._watch, name="idleness", daemon=True).start()

    def stop(self) -> None:
        self._over.set()

    def _watch(self) -> None:
        since, work, output = time.monotonic(), self._work(0.0), self._output()
        while not self._over.wait(min(self._seconds / 10, 5)):
            now, worked, written = time.monotonic(), self._work(work) - work, self._output()
            # Less than before: a process that has used CPU time has ended.
            busy = worked < 0 or worked > _GRAIN + _SHARE * (now - since)
            if busy or written != output or self._touched.is_set():
                self._touched.clear()
                since, work, output = now, work + worked, written
            elif now - since >= self._seconds:
                self._idle()
                return

    def _work(self, otherwise: float) -> float:
        try:
            return work_of(self._uid)
        except OSError as error:  # no descriptor to be had, for one: nothing is known, and the next look may tell
            say("it is not known whether the program works: %s" % error)
            self._touched.set()
            return otherwise


def work_of(uid: int) -> float:
    """CPU seconds of the user's processes, and of the children that they have waited for."""
    ticks = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                if entry.stat().st_uid == uid:
                    fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                    ticks += sum(int(field) for field in fields[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")
