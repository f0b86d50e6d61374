"""What an earlier supervisor has noted before it was killed, in this boot of the server or in an earlier one."""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional

from skylift.agent.job.ledger import Ledger, boot_mark
from skylift.agent.job.outcome import Outcome
from skylift.agent.program.program import is_child_of
from skylift.contract.states import State

_SHUTDOWN = 1.0
"""Seconds in which every process receives the signal of a shutdown. What ends in this time is ended by it."""


class NotedStart(NamedTuple):
    """Noted in the ledger before the program starts. `boot` identifies the server's boot, `time` is wall-clock time and
    `clock` monotonic time since that boot. `arrived` has the files in the job's folder, `kills` the count of the OOM
    killer, and `status` the fields of the job's status. If the program starts again after a failure, `time`, `clock`,
    `arrived` and `status` stay as at the first start; `began` is the time of this start, `after` the seconds between
    both."""

    boot: str
    time: float
    clock: float
    arrived: Dict[str, Any]
    kills: int
    status: Dict[str, Any]
    began: str = ""
    after: float = 0.0

    @classmethod
    def parse(cls, found: Dict[str, Any]) -> NotedStart:
        return cls(**{"clock": 0.0, **found})


class Concluded(NamedTuple):
    """How the job ended, with further fields for its status."""

    outcome: Outcome
    more: Dict[str, Any]


class Delivered(NamedTuple):
    """Everything is in the prefix. `kept_until` is until when the server stays, in seconds since the epoch. `is_spot`
    is whether a fleet must be deleted before it turns off, and `has_next` whether it has the next job by now."""

    kept_until: float
    is_spot: bool
    has_next: bool = False


class Recovery:
    """The ledger of an earlier supervisor. It is read when no process can write to it any more: the lock is released by
    the last process that might become the program."""

    def __init__(self, root: Path, folder: Path, ledger: Ledger) -> None:
        self._ledger = ledger
        fcntl.flock(os.open(str(folder / "lock"), os.O_RDWR | os.O_CREAT, 0o600), fcntl.LOCK_EX)
        self.boot = _boot_of(root)
        self._read()

    def _read(self) -> None:
        self._noted: Dict[str, Any] = self._ledger.read()

    @property
    def delivered(self) -> Optional[Delivered]:
        noted = self._noted
        if not noted.get("delivered"):
            return None
        return Delivered(noted.get("kept_until") or 0.0, bool(noted.get("spot")), "next" in noted)

    @property
    def concluded(self) -> Optional[Concluded]:
        """How the job ended, if the earlier supervisor knew that."""
        found = self._noted.get("verdict")
        return None if found is None else Concluded(Outcome.parse(found["verdict"]), found["more"])

    @property
    def start(self) -> Optional[NotedStart]:
        found = self._noted.get("start")
        return None if found is None else NotedStart.parse(found)

    @property
    def may_have_started(self) -> bool:
        """Whether the program may have run. A job that was only being prepared is prepared again."""
        start = self._noted.get("start")
        return start is not None and ("pid" in self._noted or start["boot"] != self.boot)

    @property
    def pid(self) -> int:
        return int(self._noted["pid"])

    @property
    def tries(self) -> Optional[List[Dict[str, Any]]]:
        """The outcome of each time that the program had been started before the last one."""
        return self._noted.get("tries")

    @property
    def asked(self) -> List[int]:
        """Signals that a watching user has sent to it."""
        return list(self._noted.get("asked", []))

    @property
    def helper(self) -> Optional[int]:
        """The pid of the process that was making the environment."""
        return self._noted.get("helper")

    @property
    def exit_code(self) -> Optional[int]:
        """The program's exit code, if it has ended and a guardian has learned it."""
        return self._noted.get("end")

    @property
    def ending(self) -> Optional[State]:
        """Why the program was being ended."""
        found = self._noted.get("ending")
        return State(found) if found else None

    @property
    def passed_on(self) -> Optional[float]:
        """The time of the interruption notice that was passed on to the program."""
        found = self._noted.get("passed_on")
        return None if found is None else float(found)

    def rebooted(self, start: NotedStart) -> bool:
        """Whether the program ended with the server. A program that ended before that has ended by itself."""
        noted = self._noted
        if start.boot == self.boot:
            return False
        return "end" not in noted or noted["ended"] > noted.get("down", noted["ended"] + 2 * _SHUTDOWN) - _SHUTDOWN

    def seconds(self, start: NotedStart) -> float:
        """How long the program has run by now. The monotonic clock starts again at each boot."""
        same_boot = start.clock > 0 and start.boot == self.boot
        return time.monotonic() - start.clock if same_boot else max(0.0, time.time() - start.time)

    def seconds_to_end(self, start: NotedStart) -> Optional[float]:
        """How long the program ran, if it has ended."""
        noted = self._noted
        if "ended" not in noted:
            return None
        if start.clock > 0 and "clock" in noted:
            return float(noted["clock"]) - start.clock
        return max(0.0, float(noted["ended"]) - start.time)

    def end_is_known(self) -> bool:
        """Whether the program's exit code is known or will be. Nobody waits for the program if an earlier guardian was
        its parent."""
        if "end" not in self._noted and not is_child_of(os.getppid(), self.pid):
            self._read()
            return "end" in self._noted
        return True


def _boot_of(root: Path) -> str:
    place = boot_mark(root)
    place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    if not place.exists():
        place.write_text(secrets.token_hex(8))
    return place.read_text()
