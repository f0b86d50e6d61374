"""Where schedules are kept, with their groups and the invocations that are under way."""

from __future__ import annotations

from datetime import timedelta

from skylift.cloud.domain.schedule import Invocation, Schedule, ScheduleGroup, ScheduleToken
from skylift.cloud.store.database import Tx
from skylift.cloud.store.mapping import table, to_column

table(ScheduleGroup, "schedule_groups", key=("name",))
table(Schedule, "schedules", key=("group", "name"))
table(Invocation, "schedule_invocations", key=("id",))
table(ScheduleToken, "schedule_tokens", key=("operation", "token"))

REMEMBERED = timedelta(days=1)


def forget_tokens(tx: Tx) -> None:
    """Remove tokens that were used so long ago that no client repeats the request any more."""
    tx.execute("DELETE FROM schedule_tokens WHERE used < ?", to_column(tx.now - REMEMBERED))
