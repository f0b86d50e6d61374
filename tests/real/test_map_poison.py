"""A map with an input that ends its server each time that it runs: it alone fails, and by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from mapped import Mapped, left_of
from support.real_cloud import RealCloud

from skylift.client.map.outcome import InputState, LogEntry, MapEnd, MapLog, parse_entry
from skylift.contract.map_spec import MapInput, MapSpec

pytestmark = [pytest.mark.real, pytest.mark.nightly]

INPUTS, POISON = 12, 5
# With its server's own role, which may end that.
PROGRAM = """
import sys, time, urllib.request
number = int(sys.argv[1])
time.sleep(0.5)
if number == int(sys.argv[2]):
    import awscli
    from botocore.session import Session
    IMDS, ask = "http://169.254.169.254/latest/", urllib.request.Request
    token = ask(IMDS + "api/token", method="PUT", headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"})
    header = {"X-aws-ec2-metadata-token": urllib.request.urlopen(token).read().decode()}
    mine = urllib.request.urlopen(ask(IMDS + "meta-data/instance-id", headers=header)).read().decode()
    Session().create_client("ec2").terminate_instances(InstanceIds=[mine])
    time.sleep(600)
print(number)
"""


def test_an_input_that_always_ends_its_server_runs_alone_and_fails_by_name(cloud: RealCloud, tmp_path: Path) -> None:
    """The map has one server at a time. Whoever watches starts the next one."""
    (tmp_path / "job.py").write_text(PROGRAM)
    inputs = tuple(MapInput(number, str(number), f"input-{number}") for number in range(INPUTS))
    spec = MapSpec(("python", "job.py"), True, ("{}", str(POISON)), inputs, batch=1, per_server=2)
    mapped = Mapped(cloud, tmp_path, "poison", spec, {})
    seen = cloud.skylift("attach", "poison", cwd=tmp_path, check=False)
    assert seen.returncode == 1, seen.stderr
    assert seen.stderr.count("goes on with the map.") == 3
    why = "Its server was lost each of the 3 times that it ran, the last time with nothing else."
    assert f"{INPUTS - 1} of {INPUTS} inputs succeeded, 1 failed." in seen.stderr
    assert f"1 x {why} (first: input {POISON})" in seen.stderr
    log = mapped.log()
    assert (log.ended, log.epoch) == (MapEnd(f"1 of {INPUTS} inputs have failed."), 4)
    lost = log.outcomes.pop(POISON)
    assert (lost.state, lost.exit_code, lost.losses, lost.server) == (InputState.LOST, 125, 3, None)
    assert {index: each.stdout.content for index, each in log.outcomes.items()} == {
        number: b"%d\n" % number for number in range(INPUTS) if number != POISON
    }
    assert beside(entries(mapped), POISON)[-1] == set()
    mapped.until(lambda: not mapped.alive(), "its last server to be gone")
    assert "poison: removed" in cloud.skylift("rm", "poison").stdout
    assert left_of(cloud, "poison") == []


def entries(mapped: Mapped) -> list[LogEntry]:
    return [parse_entry(mapped.read(mapped.keys.log_entry(number))) for number in range(mapped.log().next)]


def beside(entries: list[LogEntry], index: int) -> list[set[int]]:
    """What ran beside an input, each time that it was begun, until its server was lost."""
    log, found = MapLog(), list[set[int]]()
    for entry in entries:
        log.add(entry)
        if index in dict(entry.begun):
            found.append(set())
        if index in log.running:
            found[-1] |= set(log.running) - {index}
    return found
