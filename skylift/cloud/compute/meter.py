"""What servers use, as the kernel counts it: processor time and memory by cgroup, traffic by interface.

A few small files a server are read, and no program is run: two hundred servers are read in some hundredths of a second.
"""

from __future__ import annotations

import time
from pathlib import Path

from skylift.cloud.compute import cgroup
from skylift.cloud.metering import Reading

_PROC = Path("/proc")


class Meter:
    """For the servers of one cloud: `run` is its directory under /run, `group` the cgroup that holds them all."""

    def __init__(self, run: Path, group: str) -> None:
        self._run = run
        self._group = group

    def read(self, server_id: str) -> Reading | None:
        """None where no such server runs."""
        try:
            pid = int((self._run / server_id / "pid").read_text())
            if f"/{self._group}/{server_id}" not in (_PROC / str(pid) / "cgroup").read_text():
                # The number is another process's by now.
                return None
            traffic = _traffic((_PROC / str(pid) / "net/dev").read_text())
            return Reading(pid, time.monotonic(), self._cpu(server_id), self._memory(server_id), *traffic)
        except (OSError, ValueError):
            # It ends under the reader's hands: a file is gone, or its process is and the read says so.
            return None

    def _cpu(self, server_id: str) -> float:
        version1 = self._file("cpuacct.usage", server_id)
        if version1 is not None:
            return int(version1.read_text()) / 1e9
        return _named(self._found("cpu.stat", server_id), "usage_usec") / 1e6

    def _memory(self, server_id: str) -> int:
        stat = self._found("memory.stat", server_id)
        version1 = stat.with_name("memory.usage_in_bytes")
        if version1.exists():
            return int(version1.read_text()) - _named(stat, "total_inactive_file")
        return int(stat.with_name("memory.current").read_text()) - _named(stat, "inactive_file")

    def _found(self, name: str, server_id: str) -> Path:
        found = self._file(name, server_id)
        if found is None:
            raise FileNotFoundError(name)
        return found

    def _file(self, name: str, server_id: str) -> Path | None:
        """Where a server's file is, in whichever hierarchy has it."""
        files = (hierarchy / self._group / server_id / name for hierarchy in cgroup.hierarchies())
        return next((file for file in files if file.exists()), None)


def _named(file: Path, name: str) -> int:
    """The value of one line of a cgroup's file."""
    for line in file.read_text().splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    raise ValueError(f"{file} has no {name}")


def _traffic(table: str) -> tuple[int, int, int, int]:
    """Bytes in and out and packets in and out by all interfaces but the loopback, of /proc/PID/net/dev."""
    totals = [0, 0, 0, 0]
    for line in table.splitlines()[2:]:
        name, _, counters = line.partition(":")
        if name.strip() == "lo":
            continue
        fields = counters.split()
        for index, field in enumerate((0, 8, 1, 9)):
            totals[index] += int(fields[field])
    return totals[0], totals[1], totals[2], totals[3]
