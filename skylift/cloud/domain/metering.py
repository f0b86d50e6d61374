"""The kernel's counters of a server, read at one moment."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reading:
    """`boot` distinguishes two runs of a server, `at` is on the monotonic clock. All but `memory`, the bytes in use
    that cannot be had back by forgetting what files contain, is counted since the boot: seconds of processor time, what
    has come in and gone out by all interfaces, and what was read from disks and written to them. None is what this host
    does not count."""

    boot: int
    at: float
    cpu: float | None
    memory: int | None
    bytes_in: int
    bytes_out: int
    packets_in: int
    packets_out: int
    bytes_read: int | None = None
    bytes_written: int | None = None
