"""A map one of whose inputs fills the server's disk: no other input has an outcome because of that."""

from __future__ import annotations

from pathlib import Path

import pytest
from mapped import Mapped
from support.real_cloud import RealCloud

from skylift.client.map.outcome import InputState, MapEnd
from skylift.contract.map_spec import MapInput, MapSpec

pytestmark = pytest.mark.real

# The third input leaves a file in /tmp that takes all the room there is, as far as its user may.
FILLS = """
import os, sys
if sys.argv[-1] == "2":
    found = os.statvfs("/tmp")
    file = os.open("/tmp/large", os.O_WRONLY | os.O_CREAT)
    os.posix_fallocate(file, 0, found.f_bavail * found.f_frsize - (1 << 20))
    try:
        while True:
            os.pwrite(file, bytes(4096), os.fstat(file).st_size)
    except OSError:
        sys.exit(0)
os.makedirs("made")
open("made/it", "wb").write(bytes(1 << 20))
"""


def test_an_input_that_fills_the_disk_costs_no_other_one_its_outcome(cloud: RealCloud, tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(FILLS)
    inputs = tuple(MapInput(number, str(number), str(number)) for number in range(30))
    spec = MapSpec(("python", "job.py"), True, (), inputs, per_server=1, batch=4)
    mapped = Mapped(cloud, tmp_path, "fills", spec, {})
    mapped.wait()
    log = mapped.log()
    assert log.ended == MapEnd("All 30 inputs have succeeded."), {
        index: each.reason for index, each in log.outcomes.items() if not each.succeeded
    }
    assert {(each.state, each.attempt, each.losses) for each in log.outcomes.values()} == {(InputState.SUCCEEDED, 1, 0)}
