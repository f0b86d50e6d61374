"""Compiling that takes too long is ended whole: nothing of it writes into the environment that is listed next."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from skylift.agent.environment.bytecode import run_within

# As compileall does with several processors: the work is a child's.
PROGRAM = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time\\nwhile True: open(%r, 'a').write('x'); time.sleep(0.01)"])
child.wait()
"""


def test_what_takes_too_long_is_killed_with_its_children(tmp_path: Path) -> None:
    written = tmp_path / "written"
    assert not run_within([sys.executable, "-c", PROGRAM % str(written)], 3.0, dict(os.environ))
    size = written.stat().st_size
    assert size > 0
    until = time.monotonic() + 0.2
    while time.monotonic() < until:
        assert written.stat().st_size == size


def test_what_ends_in_time_has_done_all() -> None:
    assert run_within([sys.executable, "-c", "print('x' * 1000000)"], 60.0, dict(os.environ))
