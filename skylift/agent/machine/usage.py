"""What a server uses now, and which of the user's processes use most, for `skylift top`."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from skylift.agent.machine.gauge import ServerGauge
from skylift.contract.usage import Process

PROCESSES = 10
"""The most processes in a report, those that work most."""
_COMMAND = 200
"""The most characters of a command line."""
_SECTOR = 512
_NO_DISKS = ("loop", "ram", "zram", "dm-", "md", "sr", "fd")
"""Devices that are not real disks, or that are counted elsewhere as well."""


class _Process(NamedTuple):
    """`began` distinguishes it from an earlier process with the same pid."""

    pid: int
    began: int
    cpu_seconds: float
    memory: int
    command: str


class _Sample(NamedTuple):
    when: float
    read: Optional[int]
    written: Optional[int]
    received: Optional[int]
    sent: Optional[int]
    processes: Dict[Tuple[int, int], _Process]


class UsageMeter:
    """`uid` is the user of the job's processes, `disk` a folder on the disk that is measured. /proc and /sys are below
    `root`."""

    def __init__(self, uid: int, disk: Path, root: Path = Path("/")) -> None:
        self._uid, self._disk = uid, disk
        self._proc, self._groups = root / "proc", root / "sys/fs/cgroup"
        self._gauge = ServerGauge(root)
        self._last = self._sample()

    def measure(self) -> Dict[str, Any]:
        """Returns bytes, and bytes a second and shares of one processor since the last call. A value that the kernel
        does not give is left out.
        """
        before, now = self._last, self._sample()
        self._last, seconds = now, max(now.when - before.when, 1e-3)
        measured: Dict[str, Any] = dict(self._gauge.measure(), processors=self._gauge.processors())
        with contextlib.suppress(OSError):
            found = os.statvfs(str(self._disk))
            measured.update(
                disk=(found.f_blocks - found.f_bfree) * found.f_frsize, disk_size=found.f_blocks * found.f_frsize
            )
        for name in ("read", "written", "received", "sent"):
            first, last = getattr(before, name), getattr(now, name)
            if first is not None and last is not None:
                # Less than before: a disk or an interface that is gone.
                measured[name] = round(max(last - first, 0) / seconds)
        measured["processes"] = self._busiest(before, now, seconds)
        measured["processes_count"] = len(now.processes)
        return measured

    def _busiest(self, before: _Sample, now: _Sample, seconds: float) -> List[Dict[str, Any]]:
        shares = {}
        for key, process in now.processes.items():
            earlier = before.processes.get(key)
            # A process that began since then has used all of its processor time since.
            shares[key] = (
                max(process.cpu_seconds - (earlier.cpu_seconds if earlier is not None else 0.0), 0.0) / seconds
            )
        order = sorted(shares, key=lambda key: (-shares[key], -now.processes[key].cpu_seconds, key))
        busy = [(now.processes[key], round(shares[key], 4)) for key in order[:PROCESSES]]
        return [Process(of.pid, share, round(of.cpu_seconds, 2), of.memory, of.command)._asdict() for of, share in busy]

    def _sample(self) -> _Sample:
        return _Sample(time.monotonic(), *self._disk_bytes(), *self._network_bytes(), self._processes())

    def _disk_bytes(self) -> Tuple[Optional[int], Optional[int]]:
        """The bytes read and written: by the container's control group (version 1 or 2), else by all disks of the
        machine."""
        text = _text(self._groups / "io.stat")
        if text is not None:
            return _sum(text, "rbytes="), _sum(text, "wbytes=")
        for name in ("blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_service_bytes"):
            text = _text(self._groups / "blkio" / name)
            if text is not None:
                return _sum(text, "Read "), _sum(text, "Write ")
        text = _text(self._proc / "diskstats")
        rows = [line.split() for line in (text or "").splitlines()]
        disks = {row[2]: row for row in rows if len(row) > 9 and not row[2].startswith(_NO_DISKS)}
        # A partition is named after its disk, and counted there.
        whole = [
            row for name, row in disks.items() if not any(name != each and name.startswith(each) for each in disks)
        ]
        if not whole:
            return None, None
        return tuple(sum(_integer(row[place]) for row in whole) * _SECTOR for place in (5, 9))  # type: ignore[return-value]

    def _network_bytes(self) -> Tuple[Optional[int], Optional[int]]:
        text = _text(self._proc / "net/dev")
        if text is None:
            return None, None
        rows = [line.partition(":") for line in text.splitlines() if ":" in line]
        fields = [found.split() for name, _, found in rows if name.strip() != "lo"]
        fields = [each for each in fields if len(each) > 8]
        return sum(_integer(each[0]) for each in fields), sum(_integer(each[8]) for each in fields)

    def _processes(self) -> Dict[Tuple[int, int], _Process]:
        found: Dict[Tuple[int, int], _Process] = {}
        for entry in self._proc.iterdir() if self._proc.is_dir() else ():
            # A process that has just ended is left out.
            with contextlib.suppress(OSError, ValueError, IndexError):
                if entry.name.isdigit() and entry.stat().st_uid == self._uid:
                    process = _process(entry)
                    found[process.pid, process.began] = process
        return found


def _process(entry: Path) -> _Process:
    name, _, rest = (entry / "stat").read_text(errors="replace").partition("(")[2].rpartition(")")
    fields = rest.split()
    ticks, pages = int(fields[11]) + int(fields[12]), int(fields[21])
    with (entry / "cmdline").open("rb") as file:
        words = file.read(4 * _COMMAND).rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
    cpu_seconds, memory = ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE")
    return _Process(int(entry.name), int(fields[19]), cpu_seconds, memory, (words or "[%s]" % name)[:_COMMAND])


def _sum(text: str, mark: str) -> int:
    """The sum of all numbers that follow a mark."""
    return sum(_integer(rest.split(None, 1)[0] if rest.split() else "") for rest in text.split(mark)[1:])


def _integer(text: str) -> int:
    return int(text) if text.isdigit() else 0


def _text(path: Path) -> Optional[str]:
    with contextlib.suppress(OSError):
        return path.read_text(errors="replace")
    return None
