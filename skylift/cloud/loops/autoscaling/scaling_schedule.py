"""Scheduled actions, carried out when they are due. What was missed while the cloud was away is made up for, once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from skylift.cloud.domain.scaling_group import ScalingGroup, ScheduledAction, at, new_activity
from skylift.cloud.loops.guard import guarded
from skylift.cloud.store.database import Tx

MINUTE = timedelta(minutes=1)

NextTime = Callable[[str, str, datetime], datetime | None]
"""(cron expression, time zone, moment) -> the first time after the moment at which the expression is due."""


def due(tx: Tx, next_time: NextTime) -> list[ScheduledAction]:
    """The due actions, in the order of the last time of each: the group is then as if none had been missed."""
    found: list[tuple[datetime, ScheduledAction]] = []
    for action in tx.find(ScheduledAction):
        if action.due and action.due <= tx.now:
            last = guarded(
                f"scheduled action {action.name} of {action.group}",
                partial(_last_due, action, action.due, tx.now, next_time),
            )
            found.append((last or action.due, action))
    return [action for _, action in sorted(found, key=lambda one: one[0])]


def _last_due(action: ScheduledAction, first: datetime, now: datetime, next_time: NextTime) -> datetime:
    """The last time from `first` to now, found by halves: an action that recurs each minute may have missed months."""
    until = now if action.end is None else min(now, action.end)
    last = first
    while action.recurrence and until - last >= MINUTE:
        middle = last + (until - last) / 2
        following = next_time(action.recurrence, action.zone, middle)
        if following is not None and following <= until:
            last = following
        else:
            until = middle
    return last


def next_due(tx: Tx) -> list[datetime]:
    return [action.due for action in tx.find(ScheduledAction) if action.due]


def carry_out(tx: Tx, action: ScheduledAction, next_time: NextTime) -> None:
    """Carries a due action out and sets its next time. Does nothing if the action was changed since it was read."""
    if tx.get(ScheduledAction, group=action.group, name=action.name) != action:
        return
    group = tx.get(ScalingGroup, name=action.group)
    if group is not None and group.runs("ScheduledActions") and not group.deleting:
        _resize(tx, group, action)
    following = next_time(action.recurrence, action.zone, tx.now) if action.recurrence else None
    if following is None or (action.end is not None and following > action.end):
        tx.remove(action)
    else:
        tx.save(replace(action, due=following))


def _resize(tx: Tx, group: ScalingGroup, action: ScheduledAction) -> None:
    least = group.min_size if action.min_size is None else action.min_size
    most = group.max_size if action.max_size is None else action.max_size
    desired = min(max(group.desired, least), most) if action.desired is None else action.desired
    if not least <= desired <= most:
        why = f"the scheduled action {action.name} wants min: {least}, max: {most}, desired: {desired}"
        activity = new_activity(group, f"Executing scheduled action {action.name}", at(tx.now, why), tx.now)
        message = f"Desired capacity:{desired} must be between the specified min size:{least} and max size:{most}"
        tx.add(activity.finished(tx.now, "Failed", message))
        return
    why = f"a scheduled action update of AutoScalingGroup constraints to min: {least}, max: {most}, desired: {desired}"
    tx.save(replace(group, min_size=least, max_size=most).resized(desired, why, tx.now))
