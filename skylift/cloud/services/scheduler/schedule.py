"""Schedules: when, what, and with whose permissions.

https://docs.aws.amazon.com/scheduler/latest/APIReference/API_CreateSchedule.html
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, cast

from skylift.catalogue.schedule_expression import ExpressionError, Once, next_time, parse
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.schedule import Completion, Schedule, ScheduleState
from skylift.cloud.services.api.operation import Check, Checks, Nothing, Params
from skylift.cloud.services.scheduler import operation, target
from skylift.cloud.services.scheduler.group import DEFAULT, require_group
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import scheduler

    Request = scheduler.CreateScheduleInput | scheduler.UpdateScheduleInput

MOST_SCHEDULES = 10_000
"""AWS's limit is a million. Here each run of the loops reads all schedules."""
LATE_START = timedelta(minutes=5)


def create(tx: Tx, caller: Caller, params: scheduler.CreateScheduleInput) -> scheduler.CreateScheduleOutput:
    def act() -> str:
        group, name = params.get("GroupName", DEFAULT), params["Name"]
        if require_group(tx, group).state == "DELETING":
            raise operation.conflict(f"Schedule group {group} is being deleted.")
        if tx.get(Schedule, group=group, name=name) is not None:
            raise operation.conflict(f"Schedule {name} already exists.")
        if tx.count(Schedule) >= MOST_SCHEDULES:
            raise ServiceError("ServiceQuotaExceededException", f"There are {MOST_SCHEDULES} schedules already.")
        made = _schedule(tx, caller, params, tx.now)
        tx.add(made)
        return made.arn

    return {
        "ScheduleArn": operation.once(
            tx, "CreateSchedule", params, act, lambda arn: tx.get(Schedule, arn=arn) is not None
        )
    }


def update(tx: Tx, caller: Caller, params: scheduler.UpdateScheduleInput) -> scheduler.UpdateScheduleOutput:
    """Values that the request leaves out go back to their defaults."""

    def act() -> str:
        before = _required(tx, params.get("GroupName", DEFAULT), params["Name"])
        changed = _schedule(tx, caller, params, before.created)
        tx.save(changed)
        return changed.arn

    return {"ScheduleArn": operation.once(tx, "UpdateSchedule", params, act)}


def get(tx: Tx, _caller: Caller, params: scheduler.GetScheduleInput) -> scheduler.GetScheduleOutput:
    found = _required(tx, params.get("GroupName", DEFAULT), params["Name"])
    return {
        "Arn": found.arn,
        "GroupName": found.group,
        "Name": found.name,
        "ScheduleExpression": found.expression,
        "ScheduleExpressionTimezone": found.zone,
        "State": found.state,
        "ActionAfterCompletion": found.after,
        "CreationDate": found.created,
        "LastModificationDate": found.modified,
        "Target": target.view(found.target),
        "FlexibleTimeWindow": {"Mode": "OFF"}
        if found.window is None
        else {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": found.window},
        **({"StartDate": found.start} if found.start else {}),
        **({"EndDate": found.end} if found.end else {}),
        **({"Description": found.description} if found.description is not None else {}),
    }


def list_schedules(tx: Tx, _caller: Caller, params: scheduler.ListSchedulesInput) -> scheduler.ListSchedulesOutput:
    """The schedules of one group, or of all groups if none is named."""
    group, prefix, state = params.get("GroupName"), params.get("NamePrefix", ""), params.get("State")
    if group is not None:
        require_group(tx, group)
    found = [
        each
        for each in (tx.find(Schedule) if group is None else tx.find(Schedule, group=group))
        if each.name.startswith(prefix) and state in (None, each.state)
    ]
    chosen, more = operation.paged(found, params, lambda each: f"{each.group}/{each.name}")
    return {"Schedules": [_summary(each) for each in chosen], **more}


def delete(tx: Tx, _caller: Caller, params: scheduler.DeleteScheduleInput) -> Nothing:
    """Attempts that are under way are given up."""

    def act() -> str:
        tx.remove(_required(tx, params.get("GroupName", DEFAULT), params["Name"]))
        return ""

    operation.once(tx, "DeleteSchedule", params, act)
    return {}


def _schedule(tx: Tx, caller: Caller, params: Request, created: datetime) -> Schedule:
    group, name = params.get("GroupName", DEFAULT), params["Name"]
    expression, zone = params["ScheduleExpression"], params.get("ScheduleExpressionTimezone", "UTC")
    start, end = params.get("StartDate"), params.get("EndDate")
    _check_dates(tx.now, start, end)
    state = cast(ScheduleState, params.get("State", "ENABLED"))
    anchor = start or tx.now
    try:
        parsed = parse(expression, zone)
    except ExpressionError as error:
        raise operation.invalid(f"Invalid Schedule Expression {expression}. {_sentence(error)}") from error
    # A rate without a start begins at once; AWS takes no notice of the start of what happens once.
    first = tx.now if isinstance(parsed, Once) else max(anchor, tx.now)
    due = next_time(expression, zone, first - timedelta(microseconds=1), anchor)
    if state == "ENABLED" and (due is None or (end is not None and due > end)):
        raise operation.invalid(f"Invalid Schedule Expression {expression}. There is no time at which it would be due.")
    return Schedule(
        group=group,
        name=name,
        arn=operation.schedule_arn(caller, group, name),
        expression=expression,
        zone=zone,
        start=start,
        end=end,
        description=params.get("Description"),
        state=state,
        target=target.checked_target(tx, caller, params["Target"], require_group(tx, group).arn),
        window=_window(params["FlexibleTimeWindow"]),
        after=cast(Completion, params.get("ActionAfterCompletion", "NONE")),
        created=created,
        modified=tx.now,
        anchor=anchor,
        due=due if state == "ENABLED" else None,
    )


def _check_dates(now: datetime, start: datetime | None, end: datetime | None) -> None:
    if start is not None and start < now - LATE_START:
        raise operation.invalid("The StartDate you specify cannot be earlier than 5 minutes ago.")
    if end is not None and end <= now:
        raise operation.invalid("The EndDate you specify has to be in the future.")
    if start is not None and end is not None and end <= start:
        raise operation.invalid("The StartDate you specify must come before the EndDate you specify.")


def _window(params: scheduler.FlexibleTimeWindow) -> int | None:
    minutes = params.get("MaximumWindowInMinutes")
    if params["Mode"] == "FLEXIBLE" and minutes is None:
        raise operation.invalid("A FLEXIBLE FlexibleTimeWindow needs MaximumWindowInMinutes.")
    if params["Mode"] == "OFF" and minutes is not None:
        raise operation.invalid("MaximumWindowInMinutes cannot be given where FlexibleTimeWindow is OFF.")
    return minutes


def _required(tx: Tx, group: str, name: str) -> Schedule:
    require_group(tx, group)
    found = tx.get(Schedule, group=group, name=name)
    if found is None:
        raise operation.not_found(f"Schedule {name} does not exist.")
    return found


def _summary(schedule: Schedule) -> scheduler.ScheduleSummary:
    return {
        "Arn": schedule.arn,
        "GroupName": schedule.group,
        "Name": schedule.name,
        "State": schedule.state,
        "CreationDate": schedule.created,
        "LastModificationDate": schedule.modified,
        "Target": {"Arn": schedule.target.arn},
    }


def _sentence(error: Exception) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."


def _on_schedule(action: str, *, passes: bool = False) -> Checks:
    def checks(tx: Tx, caller: Caller, params: Params) -> Iterator[Check]:
        group = params.get("GroupName", DEFAULT)
        yield Check(f"scheduler:{action}", operation.schedule_arn(caller, group, params["Name"]))
        if passes:
            yield Check("iam:PassRole", params["Target"]["RoleArn"], {"iam:PassedToService": target.PRINCIPAL})

    return checks


def _on_list(_tx: Tx, caller: Caller, params: Params) -> Iterator[Check]:
    yield Check("scheduler:ListSchedules", operation.schedule_arn(caller, params.get("GroupName", "*"), "*"))


_SCHEDULE = (
    "Name GroupName ScheduleExpression ScheduleExpressionTimezone StartDate EndDate Description State ClientToken "
    "ActionAfterCompletion FlexibleTimeWindow.Mode FlexibleTimeWindow.MaximumWindowInMinutes Target.Arn Target.RoleArn "
    "Target.Input Target.RetryPolicy.MaximumEventAgeInSeconds Target.RetryPolicy.MaximumRetryAttempts"
)

OPERATIONS = (
    operation.writes("CreateSchedule", create, _SCHEDULE, _on_schedule("CreateSchedule", passes=True)),
    operation.writes("UpdateSchedule", update, _SCHEDULE, _on_schedule("UpdateSchedule", passes=True)),
    operation.reads("GetSchedule", get, "Name GroupName", _on_schedule("GetSchedule")),
    operation.reads("ListSchedules", list_schedules, "GroupName NamePrefix State MaxResults NextToken", _on_list),
    operation.writes("DeleteSchedule", delete, "Name GroupName ClientToken", _on_schedule("DeleteSchedule")),
)
