"""`skylift top` of jobs that run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.real_cloud import RealCloud
from support.running_job import RunningJob
from test_run_terminal import Terminal

pytestmark = pytest.mark.real

# Says `ready`, and computes, with memory of its own, until there is a file `go`.
BUSY = """
import os
kept = bytearray(64 << 20)
print("ready", flush=True)
while not os.path.exists("go"):
    sum(range(10000))
"""


@pytest.fixture
def folders(cloud: RealCloud, tmp_path: Path) -> list[Path]:
    found = [tmp_path / name for name in ("one", "two")]
    for each in found:
        each.mkdir()
    return found


def test_it_shows_what_each_server_uses(cloud: RealCloud, folders: list[Path]) -> None:
    one, two = [RunningJob(cloud, folder, source=BUSY) for folder in folders]
    reading = json.loads(cloud.skylift("top", "--once", "--json", one.name).stdout)
    assert reading["name"] == one.name
    usage = reading["usage"]
    assert usage["memory"] > 64 << 20
    assert usage["memory"] < usage["memory_limit"]
    assert any("job.py" in each["command"] for each in usage["processes"]), usage
    both = cloud.skylift("top", "--once", "--json").stdout.splitlines()
    assert {json.loads(line)["name"] for line in both} >= {one.name, two.name}
    assert one.name in cloud.skylift("top").stdout
    # On a terminal it is drawn until somebody leaves, which nobody's job minds.
    for key in (b"q", b"\x03"):
        terminal = Terminal(cloud, one.folder, source=BUSY, words=("top", one.name))
        terminal.read_until(b"job.py")
        terminal.press(key)
        assert terminal.finish() in (0, 130)
        assert b"Traceback" not in terminal.shown
        assert terminal.shown.rstrip().endswith(b"\x1b[?1049l")
    for job in (one, two):
        job.go()
        assert job.finish()[0] == 0
    gone = cloud.skylift("top", "nobody-knows-it", check=False)
    assert gone.returncode == 2
    assert "nobody-knows-it" in gone.stderr
