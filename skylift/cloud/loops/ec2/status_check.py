"""EC2's status checks: looks at each running server, and has its problems repaired or written down.

The instance check is about what runs on the server, the system check about what this machine provides for it. A check
fails when two looks in a row find a problem, because a single one may be a server that is about to end. It passes at
the first look that finds none.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from skylift.cloud.domain.instance import FailedCheck, Instance
from skylift.cloud.domain.network import NetworkInterface
from skylift.cloud.store.database import Database

log = logging.getLogger(__name__)

BOOT = 120.0
"""Seconds in which a server that has just begun need not answer: an image's own programs may come before sshd."""


@dataclass(frozen=True)
class Looks:
    """What compute sees. `first_process(id)` is None for a server that does not run; the others answer why not, or
    nothing. `show_sizes` is given the first processes of all, and mends what it can."""

    first_process: Callable[[str], int | None]
    why_silent: Callable[[int], str]
    show_sizes: Callable[[Mapping[str, int]], str]
    network: Callable[[str], str]
    """Of a VPC, by its id."""
    is_plugged: Callable[[str], bool]
    """Of an interface, by its id."""


@dataclass(frozen=True)
class _Look:
    """What a look at a boot of a server has found, for both checks, and whether it has answered by then."""

    boot: int | None
    since: float
    answered: bool
    amiss: tuple[str, str]


class StatusChecks:
    """`changed()` is called when an interface is to be plugged in again."""

    def __init__(self, database: Database, looks: Looks, changed: Callable[[], None]) -> None:
        self._database = database
        self._looks = looks
        self._changed = changed
        self._last: dict[str, _Look] = {}

    def step(self) -> None:
        with self._database.read() as tx:
            rows = {row.id: row for row in tx.find(Instance, state="running") if not row.rebooting}
            plugs = [one for one in tx.find(NetworkInterface) if one.instance_id in rows and one.attachment in _THERE]
        found = {name: self._looks.first_process(name) for name in rows}
        unsized = self._looks.show_sizes({name: first for name, first in found.items() if first is not None})
        lost = [one for one in plugs if not self._looks.is_plugged(one.id)]
        unplugged = {one.instance_id: f"its network interface {one.id} was taken away" for one in lost}
        before, self._last = self._last, {}
        for name, row in rows.items():
            system = self._looks.network(row.vpc_id) or unsized or unplugged.get(name, "")
            look = self._last[name] = self._look(row, found[name], system, before.get(name))
            again = before[name].amiss if name in before else ("", "")
            known = (row.instance_check, row.system_check)
            told = zip(look.amiss, known, again, strict=True)
            self._note(row, *(this if check or last else "" for this, check, last in told))
        self._plug_in([one for one in lost if one.attachment == "attached"])

    def _look(self, row: Instance, boot: int | None, system: str, before: _Look | None) -> _Look:
        if before is None or before.boot != boot:
            # If the check has failed in this boot, the server has answered before, or its time to start is over.
            before = _Look(boot, time.monotonic(), row.instance_check is not None, ("", ""))
        own = "it does not run" if boot is None else self._looks.why_silent(boot)
        waited_for = boot is not None and not before.answered and time.monotonic() < before.since + BOOT
        return replace(before, answered=before.answered or not own, amiss=("" if waited_for else own, system))

    def _note(self, seen: Instance, *told: str) -> None:
        known = (seen.instance_check, seen.system_check)
        if told == tuple(check.reason if check else "" for check in known):
            return
        with self._database.write() as tx:
            row = tx.get(Instance, id=seen.id)
            if row is None or row.state != "running":
                return
            own, system = (
                FailedCheck(check.since if check else tx.now, why) if why else None
                for check, why in zip(known, told, strict=True)
            )
            tx.save(replace(row, instance_check=own, system_check=system))
        log.warning("instance %s: its status checks say: %s", row.id, "; ".join(filter(None, told)) or "ok")

    def _plug_in(self, lost: list[NetworkInterface]) -> None:
        for one in lost:
            with self._database.write() as tx:
                if tx.get(NetworkInterface, id=one.id) == one:
                    tx.save(replace(one, attachment="attaching"))
            log.warning("instance %s: %s was taken away, and is plugged in again", one.instance_id, one.id)
        if lost:
            self._changed()


_THERE = ("attached", "attaching")
