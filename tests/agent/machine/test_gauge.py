"""What a server measures of itself, on machines of every kind, and only for who asks."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from support.agent_bench import Machine
from support.shipped_job import WAIT_FOR_GO, Shipped

from skylift.agent.machine.gauge import ServerGauge, Tally, last_line
from skylift.contract.document import parse
from skylift.contract.stream import FRAME_LIMIT, Gauge

MEMINFO = "MemTotal: 2000 kB\nMemFree: 100 kB\nMemAvailable: 500 kB\n"


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


V2 = {
    "sys/fs/cgroup/cpu.stat": "usage_usec 0\nuser_usec 0\n",
    "sys/fs/cgroup/cpu.max": "50000 100000\n",
    "sys/fs/cgroup/memory.current": "900000\n",
    "sys/fs/cgroup/memory.stat": "anon 1\ninactive_file 400000\n",
    "sys/fs/cgroup/memory.max": "1000000\n",
}
V1 = {
    "sys/fs/cgroup/cpuacct/cpuacct.usage": "0\n",
    "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000\n",
    "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
    "sys/fs/cgroup/memory/memory.usage_in_bytes": "900000\n",
    "sys/fs/cgroup/memory/memory.stat": "cache 1\ntotal_inactive_file 400000\n",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": "1000000\n",
}


@pytest.mark.parametrize(
    ("files", "worked"),
    [
        (V2, {"sys/fs/cgroup/cpu.stat": "usage_usec 900000000000\n"}),
        (V1, {"sys/fs/cgroup/cpuacct/cpuacct.usage": "900000000000000\n"}),
    ],
)
def test_a_container_has_what_its_groups_say(tmp_path: Path, files: dict[str, str], worked: dict[str, str]) -> None:
    write(tmp_path, {**files, "proc/meminfo": MEMINFO, "proc/stat": "cpu 0 0 0 0 0 0 0 0 0 0\n"})
    gauge = ServerGauge(tmp_path)
    write(tmp_path, worked)
    # More than there can be, as after a clock that was changed.
    assert gauge.measure() == {"processor": 1.0, "memory": 500000, "memory_limit": 1000000}
    assert gauge.measure()["processor"] == 0.0


def test_a_whole_machine_has_what_the_kernel_says(tmp_path: Path) -> None:
    """As a server of AWS, at whose root no group has a limit."""
    write(tmp_path, {"proc/meminfo": MEMINFO, "proc/stat": "cpu  0 0 0 50 10 0 0 0 0 0\ncpu0 1\n"})
    gauge = ServerGauge(tmp_path)
    write(tmp_path, {"proc/stat": "cpu  0 0 0 99 99 0 0 0 7 0\ncpu0 1\n"})
    assert gauge.measure() == {"processor": 0.0, "memory": 1500 << 10, "memory_limit": 2000 << 10}
    write(tmp_path, {"proc/stat": "cpu  900000 0 900000 99 99 0 0 0 0 0\n"})
    assert gauge.measure()["processor"] == 1.0


def test_nothing_is_made_up(tmp_path: Path) -> None:
    gauge = ServerGauge(tmp_path)
    assert gauge.measure() == {}
    write(tmp_path, {"proc/stat": "what\n", "proc/meminfo": "MemTotal\n", "sys/fs/cgroup/cpu.stat": "usage_usec x\n"})
    assert gauge.measure() == {}


def test_this_machine() -> None:
    gauge, end = ServerGauge(), time.monotonic() + 0.3
    while time.monotonic() < end:
        pass
    told = gauge.measure()
    assert 0.0 < told["processor"] <= 1.0
    assert 0 < told["memory"] < told["memory_limit"]
    assert parse(Gauge, json.dumps(told).encode(), FRAME_LIMIT).processor == told["processor"]


def test_what_was_sent_is_never_more_than_all() -> None:
    tally = Tally()
    tally.expect(10)
    tally.sent(8)
    assert tally.fields() == {"files": 1, "files_sent": 0, "size": 10, "size_sent": 8}
    # From its start again.
    tally.sent(10, files=1)
    assert tally.fields() == {"files": 1, "files_sent": 1, "size": 10, "size_sent": 10}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b"", ""),
        (b"Resolved 3 packages\n   Building x\n\n", "Building x"),
        (b"half a li", "half a li"),
        (b"\xff\xfe\n", "\ufffd\ufffd"),
        (b"x" * 5000, "x" * 200),
    ],
)
def test_the_last_word(tmp_path: Path, text: bytes, line: str) -> None:
    assert last_line(tmp_path / "none") == ""
    (tmp_path / "log").write_bytes(text)
    assert last_line(tmp_path / "log") == line


def test_it_comes_to_who_asks(shipped: Shipped, machine: Machine) -> None:
    shipped.ship(WAIT_FOR_GO)
    shipped.boot()
    asking, watching = shipped.door(), shipped.door()
    asking.send(stream={"stdout": 0, "stderr": 0}, gauge=0.1)
    watching.send(stream={"stdout": 0, "stderr": 0})
    frames = asking.frames()
    gauges: list[Any] = []
    while len(gauges) < 3:
        kind, data = next(frames)
        if kind == "g":
            gauges.append(parse(Gauge, data, FRAME_LIMIT))
    assert all(each.memory and each.processor is not None for each in gauges)
    shipped.go()
    assert [kind for kind, _ in watching.frames()].count("g") == 0
    assert [kind for kind, _ in frames][-1] == "s"
    machine.wait()
