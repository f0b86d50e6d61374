"""A program that an earlier supervisor has started, and what is heard before the next one knows of it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from skylift.runner.supervisor.ledger import Ledger
from skylift.runner.supervisor.program import Program
from skylift.runner.supervisor.verdict import Ended


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Its keeper's end of the pipe stays open: who hears that a keeper has died starts another one."""
    reading, _ = os.pipe()
    return Program(Ledger(tmp_path / "ledger"), reading)


@pytest.mark.parametrize("told", [Program.interrupt, lambda program: program.end("cancelled")])
def test_what_is_heard_before_a_program_is_taken_up_reaches_it(
    program: Program, told: Callable[[Program], None]
) -> None:
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as running:
        told(program)
        program.inherit(running.pid, None, "", known=True)
        assert running.wait(60) == -signal.SIGTERM


def test_a_program_that_nobody_has_ended_goes_on(program: Program) -> None:
    with subprocess.Popen(["cat"], start_new_session=True, stdin=subprocess.PIPE) as running:
        program.inherit(running.pid, None, "", known=True)
        assert running.stdin is not None
        running.stdin.close()
        assert running.wait(60) == 0


def test_what_is_heard_before_the_start_counts_beside_what_was_recalled(program: Program) -> None:
    program.end("cancelled")
    program.recall("")
    with pytest.raises(Ended, match="before its program started"):
        program.start(["true"], "pid")
    program.recall("interrupted")
    assert program.ending == "cancelled"
