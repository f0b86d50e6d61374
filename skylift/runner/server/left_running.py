"""What a program has left running is ended before anything of it is sent, so that results keep still: SIGTERM, a grace,
SIGKILL.

That is all that runs as the login user: in any session, and however often it has forked. What somebody does who is
logged in (`skylift ssh`, `skylift attach`) goes on. Who logs off and leaves something behind (nohup, tmux) leaves it to
the job: it cannot be told from what the program has left, and ends with it. Where the machine is not all ours, or the
login user is ourselves, as in tests, it is what descends from the program.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

from skylift.runner.server.console import say

_KILLING = 10.0
"""Seconds for what has been killed to be gone: one that waits for a broken disk may not be before the server is."""
_LOOKS = 3
"""Looks in a row that find nobody, on a machine where processes come and go all the time."""
_LOGINS = frozenset({"sshd", "sshd-session", "dropbear", "login"})


class _Process(NamedTuple):
    """`users` are whom it runs as: for the kernel, that may be several."""

    parent: int
    name: str
    users: Set[int]


class LeftRunning:
    """`guardian` is whom orphans are left to; `whole_machine` is whether all that the user runs is the job's."""

    def __init__(self, guardian: int, uid: int, job: str, *, whole_machine: bool) -> None:
        # One that was killed has left its number to anybody.
        self._above, self._uid = {os.getpid(), *([guardian] if os.getppid() == guardian else [])}, uid
        self._mark = b"SKYLIFT_JOB=" + job.encode()
        self._ours = uid == os.geteuid()
        self._whole_machine = whole_machine and not self._ours

    def end(self, grace: float) -> None:
        told: Set[int] = set()
        until, pause, in_vain = time.monotonic() + grace, 0.005, 0
        while in_vain < _LOOKS:
            look = self._look(signal.SIGTERM, told)
            if not look.found and look.is_sure:
                return None
            in_vain = 0 if look.found else in_vain + 1
            told |= look.found
            if time.monotonic() > until:
                return self._kill()
            time.sleep(pause)
            pause = min(pause * 1.5, 0.2)
        return None

    def _kill(self) -> None:
        """Who forks while being killed is stopped first: then there is a last one. Who does nothing else, thousands of
        times a second, may get away."""
        until = time.monotonic() + _KILLING
        while True:
            stopped: Set[int] = set()
            in_vain = 0
            while in_vain < _LOOKS and time.monotonic() < until:
                look = self._look(signal.SIGSTOP, stopped)
                stopped |= look.found
                in_vain = 0 if look.new else _LOOKS if look.is_sure else in_vain + 1
            if not stopped:
                return None
            for pid in stopped:
                _send(pid, signal.SIGKILL)
            if time.monotonic() > until:
                return say("of what the program has left running, not all could be ended")

    def _look(self, number: signal.Signals, told: Set[int]) -> _Look:
        """All that there are, each of whom is sent a signal as soon as it is seen, if it was not told before. The
        newest first: there may be another one in its place in a moment."""
        look = _Look()
        for pid, descends in self._candidates(look):
            if self._is_left(pid, look, descends=descends):
                look.found.add(pid)
                if pid not in told:
                    look.new = True
                    _send(pid, number)
        return look

    def _candidates(self, look: _Look) -> Iterator[Tuple[int, bool]]:
        """And whether it is known that one descends from us: where the kernel tells who does, nobody else's coming and
        going is in the way."""
        if self._whole_machine or not Path("/proc/%d/task/%d/children" % (os.getpid(), os.getpid())).exists():
            pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
            yield from ((pid, False) for pid in sorted(pids, reverse=True))
            return
        waiting = list(self._above)
        while waiting:
            above = waiting.pop()
            for pid in look.children(above):
                if pid not in self._above:
                    waiting.append(pid)
                    yield pid, True

    def _is_left(self, pid: int, look: _Look, *, descends: bool) -> bool:
        process = look.process(pid)
        if process is None or self._uid not in process.users or pid in self._above:
            return False
        above = [] if descends else look.above(pid)
        if descends or self._above & set(above):
            return not self._ours or self._has_mark(pid)
        return self._whole_machine and not any(_is_login(look.process(each)) for each in above)

    def _has_mark(self, pid: int) -> bool:
        with contextlib.suppress(OSError):
            return self._mark in Path("/proc/%d/environ" % pid).read_bytes().split(b"\0")
        return False


class _Look:
    """One look at all processes, each read once. `is_sure` unless one was gone before it was its turn: then another one
    may have come that was not seen."""

    def __init__(self) -> None:
        self._read: Dict[int, Optional[_Process]] = {}
        self.found: Set[int] = set()
        self.new = False
        self.is_sure = True

    def process(self, pid: int) -> Optional[_Process]:
        """None for one that has ended, or is only to be waited for."""
        if pid not in self._read:
            try:
                self._read[pid] = _process(Path("/proc/%d" % pid))
            except (OSError, IndexError):
                self._read[pid], self.is_sure = None, False
        return self._read[pid]

    def above(self, pid: int) -> List[int]:
        found: List[int] = []
        process = self.process(pid)
        while process is not None and process.parent and process.parent not in found:
            found.append(process.parent)
            process = self.process(process.parent)
        return found

    def children(self, pid: int) -> List[int]:
        """Of all its threads."""
        found: List[int] = []
        try:
            for task in Path("/proc/%d/task" % pid).iterdir():
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that has ended
                    found += map(int, (task / "children").read_text().split())
        except OSError:
            self.is_sure = False
        return sorted(found, reverse=True)


def _process(place: Path) -> Optional[_Process]:
    name, _, rest = (place / "stat").read_text(errors="replace").partition("(")[2].rpartition(")")
    state, parent = rest.split()[:2]
    if state in ("Z", "X"):
        return None
    owner = place.stat().st_uid
    # That of one which does not show its memory is root, whoever it runs as.
    return _Process(int(parent), name, {owner} if owner else _users(place))


def _users(place: Path) -> Set[int]:
    for line in (place / "status").read_text(errors="replace").splitlines():
        if line.startswith("Uid:"):
            return {int(each) for each in line.split()[1:]}
    return set()


def _is_login(process: Optional[_Process]) -> bool:
    """Root's own process for who is logged in: nobody else can make one."""
    return process is not None and process.name in _LOGINS and 0 in process.users


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
