"""What of a server is used, as its supervisor tells it to who asks (`skylift top`)."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from support.agent_bench import Machine
from support.shipped_job import Shipped

from skylift.agent.machine.usage import UsageMeter
from skylift.contract.document import Malformed, parse
from skylift.contract.usage import USAGE_LIMIT, Usage

WORKS = "import os\nwhile not os.path.exists('go'): pass\n"


def test_it_comes_to_who_asks_with_the_jobs_own_processes(shipped: Shipped, machine: Machine) -> None:
    shipped.ship(WORKS)
    shipped.boot()
    asking = shipped.door()
    asking.send(usage=0.5)
    found = []
    for kind, data in asking.frames():
        if kind == "u":
            found.append(parse(Usage, data, USAGE_LIMIT))
            if any("job.py" in each.command and each.processor > 0 for each in found[-1].processes):
                shipped.go()
    machine.wait()
    assert any("job.py" in each.command for usage in found for each in usage.processes)
    assert all(usage.disk and usage.disk_size and usage.received is not None for usage in found)


def test_as_often_as_is_asked_for(shipped: Shipped, machine: Machine) -> None:
    shipped.ship(WORKS)
    shipped.boot()
    asking = shipped.door()
    asking.send(usage=0.5, times=1)
    assert [kind for kind, _ in asking.frames()].count("u") == 1
    shipped.go()
    machine.wait()


V2 = "8:0 rbytes={0} wbytes={1} rios=1\n8:16 rbytes={0} wbytes={1}\n"
V1 = "8:0 Read {0}\n8:0 Write {1}\n8:16 Read {0}\n8:16 Write {1}\nTotal 9\n"


@pytest.mark.parametrize(
    "files", [{"sys/fs/cgroup/io.stat": V2}, {"sys/fs/cgroup/blkio/blkio.throttle.io_service_bytes": V1}]
)
def test_rates_of_disk_and_network(tmp_path: Path, files: dict[str, str]) -> None:
    net = "Inter-|   Receive\n face |bytes\n    lo: 9 0 0 0 0 0 0 0 9 0\n  eth0: {0} 0 0 0 0 0 0 0 {1} 0\n"

    def write(low: int, high: int) -> None:
        for name, text in {**files, "proc/net/dev": net}.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text.format(low, high))

    write(0, 0)
    began = time.monotonic()
    usage = UsageMeter(os.geteuid(), tmp_path, tmp_path)
    write(10**9, 3 * 10**9)
    told = usage.measure()
    # No rate is of less than a millisecond.
    seconds = max(time.monotonic() - began, 1e-3)
    assert told["read"] * seconds >= 2 * 10**9 * 0.9
    assert told["written"] == pytest.approx(3 * told["read"], rel=1e-6)
    assert told["sent"] == pytest.approx(3 * told["received"], rel=1e-6)


def test_what_a_server_may_claim_is_bounded() -> None:
    good = {"pid": 7, "processor": 0.5, "memory": 1, "command": "\x1b[2J"}
    assert parse(Usage, json.dumps({"processes": [good]}).encode(), USAGE_LIMIT).processes[0].command == "\x1b[2J"
    for bad in ({**good, "command": "x" * 201}, {**good, "pid": 0}, {**good, "processor": -1}, {"pid": 7}, 7):
        with pytest.raises(Malformed):
            parse(Usage, json.dumps({"processes": [bad]}).encode(), USAGE_LIMIT)
