"""Maps with an input that turns its server off, or boots it anew, each time that it runs. Each ends long before its
deadline, each input has one outcome, and nothing but that one input has failed."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest
from mapped import Mapped, left_of
from support.real_cloud import RealCloud

from skylift.client.map.outcome import InputState, parse_entry
from skylift.contract.map_spec import MapInput, MapSpec

pytestmark = [pytest.mark.real, pytest.mark.nightly]

INPUTS, POISON, DEADLINE = 16, 3, 3600.0
PROGRAM = """
import subprocess, sys, time
number = int(sys.argv[1])
time.sleep(0.5)
if number == int(sys.argv[2]):
    print("it begins", flush=True)
    subprocess.run(["sudo", *sys.argv[3].split()], check=True)
    time.sleep(3000)
print(number)
"""


@pytest.mark.parametrize("servers", [1, 2])
@pytest.mark.parametrize("how", ["poweroff", "shutdown -r now"])
def test_an_input_that_ends_its_server_takes_no_other_along(
    cloud: RealCloud, tmp_path: Path, how: str, servers: int
) -> None:
    (tmp_path / "job.py").write_text(PROGRAM)
    inputs = tuple(MapInput(number, str(number), f"input-{number}") for number in range(INPUTS))
    name = f"{how.split(maxsplit=1)[0]}-{servers}"
    spec = MapSpec(("python", "job.py"), True, ("{}", str(POISON), how), inputs, batch=1, per_server=2, servers=servers)
    began = time.monotonic()
    mapped = Mapped(cloud, tmp_path, name, spec, {}, max_time="1h")
    seen = cloud.skylift("attach", name, cwd=tmp_path, check=False)
    assert time.monotonic() - began < DEADLINE / 2, seen.stderr
    assert seen.returncode == 1, seen.stderr
    log = mapped.log()
    assert log.ended is not None and log.ended.reason == f"1 of {INPUTS} inputs have failed.", seen.stderr
    told = Counter(
        outcome.index
        for number in range(log.next)
        for outcome in parse_entry(mapped.read(mapped.keys.log_entry(number))).outcomes
    )
    assert told == dict.fromkeys(range(INPUTS), 1), "each input has one outcome"
    lost = log.outcomes.pop(POISON)
    assert (lost.state, lost.exit_code, lost.losses) == (InputState.LOST, 125, 3)
    assert {index: (each.state, each.attempt) for index, each in log.outcomes.items()} == {
        number: (InputState.SUCCEEDED, 1) for number in range(INPUTS) if number != POISON
    }
    mapped.until(lambda: not mapped.alive(), "its last server to be gone")
    assert f"{name}: removed" in cloud.skylift("rm", name).stdout
    assert left_of(cloud, name) == []
