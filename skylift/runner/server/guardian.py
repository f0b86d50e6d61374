"""Who is there when the supervisor dies: a small process that has another one take its place.

It is the parent of the supervisor, and by the kernel's own rule becomes that of whatever a dead supervisor leaves. So a
program that outlives its supervisor is still waited for by somebody who learns how it ends, and it is never started
again: the next supervisor reads in the ledger how far things were, and goes on from there.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, Callable, List, NamedTuple, Tuple

from skylift.runner.server.console import say
from skylift.runner.server.ledger import Ledger

PR_SET_CHILD_SUBREAPER = 36
STREAMS = ("stdout", "stderr")
_SHUTDOWN = 2.0
"""Seconds within which everybody on a server has heard that it shuts down."""


class Handles(NamedTuple):
    """What each supervisor is given, as descriptors: where it is told how a program has ended that an earlier one had
    started, and both ends of a terminal, should the program be one that somebody sits before. `guardian` is our pid."""

    told: int
    master: int
    slave: int
    guardian: int

    def prepare(self) -> None:
        """Another job may come: have the guardian prepare for its supervisor, while there is time for it."""
        if os.getppid() == self.guardian:
            os.kill(self.guardian, signal.SIGUSR1)


def guard(folder: Path, ledger: Ledger, work: Callable[[Handles], None], prepare: Callable[[], None]) -> int:
    """`work` in a process of its own, as often as it is killed; the exit code that it ends with. `prepare` is for the
    next one, which begins as a copy of us."""
    pipes, terminal = _hold_pipes(folder), _hold_terminal()
    signal.signal(signal.SIGTERM, lambda number, frame: _go_down(ledger))
    signal.signal(signal.SIGUSR1, lambda number, frame: prepare())
    pause = 0.05
    while True:
        child, telling = _begin(work, terminal)
        code = _watch(child, ledger, telling)
        os.close(telling)
        if code >= 0:
            for each in filter(lambda number: number >= 0, (*pipes, *terminal)):
                os.close(each)
            return code
        # SIGTERM is a shutdown's, of which we hear in this time, too: nobody is to see the program end by that.
        time.sleep(_SHUTDOWN if code == -signal.SIGTERM else pause)
        say("the supervisor was ended by signal %d; another one takes its place" % -code)
        pause = min(pause * 2, 10)


def _begin(work: Callable[[Handles], None], terminal: Tuple[int, int]) -> Tuple[int, int]:
    """The pid of a new supervisor, and where it is told of ends."""
    reading, telling = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(telling)
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, signal.SIG_DFL)
        work(Handles(reading, *terminal, os.getppid()))
        sys.stdout.flush()
        # All is done and written; Python's own tidying up would hold up a job that waits for this server.
        os._exit(0)
    os.close(reading)
    # Not before the first fork: what is imported for it need not hold up the boot.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    return child, telling


def end_leftovers() -> None:
    """What the programs of a job have left running ends with it. All of that is ours, but for what root has started:
    the timer that turns the server off may be among it."""
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
    """What the program has written into a pipe is lost when nobody holds that; this process does."""
    held = []
    for name in STREAMS:
        pipe = folder / (name + ".pipe")
        if not pipe.exists():
            os.mkfifo(str(pipe), 0o600)
        held.append(os.open(str(pipe), os.O_RDWR | os.O_NONBLOCK))
    return held


def _hold_terminal() -> Tuple[int, int]:
    """A program whose terminal goes is hung up on. This one stays, and costs nothing where nobody wants it."""
    try:
        return os.openpty()
    except OSError as error:
        say("there is no terminal to be had: %s" % error)
        return -1, -1


def _watch(child: int, ledger: Ledger, telling: int) -> int:
    """Until this child ends; what others have left to us is waited for, and the program's end is written down."""
    while True:
        # Looked at first, and written down before it is taken: an end that nobody knows of cannot be asked for again.
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        assert ended is not None
        code = code_of(ended)
        if ended.si_pid != child:
            said = ledger.latest("pid", "end")
            if said.get("pid") == ended.si_pid and "end" not in said:
                ledger.note(end=code, ended=time.time(), clock=time.monotonic())
                # Nobody reads it when the supervisor has died too: the next one finds it in the ledger.
                with contextlib.suppress(BrokenPipeError):
                    os.write(telling, b"%d\n" % code)
        os.waitid(os.P_PID, ended.si_pid, os.WEXITED)
        if ended.si_pid == child:
            return code


def code_of(ended: Any) -> int:
    """As Popen has it: negative for a signal."""
    return int(ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status)


def _go_down(ledger: Ledger) -> None:
    """SIGTERM comes from a shutdown, which sends it to the program as well: how that ends now is no end of its own."""
    ledger.note(down=time.time())
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)
