"""What a server uses, in directories that stand for the kernel's files."""

from __future__ import annotations

from pathlib import Path

import pytest

from skylift.cloud.compute.server import cgroup, meter
from skylift.cloud.compute.server.meter import Meter

TRAFFIC = """Inter-|   Receive                    |  Transmit
 face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier compressed
    lo: 9 9 0 0 0 0 0 0 9 9 0 0 0 0 0 0
  eth0: 100 1 0 0 0 0 0 0 200 2 0 0 0 0 0 0
"""
IO = """259:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0
253:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0
7:3 rbytes=512 wbytes=1024 rios=1 wios=1 dbytes=0 dios=0
8:0 rbytes=1 wbytes=2 rios=1 wios=1 dbytes=0 dios=0
8:16
"""
"""Of an NVMe disk with an encrypted device on it, a volume's image on that, a second disk, and one of which nothing is
told yet."""


class Machine:
    """Of one server, whose group has the files of either version."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._top = directory
        monkeypatch.setattr(cgroup, "MOUNT", directory / "cgroup")
        monkeypatch.setattr(meter, "_PROC", directory / "proc")
        monkeypatch.setattr(meter, "_DEVICES", directory / "devices")
        self.write("run/i-1/pid", "7\n")
        self.write("proc/7/cgroup", "0::/skylift/40/i-1\n")
        self.write("proc/7/net/dev", TRAFFIC)
        for device in ("259:0", "253:0", "7:3", "8:0", "8:16"):
            (directory / "devices" / device / "slaves").mkdir(parents=True)
        self.write("devices/253:0/slaves/nvme0n1", "")
        self.write("devices/7:3/loop/backing_file", "/var/lib/skylift/volume\n")
        self.meter = Meter(directory / "run", "skylift/40")

    def write(self, name: str, text: str) -> None:
        (self._top / name).parent.mkdir(parents=True, exist_ok=True)
        (self._top / name).write_text(text)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def of_version_2(machine: Machine) -> None:
    machine.write("cgroup/cgroup.controllers", "cpu io memory pids\n")
    group = "cgroup/skylift/40/i-1"
    machine.write(f"{group}/cpu.stat", "usage_usec 2500000\nuser_usec 1\n")
    machine.write(f"{group}/memory.current", "5000\n")
    machine.write(f"{group}/memory.stat", "anon 1\ninactive_file 1000\n")


def of_version_1(machine: Machine) -> None:
    machine.write("cgroup/cpuacct/skylift/40/i-1/cpuacct.usage", "2500000000\n")
    machine.write("cgroup/memory/skylift/40/i-1/memory.usage_in_bytes", "5000\n")
    machine.write("cgroup/memory/skylift/40/i-1/memory.stat", "cache 1\ntotal_inactive_file 1000\n")
    machine.write("cgroup/blkio/skylift/40/i-1/blkio.throttle.io_service_bytes", "8:0 Read 1\n8:0 Write 2\nTotal 3\n")


def test_version_2_counts_what_comes_from_and_goes_to_disks_once(machine: Machine) -> None:
    of_version_2(machine)
    machine.write("cgroup/skylift/40/i-1/io.stat", "")
    before = machine.meter.read("i-1")
    assert before is not None
    assert (before.bytes_read, before.bytes_written) == (0, 0)
    machine.write("cgroup/skylift/40/i-1/io.stat", IO)
    after = machine.meter.read("i-1")
    assert after is not None
    assert (after.bytes_read, after.bytes_written) == (4097, 8194)
    assert (after.cpu, after.memory) == (2.5, 4000)


def test_without_the_controller_for_disks_the_rest_is_told(machine: Machine) -> None:
    of_version_2(machine)
    found = machine.meter.read("i-1")
    assert found is not None
    assert (found.bytes_read, found.bytes_written) == (None, None)
    assert (found.cpu, found.memory, found.bytes_in, found.bytes_out) == (2.5, 4000, 100, 200)


@pytest.mark.parametrize("name", ["io.stat", "io.stat/no file"])
def test_figures_of_disks_that_cannot_be_read_leave_the_rest(machine: Machine, name: str) -> None:
    of_version_2(machine)
    machine.write(f"cgroup/skylift/40/i-1/{name}", "8:0 rbytes=many\n\n")
    found = machine.meter.read("i-1")
    assert found is not None
    assert (found.bytes_read, found.bytes_written) == (None, None)
    assert (found.cpu, found.memory, found.bytes_in, found.bytes_out) == (2.5, 4000, 100, 200)


def test_version_1_has_no_figures_of_disks(machine: Machine) -> None:
    of_version_1(machine)
    found = machine.meter.read("i-1")
    assert found is not None
    assert (found.bytes_read, found.bytes_written) == (None, None)
    assert (found.cpu, found.memory) == (2.5, 4000)


def test_a_number_that_is_another_process_by_now_is_not_read(machine: Machine) -> None:
    of_version_2(machine)
    machine.write("proc/7/cgroup", "0::/user.slice\n")
    assert machine.meter.read("i-1") is None
