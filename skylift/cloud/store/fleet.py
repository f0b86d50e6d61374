"""Where fleets are kept, and which of them are due."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from skylift.cloud.domain.fleet import Fleet, FleetEvent, FleetMember, FleetState
from skylift.cloud.domain.instance import Instance
from skylift.cloud.store.database import Tx
from skylift.cloud.store.mapping import table, to_column

table(Fleet, "fleets", key=("id",), kept=("configs",))
table(FleetMember, "fleet_members", key=("instance_id",))
table(FleetEvent, "fleet_events", key=("number",))

PROTECTED = "state NOT IN ('shutting-down', 'terminated') AND (termination_protected OR stop_protected)"
ENDS = "state NOT IN ('shutting-down', 'terminated') AND NOT (termination_protected OR stop_protected)"
"""Of the instances that a fleet has left: those that may not be terminated, and those that may."""
REMEMBERED = timedelta(hours=48)
"""DescribeFleets shows a deleted fleet for this long; a fleet's history goes back as far."""


def kept_fleets(tx: Tx) -> list[Fleet]:
    """Fleets that the loop has to look after: all except deleted fleets and active instant fleets."""
    return tx.select(Fleet, "WHERE state != 'deleted' AND NOT (type = 'instant' AND state = 'active') ORDER BY rowid")


def state_of(tx: Tx, fleet_id: str) -> FleetState:
    """Without the rest of its row: that may have thousands of overrides, which take long to read."""
    return next((row[0] for row in tx.execute("SELECT state FROM fleets WHERE id = ?", fleet_id)), "deleted")


def save_only(tx: Tx, fleet: Fleet, column: Literal["errors", "state"]) -> None:
    tx.execute(f"UPDATE fleets SET {column} = ? WHERE id = ?", to_column(getattr(fleet, column)), fleet.id)  # noqa: S608


def members_left(tx: Tx, fleet_id: str) -> list[FleetMember]:
    """The instances of a fleet that are not known to have ended, in the order of their launch."""
    return tx.select(FleetMember, "WHERE fleet_id = ? AND ended IS NULL ORDER BY rowid", fleet_id)


def instances_left(tx: Tx, fleet_id: str, only: str = "true") -> dict[str, Instance]:
    """The instances of `members_left` by id, without forgotten ones."""
    members = "SELECT instance_id FROM fleet_members WHERE fleet_id = ? AND ended IS NULL"
    return {row.id: row for row in tx.select(Instance, f"WHERE id IN ({members}) AND {only}", fleet_id)}


def events_since(tx: Tx, fleet_id: str, start: datetime) -> list[FleetEvent]:
    return tx.select(FleetEvent, "WHERE fleet_id = ? AND at >= ? ORDER BY number", fleet_id, to_column(start))


def last_event(tx: Tx, fleet_id: str) -> FleetEvent | None:
    found = tx.select(FleetEvent, "WHERE fleet_id = ? ORDER BY number DESC LIMIT 1", fleet_id)
    return found[0] if found else None


def forget_fleets(tx: Tx) -> bool:
    """Drops older history, fleets that ended before, and the rows of their members.

    What a fleet launches once it is not to launch again: it goes on knowing of all that it had.
    """
    before, gone = to_column(tx.now - REMEMBERED), "fleet_id NOT IN (SELECT id FROM fleets)"
    maintained = "fleet_id IN (SELECT id FROM fleets WHERE type = 'maintain')"
    return any(
        [
            tx.forget(FleetEvent, "at < ?", before),
            tx.forget(Fleet, "ended IS NOT NULL AND ended < ?", before),
            tx.forget(FleetMember, gone),
            tx.forget(FleetEvent, gone),
            tx.forget(FleetMember, f"ended < ? AND {maintained}", before),
        ]
    )
