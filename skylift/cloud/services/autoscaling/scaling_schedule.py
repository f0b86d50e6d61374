"""Scheduled actions: a group is given other sizes at a time, once or again and again.

https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-scheduled-scaling.html
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.scaling_group import ScalingGroup, ScheduledAction
from skylift.cloud.services.api.operation import Nothing, below
from skylift.cloud.services.autoscaling.operation import GROUP, PAGES, reads, writes
from skylift.cloud.services.autoscaling.recurrence import RecurrenceError, next_time
from skylift.cloud.services.autoscaling.scaling_rules import changeable_group, invalid, page, require_group
from skylift.cloud.store.database import Tx

MOST_ACTIONS = 125
MOST_AT_ONCE = 50
ACTION = "ScheduledActionName StartTime EndTime Recurrence MinSize MaxSize DesiredCapacity TimeZone"

if TYPE_CHECKING:
    from aws_shapes import autoscaling

    PutAction = autoscaling.PutScheduledUpdateGroupActionType | autoscaling.ScheduledUpdateGroupActionRequest


def put(tx: Tx, caller: Caller, params: autoscaling.PutScheduledUpdateGroupActionType) -> Nothing:
    _put(tx, caller, changeable_group(tx, params["AutoScalingGroupName"]), params)
    return {}


def put_many(
    tx: Tx, caller: Caller, params: autoscaling.BatchPutScheduledUpdateGroupActionType
) -> autoscaling.BatchPutScheduledUpdateGroupActionAnswer:
    """Put each action by itself: the answer lists those that are refused; the others are put all the same."""
    group = changeable_group(tx, params["AutoScalingGroupName"])
    if len(params["ScheduledUpdateGroupActions"]) > MOST_AT_ONCE:
        raise invalid(f"At most {MOST_AT_ONCE} scheduled actions can be put in one request.")
    failed = []
    for wanted in params["ScheduledUpdateGroupActions"]:
        try:
            _put(tx, caller, group, wanted)
        except ServiceError as error:
            failed.append(_failure(wanted["ScheduledActionName"], error))
    return {"FailedScheduledUpdateGroupActions": failed}


def describe(
    tx: Tx, _caller: Caller, params: autoscaling.DescribeScheduledActionsType
) -> autoscaling.ScheduledActionsType:
    name, names = params.get("AutoScalingGroupName"), params.get("ScheduledActionNames") or []
    if name is not None:
        require_group(tx, name)
    rows = tx.find(ScheduledAction, group=name) if name is not None else tx.find(ScheduledAction)
    if names:
        found = [row for row in rows if row.name in names]
    else:
        since, until = params.get("StartTime"), params.get("EndTime")
        found = [row for row in rows if _between(row.due, since, until)]
    found.sort(key=lambda row: (row.due is None, row.due, row.group, row.name))
    chosen, more = page(params, found, lambda row: row.arn)
    return {"ScheduledUpdateGroupActions": [_view(row) for row in chosen], **more}


def delete(tx: Tx, _caller: Caller, params: autoscaling.DeleteScheduledActionType) -> Nothing:
    group = changeable_group(tx, params["AutoScalingGroupName"])
    tx.remove(_required(tx, group, params["ScheduledActionName"]))
    return {}


def delete_many(
    tx: Tx, _caller: Caller, params: autoscaling.BatchDeleteScheduledActionType
) -> autoscaling.BatchDeleteScheduledActionAnswer:
    group = changeable_group(tx, params["AutoScalingGroupName"])
    failed = []
    for name in dict.fromkeys(params["ScheduledActionNames"]):
        try:
            tx.remove(_required(tx, group, name))
        except ServiceError as error:
            failed.append(_failure(name, error))
    return {"FailedScheduledActions": failed}


def _put(tx: Tx, caller: Caller, group: ScalingGroup, params: PutAction) -> None:
    """One of the same name is replaced."""
    name = params["ScheduledActionName"]
    before = tx.get(ScheduledAction, group=group.name, name=name)
    if before is None and len(tx.find(ScheduledAction, group=group.name)) >= MOST_ACTIONS:
        raise ServiceError("LimitExceeded", f"A group can have at most {MOST_ACTIONS} scheduled actions.")
    least, most, desired = params.get("MinSize"), params.get("MaxSize"), params.get("DesiredCapacity")
    _refuse_sizes(least, most, desired)
    start, end = params.get("StartTime"), params.get("EndTime")
    if start is not None and start <= tx.now:
        raise invalid("Given start time is in the past")
    if end is not None and end <= (start or tx.now):
        raise invalid("Given end time must be after the start time, and not in the past")
    due = _first_time(params, start, tx.now)
    if due is None or (end is not None and due > end):
        raise invalid("There is no time at which the scheduled action would run.")
    account = f"arn:aws:autoscaling:{caller.region}:{caller.account}:scheduledUpdateGroupAction"
    action = ScheduledAction(
        group=group.name,
        name=name,
        arn=before.arn
        if before
        else f"{account}:{uuid.uuid4()}:autoScalingGroupName/{group.name}:scheduledActionName/{name}",
        start=start,
        end=end,
        recurrence=params.get("Recurrence", ""),
        zone=params.get("TimeZone", ""),
        min_size=least,
        max_size=most,
        desired=desired,
        due=due,
    )
    if before is None:
        tx.add(action)
    else:
        tx.save(action)


def _first_time(params: PutAction, start: datetime | None, now: datetime) -> datetime | None:
    recurrence, zone = params.get("Recurrence"), params.get("TimeZone", "")
    if recurrence is None:
        if zone:
            raise invalid("A TimeZone goes with a Recurrence.")
        if start is None:
            raise invalid("Either StartTime or Recurrence has to be given.")
        return start
    try:
        return next_time(recurrence, zone, start - timedelta(microseconds=1) if start else now)
    except RecurrenceError as error:
        raise invalid(f"Given recurrence string: {recurrence} is invalid: {error}") from error


def _refuse_sizes(least: int | None, most: int | None, desired: int | None) -> None:
    if least is None and most is None and desired is None:
        raise invalid("At least one of MinSize, MaxSize and DesiredCapacity has to be given.")
    if min(size for size in (least, most, desired) if size is not None) < 0:
        raise invalid("Sizes must be greater than or equal to 0.")
    if least is not None and most is not None and least > most:
        raise invalid(f"Max bound, {most}, must be greater than or equal to min bound, {least}")
    if desired is not None and not (least or 0) <= desired <= (desired if most is None else most):
        raise invalid(f"Desired capacity:{desired} must be between the specified min size and max size")


def _between(due: datetime | None, since: datetime | None, until: datetime | None) -> bool:
    if due is None:
        return since is None and until is None
    return (since is None or due >= since) and (until is None or due <= until)


def _required(tx: Tx, group: ScalingGroup, name: str) -> ScheduledAction:
    found = tx.get(ScheduledAction, group=group.name, name=name)
    if found is None:
        raise invalid(f"Scheduled action name not found - {name}")
    return found


def _failure(name: str, error: ServiceError) -> autoscaling.FailedScheduledUpdateGroupActionRequest:
    return {"ScheduledActionName": name, "ErrorCode": error.code, "ErrorMessage": error.message}


def _view(row: ScheduledAction) -> autoscaling.ScheduledUpdateGroupAction:
    return {
        "AutoScalingGroupName": row.group,
        "ScheduledActionName": row.name,
        "ScheduledActionARN": row.arn,
        **({"Time": row.due, "StartTime": row.due} if row.due else {}),
        **({"EndTime": row.end} if row.end else {}),
        **({"Recurrence": row.recurrence} if row.recurrence else {}),
        **({"TimeZone": row.zone} if row.zone else {}),
        **({"MinSize": row.min_size} if row.min_size is not None else {}),
        **({"MaxSize": row.max_size} if row.max_size is not None else {}),
        **({"DesiredCapacity": row.desired} if row.desired is not None else {}),
    }


OPERATIONS = (
    writes("PutScheduledUpdateGroupAction", put, f"{GROUP} {ACTION}"),
    writes("BatchPutScheduledUpdateGroupAction", put_many, f"{GROUP} {below('ScheduledUpdateGroupActions', ACTION)}"),
    reads("DescribeScheduledActions", describe, f"{GROUP} ScheduledActionNames StartTime EndTime {PAGES}"),
    writes("DeleteScheduledAction", delete, f"{GROUP} ScheduledActionName"),
    writes("BatchDeleteScheduledAction", delete_many, f"{GROUP} ScheduledActionNames"),
)
