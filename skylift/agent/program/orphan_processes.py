"""Ending the processes that a program has left running, before results are sent, so that files do not change: SIGTERM,
a grace period, SIGKILL.

These are all processes of the login user, in any session, however often they have forked. Processes of a logged-in
user (`skylift ssh`, `skylift attach`) go on. What a user leaves behind after logging off (nohup, tmux) cannot be
distinguished from the program's own processes, and ends with them. On a machine that is not all ours, or when this
process runs as the login user, as in tests, only descendants of the program are ended.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

from skylift.agent.machine.console import say

_KILLING, _DYING = 10.0, 10.0
"""Seconds to find all processes and kill them, and then to wait for their end: a process that waits for a broken disk
may never end."""
_LOOKS = 3
"""Searches in a row that must find nothing, where all processes of a machine are searched: some start and end all the
time, and no search is sure."""
_LOGINS = frozenset({"sshd", "sshd-session", "dropbear", "login"})


class _Process(NamedTuple):
    """A process. `users` are its user ids, which may be several."""

    parent: int
    name: str
    users: Set[int]


class LeftRunning:
    """`guardian` is the subreaper of orphans. `whole_machine` is whether all processes of the user belong to the
    job."""

    def __init__(self, guardian: int, uid: int, job: str, *, whole_machine: bool) -> None:
        # The pid of a guardian that was killed may be any process's now.
        self._above, self._uid = {os.getpid(), *([guardian] if os.getppid() == guardian else [])}, uid
        self._mark = b"SKYLIFT_JOB=" + job.encode()
        self._ours = uid == os.geteuid()
        self._whole_machine = whole_machine and not self._ours
        # The kernel's lists of children are exact, also while other processes start and end.
        self._exact = not self._whole_machine and Path("/proc/%d/task/%d/children" % ((os.getpid(),) * 2)).exists()
        self._zombies: Set[Tuple[int, str]] = set()

    def end(self, grace: float) -> None:
        signalled: Set[int] = set()
        until, pause, in_vain = time.monotonic() + grace, 0.005, 0
        while self._exact or in_vain < _LOOKS:
            look = self._look(signal.SIGTERM, signalled)
            if not look.found and look.is_sure:
                return None
            in_vain = 0 if look.found else in_vain + 1
            signalled |= look.found
            if time.monotonic() > until:
                return self._kill()
            time.sleep(pause)
            pause = min(pause * 1.5, 0.2)
        return None

    def _kill(self) -> None:
        """Stops all processes, and then kills them: a stopped process cannot fork a replacement. A process that forks
        thousands of times a second may escape."""
        until = time.monotonic() + _KILLING
        while time.monotonic() < until:
            stopped: Set[int] = set()
            in_vain = 0
            while (self._exact or in_vain < _LOOKS) and time.monotonic() < until:
                look = self._look(signal.SIGSTOP, stopped)
                stopped |= look.found
                if look.is_sure and not look.new:
                    break
                in_vain = 0 if look.new else in_vain + 1
            if not stopped:
                break
            for pid in stopped:
                _send(pid, signal.SIGKILL)
        # Those that were killed last may be on their way out.
        until = time.monotonic() + _DYING
        while self._look(signal.SIGKILL, set()).found:
            if time.monotonic() > until:
                return say("some processes that the program left running could not be ended")
            time.sleep(0.02)
        return None

    def _look(self, number: signal.Signals, signalled: Set[int]) -> _Look:
        """Find all processes and send each a signal at once, unless it has had that signal. The newest come first: they
        may be replaced in a moment."""
        look = _Look(self._zombies)
        for pid, descends in self._candidates(look):
            if self._is_left(pid, look, descends=descends):
                look.found.add(pid)
                if pid not in signalled:
                    look.new = True
                    _send(pid, number)
        return look

    def _candidates(self, look: _Look) -> Iterator[Tuple[int, bool]]:
        """Pids, and whether each is known to be our descendant."""
        if not self._exact:
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
            for task in Path("/proc/%d/task" % pid).iterdir():
                # A first thread that has ended has none, or denies it; any other one says what all have.
                with contextlib.suppress(OSError):
                    environ = (task / "environ").read_bytes()
                    if environ:
                        return self._mark in environ.split(b"\0")
        return False


class _Look:
    """One search of all processes, each read once. `is_sure` is False if one ended before it was read: it may have
    started another one that was not seen. This search adds its zombies to `zombies`, which has those of earlier
    searches by pid and start, because pids are reused."""

    def __init__(self, zombies: Set[Tuple[int, str]]) -> None:
        self._read: Dict[int, Optional[_Process]] = {}
        self._zombies = zombies
        self.found: Set[int] = set()
        self.new = False
        self.is_sure = True

    def process(self, pid: int) -> Optional[_Process]:
        """The process; None when it has ended, or is a zombie."""
        if pid not in self._read:
            try:
                self._read[pid], started = _process(Path("/proc/%d" % pid))
            except (OSError, IndexError):
                self._read[pid], self.is_sure = None, False
            else:
                if self._read[pid] is None and (pid, started) not in self._zombies:
                    self._zombies.add((pid, started))
                    self.is_sure = False
        return self._read[pid]

    def above(self, pid: int) -> List[int]:
        found: List[int] = []
        process = self.process(pid)
        while process is not None and process.parent and process.parent not in found:
            found.append(process.parent)
            process = self.process(process.parent)
        return found

    def children(self, pid: int) -> List[int]:
        """The children of all threads of a process."""
        found: List[int] = []
        try:
            for task in Path("/proc/%d/task" % pid).iterdir():
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that has ended
                    found += map(int, (task / "children").read_text().split())
        except OSError:
            self.is_sure = False
        return sorted(found, reverse=True)


def _process(place: Path) -> Tuple[Optional[_Process], str]:
    """A process, None for a zombie, and its start time. A process without its first thread looks like a zombie, but
    runs as long as it has another thread."""
    name, _, rest = (place / "stat").read_text(errors="replace").partition("(")[2].rpartition(")")
    fields = rest.split()
    state, parent, started = fields[0], fields[1], fields[19]
    if state in ("Z", "X") and len(os.listdir(str(place / "task"))) < 2:
        return None, started
    owner = place.stat().st_uid
    # A process that is not dumpable belongs to root here, whatever user it runs as.
    return _Process(int(parent), name, {owner} if owner else _users(place)), started


def _users(place: Path) -> Set[int]:
    for line in (place / "status").read_text(errors="replace").splitlines():
        if line.startswith("Uid:"):
            return {int(each) for each in line.split()[1:]}
    return set()


def _is_login(process: Optional[_Process]) -> bool:
    """Whether this is root's process for a logged-in user. Only root can make one."""
    return process is not None and process.name in _LOGINS and 0 in process.users


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
