"""What was before: an earlier supervisor that was ended in the middle, in this boot of the server or in another one."""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from pathlib import Path
from typing import Any, Dict, NamedTuple, Optional

from skylift.runner.server.ledger import Ledger, boot_mark
from skylift.runner.server.outcome import Outcome
from skylift.runner.server.program import is_child_of
from skylift.runner.server.status import State

_SHUTDOWN = 1.0
"""Seconds within which everybody hears of a shutdown: what ends then is ended by it."""


class Start(NamedTuple):
    """Noted in the ledger before the program starts. `boot` is the server's, `time` the wall clock's and `clock` the
    monotonic one's, which goes on for as long as the server is up; `arrived` is what the job's folder has, `kills` what
    memory had cost by then, and `status` what is told of the start."""

    boot: str
    time: float
    clock: float
    arrived: Dict[str, Any]
    kills: int
    status: Dict[str, Any]

    @classmethod
    def parse(cls, found: Dict[str, Any]) -> Start:
        return cls(**{"clock": 0.0, **found})


class Concluded(NamedTuple):
    """How the job ended, and what else its status says of that."""

    outcome: Outcome
    more: Dict[str, Any]


class Delivered(NamedTuple):
    """All is in the prefix. `kept_until` is for how long the server stays, in seconds since the epoch; `is_spot` says
    that a fleet is to go before it, and `has_next` that it is another job's by now."""

    kept_until: float
    is_spot: bool
    has_next: bool = False


class Recovery:
    """Read once nobody else is there any more who might still add to it: the lock goes with the last process that might
    become the program."""

    def __init__(self, root: Path, folder: Path, ledger: Ledger) -> None:
        self._ledger = ledger
        fcntl.flock(os.open(str(folder / "lock"), os.O_RDWR | os.O_CREAT, 0o600), fcntl.LOCK_EX)
        self.boot = _boot_of(root)
        self._read()

    def _read(self) -> None:
        self._said: Dict[str, Any] = self._ledger.read()

    @property
    def delivered(self) -> Optional[Delivered]:
        said = self._said
        if not said.get("delivered"):
            return None
        return Delivered(said.get("kept_until") or 0.0, bool(said.get("spot")), "next" in said)

    @property
    def concluded(self) -> Optional[Concluded]:
        """How the job ended, when that was known already."""
        found = self._said.get("verdict")
        return None if found is None else Concluded(Outcome.parse(found["verdict"]), found["more"])

    @property
    def start(self) -> Optional[Start]:
        found = self._said.get("start")
        return None if found is None else Start.parse(found)

    @property
    def may_have_started(self) -> bool:
        """Whether the program may run or have run. What was only being prepared is prepared anew."""
        start = self._said.get("start")
        return start is not None and ("pid" in self._said or start["boot"] != self.boot)

    @property
    def pid(self) -> int:
        return int(self._said["pid"])

    @property
    def helper(self) -> Optional[int]:
        """The pid of what was making the environment."""
        return self._said.get("helper")

    @property
    def exit_code(self) -> Optional[int]:
        """The program's, when that has ended and somebody has learned how."""
        return self._said.get("end")

    @property
    def ending(self) -> Optional[State]:
        """Why the program was being ended."""
        found = self._said.get("ending")
        return State(found) if found else None

    @property
    def told(self) -> Optional[float]:
        """The time of the notice that the program has been told of."""
        found = self._said.get("told")
        return None if found is None else float(found)

    def rebooted(self, start: Start) -> bool:
        """Whether the program went down with the server. An end that came before is its own, whatever followed."""
        said = self._said
        if start.boot == self.boot:
            return False
        return "end" not in said or said["ended"] > said.get("down", said["ended"] + 2 * _SHUTDOWN) - _SHUTDOWN

    def seconds(self, start: Start) -> float:
        """How long the program has run by now. The monotonic clock is another one after a reboot."""
        same_boot = start.clock > 0 and start.boot == self.boot
        return time.monotonic() - start.clock if same_boot else max(0.0, time.time() - start.time)

    def seconds_to_end(self, start: Start) -> Optional[float]:
        """How long it ran, when it has ended."""
        said = self._said
        if "ended" not in said:
            return None
        if start.clock > 0 and "clock" in said:
            return float(said["clock"]) - start.clock
        return max(0.0, float(said["ended"]) - start.time)

    def end_is_known(self) -> bool:
        """Or will be: a program that runs is its guardian's child, unless it was another guardian's."""
        if "end" not in self._said and not is_child_of(os.getppid(), self.pid):
            self._read()
            return "end" in self._said
        return True


def _boot_of(root: Path) -> str:
    place = boot_mark(root)
    place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    if not place.exists():
        place.write_text(secrets.token_hex(8))
    return place.read_text()
