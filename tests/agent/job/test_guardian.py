"""The guardian prepares for the next supervisor when it is told that there may be one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from skylift.agent.job.guardian import Handles
from skylift.agent.job.ledger import Ledger

PROGRAM = """
import os, pathlib, select
from skylift.agent.job.guardian import guard
from skylift.agent.job.ledger import Ledger

reading, writing = os.pipe()

def work(kept):
    # Until it has happened, however long that takes. Not heard until a process ends is a signal in the moment in which
    # the guardian begins to wait for one.
    while not select.select([reading], [], [], 0.05)[0]:
        kept.prepare()
    assert os.read(reading, 1) == b"x"
    print("asked", os.getppid() == kept.guardian)

code = guard(pathlib.Path("."), Ledger(pathlib.Path("ledger")), work, lambda: os.write(writing, b"x"))
print("ended", code)
"""


TWICE = """
import os, pathlib, select, signal
from skylift.agent.job.guardian import guard
from skylift.agent.job.ledger import Ledger

reading, writing = os.pipe()

def work(kept):
    for _ in range(2):
        # Not heard in the moment in which the guardian returns from the first one.
        kept.prepare()
        while not select.select([reading], [], [], 0.05)[0]:
            kept.prepare()
        os.read(reading, 1)

def prepare():
    print("begins")
    os.kill(os.getpid(), signal.SIGUSR1)
    print("ends", flush=True)
    os.write(writing, b"x")

guard(pathlib.Path("."), Ledger(pathlib.Path("ledger")), work, prepare)
"""


ORPHANS = """
import os, pathlib, sys
from skylift.agent.job.guardian import guard
from skylift.agent.job.ledger import Ledger

ledger = Ledger(pathlib.Path("ledger"))

def leave_orphan(code):
    # Its parent has ended before it ends: it is the guardian's.
    reading, writing = os.pipe()
    held, letting = os.pipe()
    middle = os.fork()
    if middle == 0:
        if os.fork() == 0:
            os.close(letting)
            os.write(writing, b"%d" % os.getpid())
            os.read(held, 1)
            os._exit(code)
        os._exit(0)
    os.waitpid(middle, 0)
    os.close(held)
    pid = int(os.read(reading, 20))
    return pid, letting

def work(kept):
    for _ in range(40):
        os.close(leave_orphan(0)[1])
    pid, letting = leave_orphan(7)
    ledger.note(pid=pid)
    os.close(letting)
    print("told", os.read(kept.ends_pipe, 20).decode().strip(), flush=True)

guard(pathlib.Path("."), ledger, work, lambda: None)
print("end", ledger.read()["end"])
print(next(line.split()[1] for line in open("/proc/self/io") if line.startswith("rchar")))
"""


def run(source: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", source],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_guardian_prepares_while_its_supervisor_works(tmp_path: Path) -> None:
    assert run(PROGRAM, tmp_path) == "asked True\nended 0\n"


def test_the_guardian_is_asked_again_while_it_prepares(tmp_path: Path) -> None:
    """It does that once at a time, and hears of the next job all the same."""
    said = run(TWICE, tmp_path).split()
    assert said == ["begins", "ends"] * (len(said) // 2)
    assert len(said) >= 4


def test_the_guardian_reads_a_long_ledger_once_however_many_it_waits_for(tmp_path: Path) -> None:
    """A program may leave many processes behind, and the ledger says how each of 50,000 inputs was."""
    Ledger(tmp_path / "ledger").note(start={"arrived": {f"data/{n:06d}.bin": [n, n] for n in range(50_000)}})
    told, end, read = run(ORPHANS, tmp_path).splitlines()
    assert (told, end) == ("told 7", "end 7")
    # Once by the guardian, once by the test itself, and Python's own modules.
    assert int(read) < 4 * (tmp_path / "ledger").stat().st_size


def test_nobody_but_the_guardian_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A supervisor whose guardian was killed has another parent, for which the signal would mean something else."""
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    Handles(-1, -1, -1, guardian=os.getpid()).prepare()
    assert sent == []
