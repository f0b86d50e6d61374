"""Where schedules are kept, with their groups and what is being invoked."""

from __future__ import annotations

from skylift.cloud.domain.schedule import Invocation, Schedule, ScheduleGroup
from skylift.cloud.store.mapping import table

table(ScheduleGroup, "schedule_groups", key=("name",))
table(Schedule, "schedules", key=("group", "name"))
table(Invocation, "schedule_invocations", key=("id",))
