"""A map whose servers are killed at random all the time: one outcome for each input, the right sum, nothing left."""

from __future__ import annotations

import json
import random
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
from mapped import Mapped
from support.real_cloud import RealCloud

from skylift.client.map.outcome import MapEnd, MapLog
from skylift.contract.map_spec import MapInput, MapSpec

pytestmark = [pytest.mark.real, pytest.mark.nightly]

INPUTS, SERVERS, SEED = 500, 4, 15
PROGRAM = """
import sys, time
time.sleep(1)
print(int(sys.argv[1]) ** 2)
"""


def test_half_of_the_servers_are_killed_at_random(cloud: RealCloud, tmp_path: Path) -> None:
    """Whatever runs there is lost with it, again and again; with the coordinator's server the other ones, too."""
    (tmp_path / "job.py").write_text(PROGRAM)
    inputs = tuple(MapInput(number, str(number), str(number)) for number in range(INPUTS))
    spec = MapSpec(("python", "job.py"), True, ("{}",), inputs, servers=SERVERS, losses=100)
    mapped = Mapped(cloud, tmp_path, "losses", spec, {}, max_time="1h")
    watching = cloud.popen("wait", "losses", cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    chance, log, killed, seen = random.Random(SEED), MapLog(), list[str](), set[str]()
    end = time.monotonic() + 1800
    while log.ended is None:
        assert time.monotonic() < end, f"{len(log.outcomes)} inputs have an outcome, {len(killed)} servers were killed"
        read_on(mapped, log)
        # The fate of a server is decided when it has ended an input.
        for each in sorted({each.server for each in log.outcomes.values() if each.server} - seen):
            seen.add(each)
            if chance.random() < 0.5:
                cloud.client("ec2").terminate_instances(InstanceIds=[each])
                killed.append(each)
        time.sleep(0.5)
    assert log.ended == MapEnd(f"All {INPUTS} inputs have succeeded.")
    assert len(killed) >= 2
    assert sum(int(each.stdout.content or b"0") for each in log.outcomes.values()) == sum(n * n for n in range(INPUTS))
    assert sorted(log.outcomes) == list(range(INPUTS))
    assert any(each.losses for each in log.outcomes.values())
    told = watching.communicate()[1].decode()
    assert watching.returncode == 0, told
    assert log.epoch >= 1 + told.count("goes on with the map.")
    mapped.until(lambda: not mapped.alive(), "the map's servers to be gone")
    assert "losses: removed" in cloud.skylift("rm", "losses").stdout


def test_all_other_servers_are_taken_back_at_once(cloud: RealCloud, tmp_path: Path) -> None:
    """Nothing is lost, and others come for them."""
    (tmp_path / "job.py").write_text(PROGRAM)
    inputs = tuple(MapInput(number, str(number), str(number)) for number in range(100))
    spec = MapSpec(("python", "job.py"), True, ("{}",), inputs, servers=3, per_server=1, batch=1)
    mapped, log = Mapped(cloud, tmp_path, "notices", spec, {}, spot=True, max_time="1h"), MapLog()

    def others() -> set[str]:
        read_on(mapped, log)
        return {each.server for each in log.outcomes.values() if each.server} - {mapped.instance}

    mapped.until(lambda: len(others()) == 2, "an outcome from each of the other servers")
    first = others()
    for each in first:
        cloud.skylift("cloud", "interrupt", each, "--in", "1h")
    assert mapped.wait()["exit_code"] == 0
    assert others() > first
    assert log.ended == MapEnd("All 100 inputs have succeeded.")
    assert {(each.attempt, each.losses) for each in log.outcomes.values()} == {(1, 0)}
    assert "notices: removed" in cloud.skylift("rm", "notices").stdout


def test_the_coordinators_server_is_killed_again_and_again(cloud: RealCloud, tmp_path: Path) -> None:
    """It is on demand. `wait` starts another one each time."""
    (tmp_path / "job.py").write_text(PROGRAM)
    inputs = tuple(MapInput(number, str(number), str(number)) for number in range(100))
    spec = MapSpec(("python", "job.py"), True, ("{}",), inputs, servers=3, losses=100)
    mapped, log = Mapped(cloud, tmp_path, "again", spec, {}, max_time="1h"), MapLog()
    watching = cloud.popen("wait", "again", cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    epochs = 3
    for number in range(1, epochs):

        def went_on(number: int = number) -> bool:
            read_on(mapped, log)
            return log.epoch >= number and len(log.outcomes) >= 10 * number

        mapped.until(went_on, f"outcomes of coordinator {number}")
        (listed,) = json.loads(cloud.skylift("ps", "--name", "again", "--json").stdout)
        cloud.client("ec2").terminate_instances(InstanceIds=[listed["instance"]])
    told = watching.communicate()[1].decode()
    assert watching.returncode == 0, told
    read_on(mapped, log)
    assert log.ended == MapEnd("All 100 inputs have succeeded.")
    assert log.epoch == epochs
    assert told.count("goes on with the map.") == epochs - 1
    assert sum(int(each.stdout.content or b"0") for each in log.outcomes.values()) == sum(n * n for n in range(100))
    mapped.until(lambda: not mapped.alive(), "the map's servers to be gone")
    assert "again: removed" in cloud.skylift("rm", "again").stdout


def read_on(mapped: Mapped, log: MapLog) -> None:
    with suppress(mapped.missing):
        while True:
            log.read([mapped.read(mapped.keys.log_entry(log.next))])
