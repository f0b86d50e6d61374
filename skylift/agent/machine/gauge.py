"""Measuring a server's load, only while somebody watches the job."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from skylift.agent.machine.kernel_files import read_number, read_table, read_text


class ServerGauge:
    """Measures the top control group, of version 1 or 2, which is the whole of a container. Without its accounting, it
    measures the whole machine. `root` is the folder with /proc and /sys."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._proc, self._groups = root / "proc", root / "sys/fs/cgroup"
        self._last = self._look()

    def measure(self) -> Dict[str, Any]:
        """The share of CPU time used since the last call, and memory in bytes. Values that the kernel does not have are
        left out."""
        (then, before), (now, worked) = self._last, self._look()
        self._last = now, worked
        reading: Dict[str, Any] = {}
        if before is not None and worked is not None and now > then:
            share = (worked - before) / ((now - then) * self.processors())
            reading["processor"] = round(min(max(share, 0.0), 1.0), 4)
        used, limit = self._memory()
        if used is not None and limit:
            reading.update(memory=min(used, limit), memory_limit=limit)
        return reading

    def _look(self) -> Tuple[float, Optional[float]]:
        return time.monotonic(), self._worked()

    def _worked(self) -> Optional[float]:
        """CPU seconds of all processors."""
        found = read_table(self._groups / "cpu.stat").get("usage_usec")
        if found is not None:
            return found / 1e6
        found = read_number(self._groups / "cpuacct/cpuacct.usage")
        if found is not None:
            return found / 1e9
        fields = read_text(self._proc / "stat").partition("\n")[0].split()[1:]
        # All but idle and iowait. Guest time is part of user time already.
        counted = [int(each) for place, each in enumerate(fields[:8]) if place not in (3, 4)]
        return sum(counted) / os.sysconf("SC_CLK_TCK") if counted else None

    def processors(self) -> float:
        """The number of processors of the whole server."""
        quota, period = ([*read_text(self._groups / "cpu.max").split(), "", ""])[:2]
        if not quota:
            quota, period = (
                read_text(self._groups / ("cpu/cpu.cfs_%s_us" % name)).strip() for name in ("quota", "period")
            )
        here = float(len(os.sched_getaffinity(0)))
        return min(here, int(quota) / int(period)) if quota.isdigit() and period.isdigit() and int(period) else here

    def _memory(self) -> Tuple[Optional[int], Optional[int]]:
        """Used memory without caches that can be dropped at once, and the limit, in bytes."""
        whole = read_table(self._proc / "meminfo", unit=1024)
        total = whole.get("MemTotal")
        for folder, names in (
            (self._groups, ("memory.current", "memory.max", "inactive_file")),
            (self._groups / "memory", ("memory.usage_in_bytes", "memory.limit_in_bytes", "total_inactive_file")),
        ):
            used, limit = read_number(folder / names[0]), read_number(folder / names[1])
            if used is not None:
                used -= min(used, read_table(folder / "memory.stat").get(names[2], 0))
                return used, min((each for each in (limit, total) if each), default=None)
        free = whole.get("MemAvailable")
        return (None if total is None or free is None else total - free), total


class Tally:
    """Progress of sending several files: how many and how many bytes have been sent, of how many expected."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files = self._size = self._files_sent = self._size_sent = 0

    def expect(self, size: int) -> None:
        with self._lock:
            self._files += 1
            self._size += size

    def sent(self, size: int, files: int = 0) -> None:
        with self._lock:
            self._files_sent += files
            self._size_sent += size

    def fields(self) -> Dict[str, int]:
        """The counts, never more than expected: a file may grow, or be sent again."""
        with self._lock:
            return {
                "files": self._files,
                "files_sent": min(self._files_sent, self._files),
                "size": self._size,
                "size_sent": min(self._size_sent, self._size),
            }


def last_line(log: Path) -> str:
    """The last line of a log that may be growing, cut to a terminal's width."""
    with contextlib.suppress(OSError), log.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - 4096))
        lines: List[str] = file.read(4096).decode(errors="replace").split("\n")
        return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "")
    return ""
