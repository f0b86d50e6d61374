"""What a killed test has left in the kernel is gone when the next run begins."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from support import killed_runs
from support.killed_runs import Made, made_by_tests, remove_leftovers, rules_to_nobody
from support.real_server import ending

from skylift.cloud.compute.image.image import default_image
from skylift.cloud.state.home import Home

pytestmark = pytest.mark.real

TESTS = Path(__file__).parents[1]
MAKES_ONE_OF_EACH = """
import signal, subprocess, sys
from contextlib import ExitStack
from pathlib import Path
from support.booted_server import Booted
from support.kernel_world import BEYOND, built_world, internet
from support.killed_runs import ending_with_us, own_name
from skylift.cloud.compute.server import cgroup, freezer

place, image = map(Path, sys.argv[1:])
with ExitStack() as stack:
    stack.enter_context(internet())
    stack.enter_context(built_world(place))
    Booted(place / "server", image, "", {}).boot()
    crowd = own_name()
    cgroup.make(crowd, 100)
    sleeper = subprocess.Popen(ending_with_us("sleep", "infinity"))
    for group in (each / crowd for each in cgroup.hierarchies()):
        if (group / "freezer.state").exists() or (group / "cgroup.freeze").exists():
            (group / "cgroup.procs").write_text(str(sleeper.pid))
    freezer.freeze(crowd)
    print(BEYOND, flush=True)
    signal.pause()
"""


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_what_a_killed_test_has_made_is_removed(image_home: Home, tmp_path: Path) -> None:
    image = default_image(image_home.data)
    assert image is not None
    words = [sys.executable, "-c", MAKES_ONE_OF_EACH, str(tmp_path), str(image.root)]
    maker = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=TESTS)

    def made() -> list[str]:
        return [each.name for each in made_by_tests() if each.pid == maker.pid]

    assert maker.stdout is not None
    try:
        beyond = maker.stdout.readline().strip()
        # Of a process that lives nothing is taken.
        remove_leftovers()
        rules = [each for each in rules_to_nobody() if each == (beyond, str(20_000 + maker.pid % 20_000))]
        # The server has a directory and a group, the internet a namespace and a link.
        assert (len(made()), len(rules)) == (6, 1), made()
        with ExitStack() as stack:
            for child in children(maker.pid):
                stack.enter_context(ending(child))
            # Nobody reaps it yet.
            with ending(maker.pid):
                maker.kill()
            remove_leftovers()
    finally:
        maker.kill()
        maker.wait()
        maker.stdout.close()
    assert (made(), [each for each in rules_to_nobody() if each in rules]) == ([], [])
    assert f"-{maker.pid}-" not in Path("/proc/self/mountinfo").read_text()


def test_a_run_begins_also_where_something_cannot_be_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another run may take it away at this moment, and a program may answer what nobody can read."""
    removed = []

    def vanished() -> list[Made]:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", "/run/claims")

    def left() -> list[Made]:
        return [Made(1 << 30, "something", lambda: removed.append("something"))]

    ip = tmp_path / "ip"
    ip.write_text("#!/bin/sh\necho '['\n")
    ip.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(killed_runs, "RUN", tmp_path)
    monkeypatch.setattr(killed_runs, "_KINDS", (vanished, left))
    remove_leftovers()
    assert removed == ["something"]
    words = capsys.readouterr().err.splitlines()
    assert len(words) == 2 and "(vanished)" in words[0] and "/run/claims" in words[0] and "(rules)" in words[1], words
