"""The user's process, and how it ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import subprocess
import termios
import threading
import time
from pathlib import Path
from typing import Any, Iterable, List, Optional, Set

from skylift.agent.job.guardian import code_of
from skylift.agent.job.guardian_link import GuardianLink
from skylift.agent.job.ledger import Ledger
from skylift.agent.job.outcome import Ended
from skylift.contract.states import State

GRACE = 10
"""Seconds between SIGTERM and SIGKILL, as documented for caps and cancel."""
_SHUTDOWN = 2.0
"""Seconds in which every process of a server has received the signal of a shutdown."""


class UserProcess:
    """The user's process and its session; or the process that makes the environment, while it runs."""

    def __init__(self, ledger: Ledger, ends_pipe: int) -> None:
        self._ledger, self._guardian = ledger, GuardianLink(ends_pipe, ledger)
        self._known = True
        self._lock = threading.Lock()
        self._process: Optional[subprocess.Popen[bytes]] = None
        self.pid = 0
        self._end: Optional[int] = None
        self.ending: Optional[State] = None
        self._heard_late: Optional[State] = None
        self._asked: Set[int] = set()
        self._disturbed = threading.Event()

    def start(self, argv: List[str], name: str, terminal: bool = False, **how: Any) -> "subprocess.Popen[bytes]":
        """Start a process. `name` is the name of its pid in the ledger, which is noted before the process executes the
        program. With `terminal`, its standard input becomes the controlling terminal of its session."""

        def become() -> None:
            # Only system calls between fork and exec: another thread may have held any lock.
            self._ledger.sign(name)
            if terminal:
                fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        with self._lock:
            if self.ending:
                raise Ended(self.ending, "The job was ended before its program started.", exit_code=143)
            self._process = subprocess.Popen(
                argv,
                start_new_session=True,
                preexec_fn=become,  # noqa: PLW1509
                **how,
            )
            self.pid = self._process.pid
            _offer_first(self.pid)
            return self._process

    def inherit(
        self, pid: int, end: Optional[int], ending: Optional[State], asked: Iterable[int] = (), *, known: bool
    ) -> None:
        """Take over a process that an earlier supervisor has started. `end` is its exit code if it has ended already.
        Otherwise `known` is whether our guardian will learn it."""
        with self._lock:
            heard = self.ending
            self.pid, self._end, self._known = pid, end, known
            if end is not None and heard:
                # It had ended before it could get a signal.
                self._heard_late, heard, self.ending = heard, None, None
                self._ledger.note(ending=ending)
        self.recall(ending, asked)
        if heard:
            # The reason came before there was a process to signal.
            self.signal(signal.SIGTERM)

    def recall(self, ending: Optional[State], asked: Iterable[int] = ()) -> None:
        """Note why an earlier supervisor was ending the program, unless there is a reason by now, and which signals it
        has passed on."""
        with self._lock:
            self._asked.update(asked)
            if ending and self.ending in (None, State.INTERRUPTED):
                self.ending = ending

    def wait(self) -> int:
        """Wait for the exit code, negative for a signal, and note it in the ledger. Raises Ended when an inherited
        program has ended and its exit code is lost."""
        if self._process is not None:
            ended = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
            with self._lock:
                # First of all: a cap that is reached while the disk is slow has not ended the program.
                self._end = code_of(ended)
            self._ledger.note(end=self._end, ended=time.time(), clock=time.monotonic())
            self._process.wait()
        elif self._end is None:
            end = self._guardian.end_of_program() if self._known else None
            if end is None:
                _await_end_of(self.pid)
                # If a shutdown has ended it, the signal reaches us too in this time.
                time.sleep(_SHUTDOWN)
                raise Ended(State.BROKEN, "skylift's supervisor was ended, and how the program ended is not known.")
            self._end = end
        return self._end

    def _runs(self) -> bool:
        return self.pid != 0 and self._end is None and (self._process is None or self._process.returncode is None)

    def ask(self, number: int) -> None:
        """Pass on a signal from a client."""
        with self._lock:
            self._asked.add(number)
            asked = sorted(self._asked)
        self._ledger.note(asked=asked)
        self._disturbed.set()
        self.signal(number)

    @property
    def was_asked(self) -> bool:
        """Whether a watching user has sent it a signal: its end is then the answer to that signal."""
        return bool(self._asked)

    def rest(self) -> bool:
        """It has ended, and is started again before long: what comes until then is for that. False where it is not to
        be started again after all: somebody wants its end (`ending`), or has sent it a signal."""
        self._disturbed.clear()
        with self._lock:
            self._process, self._end, self._known, self.pid = None, None, True, 0
            late, self._heard_late = self._heard_late, None
            if self.ending is not late:
                # A notice that was taken back, if there was one, is not the next one's.
                self.ending = late
                self._ledger.note(ending=late)
            return not self.is_disturbed

    def pause(self, seconds: float) -> bool:
        """So long, or until the program is not to be started again: False."""
        self._disturbed.wait(seconds)
        return not self.is_disturbed

    @property
    def is_disturbed(self) -> bool:
        return self.ending is not None or self.was_asked

    def ended_as_asked(self, code: int) -> bool:
        return any(code in (-number, 128 + number) for number in self._asked)

    def signal(self, number: int) -> None:
        """Send a signal to the program's process group, as a terminal does."""
        with self._lock:
            if self._runs():
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.pid, number)

    def end(self, why: State) -> None:
        """Send SIGTERM, and SIGKILL to the whole session after the grace period. The first reason stays, unless it was
        an interruption of the server."""
        with self._lock:
            if self._end is not None:
                self._heard_late = why
            elif self.ending in (None, State.INTERRUPTED):
                self.ending = why
                self._ledger.note(ending=why)
        self._disturbed.set()
        self.signal(signal.SIGTERM)
        timer = threading.Timer(GRACE, self.kill_session)
        timer.daemon = True
        timer.start()

    def interrupt(self) -> None:
        """Send SIGTERM because EC2 will take the server away. The caller knows when; until then the program may end by
        itself."""
        with self._lock:
            if self._end is not None:
                self._heard_late = self._heard_late or State.INTERRUPTED
            elif not self.ending:
                self.ending = State.INTERRUPTED
                self._ledger.note(ending=self.ending)
        self._disturbed.set()
        self.signal(signal.SIGTERM)

    def kill_session(self) -> None:
        """Kill whatever the program has left running in its session."""
        with self._lock:
            leader = self.pid
        if leader:
            kill_session(leader)


def _offer_first(pid: int) -> None:
    """Have the OOM killer choose the program and its children before the supervisor."""
    with contextlib.suppress(OSError):
        Path("/proc/%d/oom_score_adj" % pid).write_text("500")


def kill_session(leader: int) -> None:
    for entry in Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text().rsplit(")", 1)[1].split() if entry.name.isdigit() else []
            if len(fields) > 3 and int(fields[3]) == leader:
                os.kill(int(entry.name), signal.SIGKILL)
        except (OSError, IndexError):
            continue


def _await_end_of(pid: int) -> None:
    """Waits for another process's child, by a pidfd. Returns at once if the child has been reaped."""
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        select.select([descriptor], [], [])
        os.close(descriptor)


def is_child_of(parent: int, pid: int) -> bool:
    with contextlib.suppress(OSError, IndexError):
        return int(Path("/proc/%d/stat" % pid).read_text().rsplit(")", 1)[1].split()[1]) == parent
    return False
