"""Where Auto Scaling's groups are kept, with what they launch by, their instances, activities and policies.

With its group a policy goes, and with a policy the alarms that were made for it.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import timedelta

from skylift.cloud.domain import scaling_group
from skylift.cloud.domain.launch_configuration import LaunchConfiguration
from skylift.cloud.domain.scaling_policy import ScalingPolicy
from skylift.cloud.store.database import Tx
from skylift.cloud.store.mapping import table

table(scaling_group.ScalingGroup, "scaling_groups", key=("name",))
table(scaling_group.ScalingMember, "scaling_members", key=("instance_id",))
table(scaling_group.ScalingActivity, "scaling_activities", key=("id",))
table(scaling_group.LifecycleHook, "lifecycle_hooks", key=("group", "name"))
table(scaling_group.ScheduledAction, "scheduled_actions", key=("group", "name"))
table(ScalingPolicy, "scaling_policies", key=("group", "name"))
table(LaunchConfiguration, "launch_configurations", key=("name",))

KEPT = timedelta(days=42)
"""Activities are described for six weeks."""


def finish(tx: Tx, activity_id: str, status: str = "Successful", message: str = "") -> None:
    """Writes down how an activity ended. Does nothing if it has ended before, or is gone."""
    activity = tx.get(scaling_group.ScalingActivity, id=activity_id)
    if activity is not None and activity.ended is None:
        tx.save(activity.finished(tx.now, status, message))


def forget_activities(tx: Tx) -> bool:
    return tx.forget(scaling_group.ScalingActivity, "started < ?", (tx.now - KEPT).isoformat())


def in_progress(tx: Tx, group: scaling_group.ScalingGroup) -> bool:
    """Whether the last change of the capacity goes on: what cannot be launched, or not be ended, is not under way."""
    if not group.scaling:
        return False
    members = tx.find(scaling_group.ScalingMember, group=group.name)
    if any(member.state.startswith(("Pending", "Terminating")) for member in members):
        return True
    counted = [member for member in members if member.state in scaling_group.COUNTED]
    excess = scaling_group.units(counted) - group.desired
    if excess < 0:
        return group.runs("Launch") and not group.failures
    if scaling_group.is_reached(group, counted) or not group.runs("Terminate"):
        return False
    return any(one.units <= excess and not one.protected for one in counted)


def in_cooldown(tx: Tx, group: scaling_group.ScalingGroup, seconds: int) -> bool:
    if in_progress(tx, group):
        return True
    return group.scaled is not None and (tx.now - group.scaled).total_seconds() < seconds


def take_out(
    tx: Tx, group: scaling_group.ScalingGroup, member: scaling_group.ScalingMember, cause: str, *, hooks: bool = True
) -> scaling_group.ScalingActivity:
    """An instance begins its way out of the group, which may lead by lifecycle hooks."""
    finish(tx, member.activity_id, "Cancelled")
    waits = hook_waits(tx, group, scaling_group.TERMINATING) if hooks else ()
    activity = scaling_group.new_activity(
        group,
        f"Terminating EC2 instance: {member.instance_id}",
        cause,
        tx.now,
        zone=member.zone,
        subnet_id=member.subnet_id,
        status="MidLifecycleAction" if waits else "InProgress",
    )
    tx.add(activity)
    state: scaling_group.LifecycleState = "Terminating:Wait" if waits else "Terminating"
    tx.save(replace(member, state=state, activity_id=activity.id, since=tx.now, waits=waits))
    return activity


def hook_waits(tx: Tx, group: scaling_group.ScalingGroup, transition: str) -> tuple[scaling_group.HookWait, ...]:
    """The hooks that an instance has to wait for now. Each ends at the latest 48 hours from now, or after a hundred
    heartbeats.
    """
    return tuple(
        scaling_group.HookWait(
            hook=hook.name,
            token=str(uuid.uuid4()),
            deadline=tx.now + timedelta(seconds=hook.heartbeat),
            last=tx.now + timedelta(seconds=hook.longest),
            heartbeat=hook.heartbeat,
            default=hook.default,
        )
        for hook in tx.find(scaling_group.LifecycleHook, group=group.name, transition=transition)
    )
