"""What was before: an earlier supervisor that was ended in the middle, in this boot of the server or in another one."""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path
from typing import Any, Dict

from skylift.runner.server.ledger import Ledger, boot_mark
from skylift.runner.server.program import is_child_of

_SHUTDOWN = 1.0
"""Seconds within which everybody hears of a shutdown: what ends then is ended by it."""


class Past:
    """Read once nobody else is there any more who might still add to it: the lock goes with the last process that might
    become the program."""

    def __init__(self, root: Path, folder: Path, ledger: Ledger) -> None:
        self._ledger = ledger
        fcntl.flock(os.open(str(folder / "lock"), os.O_RDWR | os.O_CREAT, 0o600), fcntl.LOCK_EX)
        self.boot = _boot_of(root)
        self.said: Dict[str, Any] = ledger.read()

    @property
    def delivered(self) -> bool:
        return bool(self.said.get("delivered"))

    @property
    def verdict(self) -> Dict[str, Any]:
        """How the job ended, when that was known already; empty when not."""
        return dict(self.said.get("verdict", {}))

    @property
    def may_have_started(self) -> bool:
        """Whether the program may run or have run. What was only being prepared is prepared anew."""
        start = self.said.get("start")
        return start is not None and ("pid" in self.said or start["boot"] != self.boot)

    @property
    def rebooted(self) -> bool:
        """Whether the program went down with the server. An end that came before is its own, whatever followed."""
        said = self.said
        if said["start"]["boot"] == self.boot:
            return False
        return "end" not in said or said["ended"] > said.get("down", said["ended"] + 2 * _SHUTDOWN) - _SHUTDOWN

    def end_is_known(self) -> bool:
        """Or will be: a program that runs is its keeper's child, unless it was another keeper's."""
        if "end" not in self.said and not is_child_of(os.getppid(), self.said["pid"]):
            self.said = self._ledger.read()
            return "end" in self.said
        return True


def _boot_of(root: Path) -> str:
    place = boot_mark(root)
    place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    if not place.exists():
        place.write_text(secrets.token_hex(8))
    return place.read_text()
