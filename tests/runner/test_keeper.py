"""The keeper prepares for the next supervisor when it is told that there may be one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from skylift.runner.supervisor.keeper import Kept

PROGRAM = """
import os, pathlib
from skylift.runner.supervisor.keeper import keep
from skylift.runner.supervisor.ledger import Ledger

reading, writing = os.pipe()

def work(kept):
    kept.foresee()
    # Until it has happened, however long that takes.
    assert os.read(reading, 1) == b"x"
    print("asked", os.getppid() == kept.keeper)

code = keep(pathlib.Path("."), Ledger(pathlib.Path("ledger")), work, lambda: os.write(writing, b"x"))
print("ended", code)
"""


def test_the_keeper_prepares_while_its_supervisor_works(tmp_path: Path) -> None:
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.stdout, done.returncode) == ("asked True\nended 0\n", 0), done.stderr


def test_nobody_but_the_keeper_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A supervisor whose keeper was killed has another parent, for which the signal would mean something else."""
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    Kept(-1, -1, -1, keeper=os.getpid()).foresee()
    assert sent == []
