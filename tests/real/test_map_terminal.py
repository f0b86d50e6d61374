"""`skylift map` on a terminal: one living line, `~.` that leaves, attach that comes back, Ctrl-C that ends it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.real_cloud import RealCloud
from test_run_terminal import Terminal

pytestmark = pytest.mark.real

# The first input ends at once, the others wait to be let go.
WAITS = """
import os, sys, time
while sys.argv[1] != "1" and not os.path.exists("/tmp/go"):
    time.sleep(0.02)
print(sys.argv[1])
"""


def test_it_is_left_and_come_back_to_and_ends_with_a_table(cloud: RealCloud, tmp_path: Path) -> None:
    words = ("map", "--name", "left", "--per-server", "2", "--range", "1..3", "job.py")
    first = Terminal(cloud, tmp_path, source=WAITS, words=words)
    first.read_until(b"1 of 3 done")
    first.read_until(b"2 running")
    first.press(b"~.")
    # As with a run: how the map ends is not known to who has left it.
    assert first.finish() == 130, first.lines
    assert "■ Left running. `skylift attach left` watches it again, `skylift cancel left` ends it." in first.lines
    for key in (b"~.", b"\x03"):
        # Who came to look ends nothing, with Ctrl-C either.
        second = Terminal(cloud, tmp_path, source=WAITS, words=("attach", "left"))
        second.read_until(b"1 of 3 done")
        second.press(key)
        assert second.finish() == 130, second.lines
    third = Terminal(cloud, tmp_path, source=WAITS, words=("attach", "left"))
    third.read_until(b"1 of 3 done")
    cloud.skylift("ssh", "left", "touch", "/tmp/go")
    assert third.finish() == 0, third.lines
    states = [line.split()[:4] for line in third.lines if line.split()[2:3] == ["succeeded"]]
    assert states == [[str(number), str(number + 1), "succeeded", "0"] for number in range(3)]
    assert "3 of 3 inputs succeeded." in third.lines
    assert not any("done," in line for line in third.lines), "the living line is gone in the end"


def test_ctrl_c_ends_it_and_what_has_an_outcome_keeps_it(cloud: RealCloud, tmp_path: Path) -> None:
    words = ("map", "--name", "ended", "--per-server", "2", "--range", "1..3", "job.py")
    terminal = Terminal(cloud, tmp_path, source=WAITS, words=words)
    terminal.read_until(b"1 of 3 done")
    terminal.press(b"\x03")
    assert terminal.finish() == 130, terminal.lines
    assert "1 of 3 inputs succeeded, 2 have no outcome." in terminal.lines
    assert "To run what is left: skylift map --resume ended" in terminal.lines
    found = json.loads(cloud.skylift("map-results", "ended", "--json").stdout)["inputs"]
    assert [each["state"] for each in found] == ["succeeded", None, None]
