"""A small process that replaces a supervisor that dies.

The guardian is the supervisor's parent and a subreaper, so it becomes the parent of whatever a dead supervisor leaves.
A program that outlives its supervisor therefore still has a parent that learns its exit code, and it is never started
again: the next supervisor reads in the ledger how far the job was, and continues from there.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, Callable, List, NamedTuple, Tuple

from skylift.agent.job.ledger import Ledger
from skylift.agent.machine.console import say

PR_SET_CHILD_SUBREAPER = 36
STREAMS = ("stdout", "stderr")
_SHUTDOWN = 2.0
"""Seconds in which every process of a server has received the signal of a shutdown."""


class Handles(NamedTuple):
    """The descriptors that each supervisor gets: a pipe on which it learns how a program of an earlier supervisor has
    ended, and both ends of a terminal, for an interactive program. `guardian` is the guardian's pid."""

    ends_pipe: int
    master: int
    slave: int
    guardian: int

    def prepare(self) -> None:
        """Have the guardian import ahead for the supervisor of a next job."""
        if os.getppid() == self.guardian:
            os.kill(self.guardian, signal.SIGUSR1)


def guard(folder: Path, ledger: Ledger, work: Callable[[Handles], None], prepare: Callable[[], None]) -> int:
    """Run `work` in a child process, and again whenever it is killed. Returns the exit code it ends with. `prepare`
    does ahead in this process what the next child, which is a copy of it, need not do any more."""
    pipes, terminal = _hold_pipes(folder), _hold_terminal()
    down: List[float] = []
    signal.signal(signal.SIGTERM, lambda number, frame: _note_shutdown(ledger, down))
    signal.signal(signal.SIGUSR1, functools.partial(_prepare, prepare))
    pause = 0.05
    while True:
        child, telling = _begin(work, terminal)
        code = _watch(child, ledger, telling)
        os.close(telling)
        if code >= 0:
            for each in filter(lambda number: number >= 0, (*pipes, *terminal)):
                os.close(each)
            return code
        # SIGTERM comes from a shutdown, which reaches this process in this time, too. A new supervisor would only see
        # the shutdown end the program.
        asked = code == -signal.SIGTERM
        if not (asked and down):
            time.sleep(_SHUTDOWN if asked else pause)
        if asked and down:
            _see_out(ledger)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
        say("the supervisor was ended by signal %d; another one takes its place" % -code)
        pause = min(pause * 2, 10)


def _prepare(prepare: Callable[[], None], number: int, frame: Any) -> None:
    """Once at a time: a second one would wait for what the first one holds, which goes on only after it."""
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        prepare()
    finally:
        signal.signal(signal.SIGUSR1, functools.partial(_prepare, prepare))


def _begin(work: Callable[[Handles], None], terminal: Tuple[int, int]) -> Tuple[int, int]:
    """Fork a supervisor: its pid, and the descriptor on which it learns how programs have ended."""
    reading, telling = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(telling)
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, signal.SIG_DFL)
        work(Handles(reading, *terminal, os.getppid()))
        sys.stdout.flush()
        # Everything has been written. Python's own clean-up would delay the next job.
        os._exit(0)
    os.close(reading)
    # After the first fork: the import for it need not delay the boot.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    return child, telling


def end_leftovers() -> None:
    """Kill what the programs of a job have left running, except processes of root: the shutdown timer may be one."""
    left = True
    while left:
        left = False
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and _is_left(entry):
                left = True
                os.kill(int(entry.name), signal.SIGKILL)
                os.waitpid(int(entry.name), 0)


def _is_left(process: Path) -> bool:
    try:
        parent = int((process / "stat").read_text().rsplit(")", 1)[1].split()[1])
        return parent == os.getpid() and process.stat().st_uid != 0
    except (OSError, IndexError):
        return False


def _hold_pipes(folder: Path) -> List[int]:
    """Keep the program's output pipes open: the content of a pipe is lost when no process has it open."""
    held = []
    for name in STREAMS:
        pipe = folder / (name + ".pipe")
        if not pipe.exists():
            os.mkfifo(str(pipe), 0o600)
        held.append(os.open(str(pipe), os.O_RDWR | os.O_NONBLOCK))
    return held


def _hold_terminal() -> Tuple[int, int]:
    """Makes a terminal that outlives the supervisor, because a program gets SIGHUP when its terminal closes."""
    try:
        return os.openpty()
    except OSError as error:
        say("no terminal is available: %s" % error)
        return -1, -1


def _watch(child: int, ledger: Ledger, telling: int) -> int:
    """Wait until this child ends. Also wait for inherited processes, and note the program's exit code in the ledger."""
    while True:
        # WNOWAIT: the end is noted before it is reaped, because it cannot be asked for again.
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        assert ended is not None
        if ended.si_pid != child and _note_end(ended, ledger):
            # No process reads the pipe when the supervisor has died too. The next one reads the ledger.
            with contextlib.suppress(BrokenPipeError):
                os.write(telling, b"%d\n" % code_of(ended))
        os.waitid(os.P_PID, ended.si_pid, os.WEXITED)
        if ended.si_pid == child:
            return code_of(ended)


def _note_end(ended: Any, ledger: Ledger) -> bool:
    """Whether it is the program that has ended."""
    noted = ledger.latest("pid", "end")
    if noted.get("pid") != ended.si_pid or noted.get("end") is not None:
        return False
    ledger.note(end=code_of(ended), ended=time.time(), clock=time.monotonic())
    return True


def _see_out(ledger: Ledger) -> None:
    """Wait until the program has ended, which has some time to save its work. What it exits with says whether it had
    enough."""
    while True:
        noted = ledger.latest("pid", "end")
        if noted.get("pid") is None or noted.get("end") is not None:
            return
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        except ChildProcessError:
            return
        assert ended is not None
        _note_end(ended, ledger)
        os.waitid(os.P_PID, ended.si_pid, os.WEXITED)


def code_of(ended: Any) -> int:
    """The exit code as in Popen: negative for a signal."""
    return int(ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status)


def _note_shutdown(ledger: Ledger, down: List[float]) -> None:
    """The program gets SIGTERM as well, so its end is not its own from now on."""
    down.append(time.time())
    ledger.note(down=down[-1])
