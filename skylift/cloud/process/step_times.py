"""Measures the time of each step, for the log."""

from __future__ import annotations

import os
import time
from pathlib import Path


class StepTimes:
    """`since` is when the first step began, on the monotonic clock; by default now."""

    def __init__(self, since: float | None = None) -> None:
        self._began = time.monotonic() if since is None else since
        self._ended: list[str] = []

    def end(self, step: str) -> None:
        now = time.monotonic()
        self._ended.append(f"{step} {(now - self._began) * 1000:.0f} ms")
        self._began = now

    def __str__(self) -> str:
        return ", ".join(self._ended)


def process_began() -> float:
    """The start of this process on the monotonic clock, to a hundredth of a second."""
    # Field 22, in ticks since the machine's start (proc_pid_stat(5)). A program's name may have blanks in it.
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return time.monotonic() - age
