"""Ctrl-C at moments when Python itself is not ready for it."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from skylift.cli.watching import with_interrupts

# `python -m` of a program in which Ctrl-C strikes where text is run, as that of every dataclass is.
STRUCK = """
import dataclasses, runpy, sys
make = dataclasses.dataclass
def struck(*arguments, **named):
    exec("import signal; signal.raise_signal(signal.SIGINT)")
    return make(*arguments, **named)
dataclasses.dataclass = struck
sys.argv = ["skylift", "run", "job.py"]
runpy.run_module("skylift.cli.main", run_name="__main__")
"""
# The same where Python calls `__set_name__`, as for each field of a dataclass.
NAMED = """
import runpy, signal, sys
class Member:
    def __set_name__(self, owner, name):
        signal.raise_signal(signal.SIGINT)
class Early:
    def find_spec(self, name, path=None, target=None):
        if name == "skylift.client.plan.plan_job":
            class Made:
                member = Member()
sys.meta_path.insert(0, Early())
sys.argv = ["skylift", "run", "job.py"]
runpy.run_module("skylift.cli.main", run_name="__main__")
"""


@pytest.mark.parametrize("program", [STRUCK, NAMED], ids=["text", "name"])
def test_the_exit_code_is_130_wherever_it_strikes(tmp_path: Path, program: str) -> None:
    (tmp_path / "struck.py").write_text(program)
    done = subprocess.run([sys.executable, "-m", "struck"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


class Work:
    def __init__(self) -> None:
        self.interrupted = 0

    async def run(self) -> int:
        for _ in range(3):
            await asyncio.sleep(0)
        return self.interrupted

    def interrupt(self) -> None:
        self.interrupted += 1


def test_one_that_strikes_while_the_loop_is_made_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    make = asyncio.events.new_event_loop

    def struck() -> asyncio.AbstractEventLoop:
        signal.raise_signal(signal.SIGINT)
        return make()

    monkeypatch.setattr(asyncio.events, "new_event_loop", struck)
    assert with_interrupts(Work()) == 1
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()
