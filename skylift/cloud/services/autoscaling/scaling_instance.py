"""Instances of Auto Scaling groups: described, taken out, put aside, protected and brought in from elsewhere."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.instance import Instance
from skylift.cloud.domain.scaling_group import (
    COUNTED,
    GROUP_TAG,
    LifecycleState,
    ScalingActivity,
    ScalingGroup,
    ScalingMember,
    at,
    is_reached,
    new_activity,
    new_member,
    units,
)
from skylift.cloud.services.api.operation import Nothing
from skylift.cloud.services.autoscaling.operation import GROUP, PAGES, reads, writes
from skylift.cloud.services.autoscaling.scaling_activity import view as activity_view
from skylift.cloud.services.autoscaling.scaling_group import member_view
from skylift.cloud.services.autoscaling.scaling_rules import (
    changeable_group,
    invalid,
    on_instances_group,
    page,
    require_member,
    require_members,
)
from skylift.cloud.store.database import Tx
from skylift.cloud.store.scaling_group import take_out

if TYPE_CHECKING:
    from aws_shapes import autoscaling

USER_HEALTH = "a user health-check"


def describe(
    tx: Tx, _caller: Caller, params: autoscaling.DescribeAutoScalingInstancesType
) -> autoscaling.AutoScalingInstancesType:
    ids = params.get("InstanceIds") or []
    rows = [row for row in tx.find(ScalingMember) if not ids or row.instance_id in ids]
    chosen, more = page(params, sorted(rows, key=_id), _id)
    shown: list[autoscaling.AutoScalingInstanceDetails] = [
        {
            **member_view(row),
            "AutoScalingGroupName": row.group,
            "HealthStatus": "UNHEALTHY" if row.unhealthy else "HEALTHY",
        }
        for row in chosen
    ]
    return {"AutoScalingInstances": shown, **more}


def terminate(
    tx: Tx, _caller: Caller, params: autoscaling.TerminateInstanceInAutoScalingGroupType
) -> autoscaling.ActivityType:
    if not params.get("InstanceId"):
        raise invalid("The request must contain the parameter InstanceId")
    member = require_member(tx, None, params["InstanceId"])
    group = changeable_group(tx, member.group)
    if member.state.startswith("Terminating"):
        raise ServiceError("ScalingActivityInProgress", f"The instance {member.instance_id} is {member.state}.")
    cause = f"instance {member.instance_id} was taken out of service in response to a user request"
    # An instance in standby is not part of the desired capacity.
    if params["ShouldDecrementDesiredCapacity"] and member.state in COUNTED:
        capacity = _capacity(tx, group)
        if capacity - member.units < group.min_size:
            now = f"desiredSize equals minSize ({group.min_size})"
            if group.desired != group.min_size:
                now = f"the group has {capacity}, the instance is {member.units} of it, and minSize is {group.min_size}"
            raise invalid(
                f"Currently, {now}. Terminating instance without replacement "
                "will violate group's min size constraint. Either set shouldDecrementDesiredCapacity flag to false or "
                "lower group's min size."
            )
        desired = _lowered(group, capacity, member)
        cause += f", shrinking the capacity from {group.desired} to {desired}"
        group = replace(group, desired=desired, scaled=tx.now, scaling=True)
    # What failed before, for a balance that cannot be, say, does not hold up a successor that is asked for.
    tx.save(replace(group, failures=0, retry=None))
    return {"Activity": activity_view(take_out(tx, group, member, at(tx.now, cause)))}


def attach(tx: Tx, _caller: Caller, params: autoscaling.AttachInstancesQuery) -> Nothing:
    group = changeable_group(tx, params["AutoScalingGroupName"])
    ids = list(dict.fromkeys(params.get("InstanceIds") or []))
    instances = [_attachable(tx, group, one) for one in ids]
    weights = [group.weights.get(instance.type, 1) for instance in instances]
    _refuse_too_many(tx, group, sum(weights), f"attach {len(instances)} instance(s)")
    for instance, weight in zip(instances, weights, strict=True):
        cause = (
            f"instance {instance.id} was attached in response to a user request, "
            f"increasing the capacity from {group.desired} to {group.desired + weight}"
        )
        group = replace(group, desired=group.desired + weight, scaled=tx.now)
        activity = _begin(tx, group, f"Attaching an existing EC2 instance: {instance.id}", cause, instance)
        tx.add(new_member(instance, group, activity, tx.now, {}))
        tx.save(replace(instance, tags={**instance.tags, GROUP_TAG: group.name}))
    tx.save(group)
    return {}


def detach(tx: Tx, _caller: Caller, params: autoscaling.DetachInstancesQuery) -> autoscaling.DetachInstancesAnswer:
    """They go on running, as instances of no group."""
    what = "Detaching EC2 instance"
    return {"Activities": _set_aside(tx, params, ("InService", "Standby"), "Detaching", "detached", what)}


def enter_standby(tx: Tx, _caller: Caller, params: autoscaling.EnterStandbyQuery) -> autoscaling.EnterStandbyAnswer:
    what = "Moving EC2 instance to Standby"
    return {"Activities": _set_aside(tx, params, ("InService",), "EnteringStandby", "moved to standby", what)}


def exit_standby(tx: Tx, _caller: Caller, params: autoscaling.ExitStandbyQuery) -> autoscaling.ExitStandbyAnswer:
    group = changeable_group(tx, params["AutoScalingGroupName"])
    members = require_members(tx, group, params.get("InstanceIds") or [])
    for member in members:
        if member.state != "Standby":
            raise invalid(f"The instance {member.instance_id} is not in Standby.")
    _refuse_too_many(tx, group, units(members), f"bring {len(members)} instance(s) back into service")
    activities = []
    for member in members:
        cause = (
            f"instance {member.instance_id} was moved out of standby in response to a user request, "
            f"increasing the capacity from {group.desired} to {group.desired + member.units}"
        )
        group = replace(group, desired=group.desired + member.units, scaled=tx.now)
        what = f"Moving EC2 instance out of Standby: {member.instance_id}"
        activity = _begin(tx, group, what, cause, member, status="PreInService", progress=30)
        tx.save(replace(member, state="Pending", activity_id=activity.id, since=tx.now, unhealthy=""))
        activities.append(activity_view(activity))
    tx.save(group)
    return {"Activities": activities}


def set_protection(tx: Tx, _caller: Caller, params: autoscaling.SetInstanceProtectionQuery) -> Nothing:
    group = changeable_group(tx, params["AutoScalingGroupName"])
    for member in require_members(tx, group, params["InstanceIds"]):
        if member.state.startswith("Terminating"):
            raise invalid(f"The instance {member.instance_id} is {member.state}.")
        tx.save(replace(member, protected=params["ProtectedFromScaleIn"]))
    return {}


def set_health(tx: Tx, _caller: Caller, params: autoscaling.SetInstanceHealthQuery) -> Nothing:
    """Within the grace period of a new instance, only a request that does not respect it says something."""
    member = require_member(tx, None, params["InstanceId"])
    group = changeable_group(tx, member.group)
    status = params["HealthStatus"].capitalize()
    if status not in ("Healthy", "Unhealthy"):
        raise invalid(f"HealthStatus has to be Healthy or Unhealthy, not {params['HealthStatus']}.")
    if params.get("ShouldRespectGracePeriod", True) and _in_grace(tx, group, member):
        return {}
    tx.save(replace(member, unhealthy=USER_HEALTH if status == "Unhealthy" else ""))
    return {}


def _in_grace(tx: Tx, group: ScalingGroup, member: ScalingMember) -> bool:
    return member.in_service is None or tx.now < member.in_service + timedelta(seconds=group.grace)


def _set_aside(
    tx: Tx,
    params: autoscaling.DetachInstancesQuery | autoscaling.EnterStandbyQuery,
    states: tuple[LifecycleState, ...],
    target: LifecycleState,
    done: str,
    what: str,
) -> list[autoscaling.Activity]:
    group = changeable_group(tx, params["AutoScalingGroupName"])
    members = require_members(tx, group, params.get("InstanceIds") or [])
    for member in members:
        if member.state not in states:
            raise invalid(f"The instance {member.instance_id} is not in {' or '.join(states)}.")
    decrement = params["ShouldDecrementDesiredCapacity"]
    # An instance in standby is not part of the desired capacity.
    counting = [member for member in members if member.state == "InService"]
    capacity = _capacity(tx, group)
    if decrement and capacity - units(counting) < group.min_size:
        raise _no_room(group, f"have {len(counting)} instance(s) {done}")
    activities = []
    for member in members:
        cause = f"instance {member.instance_id} was {done} in response to a user request"
        if decrement and member.state == "InService":
            desired = _lowered(group, capacity, member)
            capacity -= member.units
            cause += f", shrinking the capacity from {group.desired} to {desired}"
            group = replace(group, desired=desired, scaled=tx.now)
        activity = _begin(tx, group, f"{what}: {member.instance_id}", cause, member)
        tx.save(replace(member, state=target, activity_id=activity.id, since=tx.now))
        activities.append(activity_view(activity))
    tx.save(group)
    return activities


def _capacity(tx: Tx, group: ScalingGroup) -> int:
    """What the group has, with what whole instances are above the desired capacity; else what it is to have."""
    there = [member for member in tx.find(ScalingMember, group=group.name) if member.state in COUNTED]
    return units(there) if is_reached(group, there) else group.desired


def _lowered(group: ScalingGroup, capacity: int, member: ScalingMember) -> int:
    """The desired capacity without this instance: less by its weight, or else what the others are."""
    less = group.desired - member.units
    return less if less >= group.min_size else min(group.desired, capacity - member.units)


def _begin(
    tx: Tx,
    group: ScalingGroup,
    what: str,
    cause: str,
    where: Instance | ScalingMember,
    *,
    status: str = "InProgress",
    progress: int = 50,
) -> ScalingActivity:
    """An activity of this moment, on an instance in this place."""
    activity = new_activity(
        group,
        what,
        at(tx.now, cause),
        tx.now,
        zone=where.zone,
        subnet_id=where.subnet_id,
        status=status,
        progress=progress,
    )
    tx.add(activity)
    return activity


def _attachable(tx: Tx, group: ScalingGroup, instance_id: str) -> Instance:
    instance = tx.get(Instance, id=instance_id)
    if instance is None:
        raise invalid(f"Invalid Instance ID(s): [{instance_id}] specified")
    taken = tx.get(ScalingMember, instance_id=instance_id)
    if taken is not None:
        raise invalid(f"Instance {instance_id} is already part of AutoScalingGroup:{taken.group}")
    if instance.state != "running":
        raise invalid(f"Instance {instance_id} is not in correct state. It is {instance.state}, not running.")
    if instance.zone not in group.zones:
        raise invalid(f"The availability zone of instance {instance_id}, {instance.zone}, is not one of the group's.")
    return instance


def _refuse_too_many(tx: Tx, group: ScalingGroup, more: int, what: str) -> None:
    """A group may have one more than it wants for a while, whose predecessor has still to go. What whole instances
    are above the desired capacity is no such one."""
    if group.desired + more > group.max_size:
        raise _no_room(group, what)
    there = [member for member in tx.find(ScalingMember, group=group.name) if member.state in COUNTED]
    if not is_reached(group, there) and units(there) + more > group.max_size:
        raise ServiceError(
            "ResourceContention",
            f"AutoScalingGroup {group.name} is replacing instances, and has no room for more until it has done so.",
        )


def _no_room(group: ScalingGroup, what: str) -> ServiceError:
    return invalid(
        f"AutoScalingGroup {group.name} has min-size={group.min_size}, max-size={group.max_size}, and "
        f"desired-size={group.desired}. To {what}, please update the AutoScalingGroup sizes appropriately."
    )


def _id(row: ScalingMember) -> str:
    return row.instance_id


OPERATIONS = (
    reads("DescribeAutoScalingInstances", describe, f"InstanceIds {PAGES}"),
    writes(
        "TerminateInstanceInAutoScalingGroup",
        terminate,
        "InstanceId ShouldDecrementDesiredCapacity",
        on_instances_group("TerminateInstanceInAutoScalingGroup"),
    ),
    writes("AttachInstances", attach, f"{GROUP} InstanceIds"),
    writes("DetachInstances", detach, f"{GROUP} InstanceIds ShouldDecrementDesiredCapacity"),
    writes("EnterStandby", enter_standby, f"{GROUP} InstanceIds ShouldDecrementDesiredCapacity"),
    writes("ExitStandby", exit_standby, f"{GROUP} InstanceIds"),
    writes("SetInstanceProtection", set_protection, f"{GROUP} InstanceIds ProtectedFromScaleIn"),
    writes(
        "SetInstanceHealth",
        set_health,
        "InstanceId HealthStatus ShouldRespectGracePeriod",
        on_instances_group("SetInstanceHealth"),
    ),
)
