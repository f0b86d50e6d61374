"""A program that an earlier supervisor has started, and what is heard before the next one knows of it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from skylift.agent.job.ledger import Ledger
from skylift.agent.job.outcome import Ended
from skylift.agent.program.program import UserProcess
from skylift.contract.states import State


@pytest.fixture
def program(tmp_path: Path) -> UserProcess:
    """Its keeper's end of the pipe stays open: who hears that a keeper has died starts another one."""
    reading, _ = os.pipe()
    return UserProcess(Ledger(tmp_path / "ledger"), reading)


@pytest.mark.parametrize("told", [UserProcess.interrupt, lambda program: program.end(State.CANCELLED)])
def test_what_is_heard_before_a_program_is_taken_up_reaches_it(
    program: UserProcess, told: Callable[[UserProcess], None]
) -> None:
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as running:
        told(program)
        program.inherit(running.pid, None, "", known=True)
        assert running.wait(60) == -signal.SIGTERM


def test_a_program_that_nobody_has_ended_goes_on(program: UserProcess) -> None:
    with subprocess.Popen(["cat"], start_new_session=True, stdin=subprocess.PIPE) as running:
        program.inherit(running.pid, None, "", known=True)
        assert running.stdin is not None
        running.stdin.close()
        assert running.wait(60) == 0


def test_what_is_heard_before_the_start_counts_beside_what_was_recalled(program: UserProcess) -> None:
    program.end(State.CANCELLED)
    program.recall(None)
    with pytest.raises(Ended, match="before its program started"):
        program.start(["true"], "pid")
    program.recall(State.INTERRUPTED)
    assert program.ending == "cancelled"


@pytest.mark.parametrize("ending", [None, State.TIMED_OUT])
def test_what_is_heard_of_a_program_that_has_ended_is_not_why_it_ended(
    program: UserProcess, tmp_path: Path, ending: State | None
) -> None:
    """Its end is in the ledger, and whoever cancels the job reaches the next supervisor before that has read it."""
    program.end(State.CANCELLED)
    program.inherit(4711, 0, ending, known=True)
    assert (program.wait(), program.ending) == (0, ending)
    assert Ledger(tmp_path / "ledger").read().get("ending") == ending


def test_a_cap_that_comes_while_an_end_is_noted_is_not_why_it_ended(tmp_path: Path) -> None:
    class SlowDisk(Ledger):
        def note(self, **fields: Any) -> None:
            if "end" in fields:
                program.end(State.TIMED_OUT)
            super().note(**fields)

    program = UserProcess(SlowDisk(tmp_path / "ledger"), os.pipe()[0])
    program.start(["true"], "pid")
    assert (program.wait(), program.ending) == (0, None)
    assert "ending" not in Ledger(tmp_path / "ledger").read()
