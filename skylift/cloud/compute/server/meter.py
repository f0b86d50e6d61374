"""The resources that servers use, as the kernel counts them: processor time, memory and disks by cgroup, traffic by
interface.

A few small files a server are read, and no program is run: two hundred servers are read in some hundredths of a second.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

from skylift.cloud.compute.server import cgroup
from skylift.cloud.domain.metering import Reading
from skylift.cloud.state.rootless import rootless

_PROC = Path("/proc")
_DEVICES = Path("/sys/dev/block")


class Meter:
    """For the servers of one cloud: `run` is its directory under /run, `group` the cgroup that holds them all."""

    def __init__(self, run: Path, group: str) -> None:
        self._run = run
        self._group = group
        self._places: dict[str, tuple[Path, int]] = {}

    def first_process(self, server_id: str) -> int | None:
        """The pid of a server's first process; None if no such server runs."""
        try:
            pid = int((self._run / server_id / "pid").read_text())
            mine = rootless() or f"/{self._group}/{server_id}" in (_PROC / str(pid) / "cgroup").read_text()
        except (OSError, ValueError):
            return None
        # Else the number is another process's by now.
        return pid if mine else None

    def read(self, server_id: str) -> Reading | None:
        """Read a server's counters; None if no such server runs."""
        pid = self.first_process(server_id)
        if pid is None:
            return None
        try:
            traffic = _traffic((_PROC / str(pid) / "net/dev").read_text())
            disks = self._disks(server_id)
            return Reading(
                boot=pid,
                at=time.monotonic(),
                cpu=self._cpu(server_id),
                memory=self._memory(server_id),
                bytes_in=traffic.bytes_in,
                bytes_out=traffic.bytes_out,
                packets_in=traffic.packets_in,
                packets_out=traffic.packets_out,
                bytes_read=disks.bytes_read if disks else None,
                bytes_written=disks.bytes_written if disks else None,
            )
        except (OSError, ValueError):
            # It ends under the reader's hands: a file is gone, or its process is and the read says so.
            return None

    def _cpu(self, server_id: str) -> float | None:
        place = self._place("cpuacct.usage", "cpu.stat", server_id)
        if place is None:
            return None
        hierarchy, version = place
        if version == 1:
            return int((hierarchy / self._group / server_id / "cpuacct.usage").read_text()) / 1e9
        return _named((hierarchy / self._group / server_id / "cpu.stat").read_text(), "usage_usec") / 1e6

    def _memory(self, server_id: str) -> int | None:
        place = self._place("memory.usage_in_bytes", "memory.current", server_id)
        if place is None:
            return None
        hierarchy, version = place
        used, spare = _MEMORY[version]
        group = hierarchy / self._group / server_id
        return int((group / used).read_text()) - _named((group / "memory.stat").read_text(), spare)

    def _disks(self, server_id: str) -> _Disks | None:
        """With version 2 only: version 1 counts writes for the process that flushes them, seldom the writer.

        None also for an unreadable table: without any figures at all, the server would be taken for impaired."""
        figures = cgroup.MOUNT / self._group / server_id / "io.stat"
        try:
            return _disks(figures.read_text())
        except (OSError, ValueError):
            return None

    def _place(self, first: str, second: str, server_id: str) -> tuple[Path, int] | None:
        """The place and the version of the hierarchy that has one of these files; None if the host does not count this.
        The first answer is kept."""
        found = self._places.get(first)
        if found is None:
            # `first` comes first: version 1 has a cpu.stat of another kind.
            wanted = ((1, first), (2, second))
            places = ((hierarchy, one, name) for one, name in wanted for hierarchy in cgroup.hierarchies())
            for hierarchy, version, name in places:
                if (hierarchy / self._group / server_id / name).exists():
                    self._places[first] = hierarchy, version
                    return hierarchy, version
        return found


_MEMORY = {1: ("memory.usage_in_bytes", "total_inactive_file"), 2: ("memory.current", "inactive_file")}
"""The files, by the version of cgroups, with the memory in use and with the part of it that can be reclaimed."""


def _named(text: str, name: str) -> int:
    """The value of one line of a cgroup's file."""
    _, found, after = f"\n{text}".partition(f"\n{name} ")
    if not found:
        raise ValueError(f"there is no {name}")
    return int(after.partition("\n")[0])


class _Disks(NamedTuple):
    bytes_read: int
    bytes_written: int


def _disks(table: str) -> _Disks:
    """The sums of a cgroup's io.stat, whose lines are like `259:0 rbytes=4096 wbytes=0 rios=1 wios=0`.

    If a device lies on another one (a volume's image, encryption, RAID), its traffic is in the lines of both. Only the
    lower one counts.
    """
    read = written = 0
    for line in table.splitlines():
        device, *figures = line.split()
        if _lies_on_another(_DEVICES / device):
            continue
        named = dict(each.partition("=")[::2] for each in figures)
        read += int(named.get("rbytes", 0))
        written += int(named.get("wbytes", 0))
    return _Disks(read, written)


def _lies_on_another(device: Path) -> bool:
    return (device / "loop").exists() or next((device / "slaves").glob("*"), None) is not None


class _Traffic(NamedTuple):
    """The bytes and packets in and out by all interfaces but the loopback."""

    bytes_in: int
    bytes_out: int
    packets_in: int
    packets_out: int


def _traffic(table: str) -> _Traffic:
    """The sums of /proc/PID/net/dev."""
    lines = (line.partition(":") for line in table.splitlines()[2:])
    counted = [[int(field) for field in counters.split()] for name, _, counters in lines if name.strip() != "lo"]
    return _Traffic(
        bytes_in=sum(fields[0] for fields in counted),
        bytes_out=sum(fields[8] for fields in counted),
        packets_in=sum(fields[1] for fields in counted),
        packets_out=sum(fields[9] for fields in counted),
    )
