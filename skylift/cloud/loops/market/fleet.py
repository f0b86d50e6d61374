"""Keeps fleets at their target: looks at each when its instances change or its next attempt is due."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from skylift.cloud.domain.fleet import Fleet
from skylift.cloud.loops.guard import guarded
from skylift.cloud.store.database import Database, Tx
from skylift.cloud.store.fleet import kept_fleets

MARGIN = timedelta(milliseconds=50)
"""Timers go off this much late, so that their time has come."""


@dataclass(eq=False)
class FleetLoop:
    """Keeps each fleet at its size.

    `keep(tx, id, found)` does what a fleet needs and says when it needs a look again; `survey(tx, id, found)` finds
    before that what takes long. `mark(tx, fleet)` is all that this depends on besides the time. `wake_in(seconds)` has
    `step` called again.

    The marks that are remembered here only spare looks that would find nothing to do: a new process looks at every
    fleet.
    """

    database: Database
    keep: Callable[[Tx, str, Any], datetime | None]
    survey: Callable[[Tx, str, Any], Any]
    mark: Callable[[Tx, Fleet], Any]
    wake_in: Callable[[float], None]

    def __post_init__(self) -> None:
        self._seen: dict[str, tuple[Any, datetime | None]] = {}

    def step(self) -> None:
        with self.database.read() as tx:
            now = tx.now
            fleets = {fleet.id: self.mark(tx, fleet) for fleet in kept_fleets(tx)}
        for fleet_id, mark in fleets.items():
            before, due = self._seen.get(fleet_id, (None, None))
            if mark != before or (due is not None and due <= now):
                guarded(f"fleet {fleet_id}", partial(self._look, fleet_id))
        self._seen = {fleet_id: seen for fleet_id, seen in self._seen.items() if fleet_id in fleets}
        self._set_alarm(now)

    def _look(self, fleet_id: str) -> None:
        """Until there is nothing more to do at this moment."""
        due: datetime | None
        found = None
        while True:
            with self.database.write() as tx:
                due = self.keep(tx, fleet_id, found)
                fleet = tx.get(Fleet, id=fleet_id)
                mark = self.mark(tx, fleet) if fleet is not None else None
                now = tx.now
            if due is None or now < due:
                break
            with self.database.read() as tx:
                found = self.survey(tx, fleet_id, found)
        # Only now: after a look that failed, nothing is known.
        self._seen[fleet_id] = (mark, due)

    def _set_alarm(self, now: datetime) -> None:
        """Each time: an alarm is forgotten when an earlier one goes off."""
        when = min((due for _, due in self._seen.values() if due is not None), default=None)
        if when is not None:
            self.wake_in((when - now + MARGIN).total_seconds())
