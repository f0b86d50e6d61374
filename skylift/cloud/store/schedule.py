"""Where schedules are kept, with their groups and the invocations that are under way."""

from __future__ import annotations

from datetime import datetime, timedelta

from skylift.cloud.domain.schedule import Invocation, RefusedCall, Schedule, ScheduleGroup, ScheduleToken
from skylift.cloud.store.database import Tx
from skylift.cloud.store.mapping import table, to_column

table(ScheduleGroup, "schedule_groups", key=("name",))
table(Schedule, "schedules", key=("group", "name"))
table(Invocation, "schedule_invocations", key=("id",))
table(ScheduleToken, "schedule_tokens", key=("operation", "token"))
table(RefusedCall, "refused_calls", key=("id",))

REMEMBERED = timedelta(days=1)
REFUSALS_REMEMBERED = timedelta(days=90)
"""As in CloudTrail's event history."""


def forget_tokens(tx: Tx) -> None:
    """Remove tokens that were used so long ago that no client repeats the request any more."""
    tx.forget(ScheduleToken, "used < ?", to_column(tx.now - REMEMBERED))


def forget_groups(tx: Tx) -> bool:
    """Remove some schedules of groups that are being deleted, or those groups; whether there may be more."""
    schedules = """"group" IN (SELECT name FROM schedule_groups WHERE state = 'DELETING')"""
    return tx.forget(Schedule, schedules) or tx.forget(ScheduleGroup, "state = 'DELETING'")


def forget_refused(tx: Tx) -> bool:
    return tx.forget(RefusedCall, "at < ?", to_column(tx.now - REFUSALS_REMEMBERED))


def refused_calls(
    tx: Tx,
    name: str | None,
    role_arn: str | None,
    between: tuple[datetime | None, datetime | None],
    skipped: int,
    most: int,
) -> list[RefusedCall]:
    """The newest first; of an operation, or of a role."""
    start, end = ("" if between[0] is None else to_column(between[0]), to_column(between[1] or tx.now))
    return tx.select(
        RefusedCall,
        "WHERE at >= ? AND at <= ? AND name = coalesce(?, name) AND role_arn = coalesce(?, role_arn) "
        "ORDER BY at DESC, rowid DESC LIMIT ? OFFSET ?",
        *(start, end, name, role_arn, most, skipped),
    )
