"""How many instances a group is to have now, and what it does when it has more, or has them in the wrong places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from skylift.cloud.domain.instance import Instance
from skylift.cloud.domain.launch_configuration import LaunchConfiguration
from skylift.cloud.domain.scaling_group import ScalingGroup, ScalingMember, at, is_reached, units
from skylift.cloud.domain.spot import SpotNotice
from skylift.cloud.loops.autoscaling.scaling_choice import Times, counted, is_balanced, victim
from skylift.cloud.store.database import Tx
from skylift.cloud.store.scaling_group import in_progress, take_out

AT_RISK = "an EC2 instance rebalance recommendation"
BALANCED = (
    "instances were launched to balance instances in zones {} with other zones resulting in more than desired number "
    "of instances in the group"
)


def at_rest(tx: Tx, group: ScalingGroup) -> bool:
    """Whether a look at the group would change nothing."""
    members = tx.find(ScalingMember, group=group.name)
    if group.deleting or group.scaling or not is_reached(group, counted(members)) or group.cause:
        return False
    if at_risk(tx, group):
        return False
    for member in members:
        if member.state == "Standby":
            continue
        instance = tx.get(Instance, id=member.instance_id)
        if member.state != "InService" or member.unhealthy or instance is None or instance.state != "running":
            return False
    return not may_balance(tx, group)


def may_balance(tx: Tx, group: ScalingGroup) -> bool:
    """Whether an instance is to move: all are there, none is on its way, and the group has room for one more."""
    members = counted(tx.find(ScalingMember, group=group.name))
    return (
        not is_balanced(group, members)
        and is_reached(group, members)
        and units(members) < group.max_size
        and all(member.state == "InService" and not member.unhealthy for member in members)
        and all(group.runs(process) for process in ("AZRebalance", "Launch", "Terminate"))
        and not (group.retry is not None and group.retry > tx.now)
    )


def times_of(tx: Tx, members: Sequence[ScalingMember]) -> Times:
    instances = [one for member in members if (one := tx.get(Instance, id=member.instance_id))]
    configured = {one.name: one.created for one in tx.find(LaunchConfiguration)}
    return Times(tx.now, {one.id: one.launched for one in instances}, configured)


def may_launch(tx: Tx, group: ScalingGroup) -> bool:
    members = counted(tx.find(ScalingMember, group=group.name))
    waiting = group.retry is not None and group.retry > tx.now
    return units(members) < _target(tx, group) and group.runs("Launch") and not waiting


def at_risk(tx: Tx, group: ScalingGroup) -> list[ScalingMember]:
    """Spot instances with a rebalance recommendation, where the group replaces these."""
    if not group.capacity_rebalance:
        return []
    return [
        member
        for member in tx.find(ScalingMember, group=group.name, state="InService", market="spot")
        if tx.get(SpotNotice, instance_id=member.instance_id) is not None
    ]


def _target(tx: Tx, group: ScalingGroup) -> int:
    """The units wanted now: the desired ones, and a successor for each at risk, up to the maximum size."""
    return min(group.desired + units(at_risk(tx, group)), group.max_size)


def accept_overage(tx: Tx, name: str) -> None:
    """Excess units of the last launch stay, as AWS documents it for weights: no running instance is ended for them."""
    group = tx.get(ScalingGroup, name=name)
    if group is not None:
        over = units(counted(tx.find(ScalingMember, group=name))) - _target(tx, group)
        tx.save(replace(group, overage=max(0, over)))


def rebalance(tx: Tx, group: ScalingGroup) -> None:
    """Takes out instances at risk once their successors are in service, or at once if there is no room for both."""
    risky = at_risk(tx, group)
    if not risky or not group.runs("Launch") or not group.runs("Terminate"):
        return
    names = {member.instance_id for member in risky}
    members = tx.find(ScalingMember, group=group.name, state="InService")
    spare = units(member for member in members if member.instance_id not in names) + units(risky) - group.desired
    crowded = units(risky) - (group.max_size - group.desired)
    for member in risky:
        if member.units <= spare or crowded > 0:
            take_out(tx, group, member, at(tx.now, f"an instance was taken out of service in response to {AT_RISK}"))
            spare -= member.units
            crowded -= member.units


def shrink(tx: Tx, group: ScalingGroup) -> None:
    """Ends instances beyond the desired capacity. Once it is reached, the cause of the change is cleared."""
    members = tx.find(ScalingMember, group=group.name)
    before, target = units(counted(members)), _target(tx, group)
    too_many = before > target + group.overage
    if too_many and not group.cause and any(member.state.startswith("Pending") for member in members):
        # One more was launched to balance the zones. The instance that it replaces stays until it is ready.
        return
    if too_many and group.runs("Terminate"):
        cause = group.cause or at(tx.now, BALANCED.format(", ".join(dict.fromkeys(group.zones))))
        times = times_of(tx, members)
        while (excess := units(counted(members)) - target) > 0:
            going = victim(group, members, times, excess)
            if going is None:
                break
            why = (
                "an instance was taken out of service in response to a difference between desired and actual "
                f"capacity, shrinking the capacity from {before} to {target}"
            )
            chosen = f"instance {going.instance_id} was selected for termination"
            take_out(tx, group, going, joined(cause, at(tx.now, why), at(tx.now, chosen)))
            members.remove(going)
    if is_reached(group, counted(members)) and (group.cause or group.replacing):
        tx.save(replace(group, cause="", replacing=0))


def begin_cooldown(tx: Tx, name: str) -> None:
    """When multiple instances launch or terminate, cooldowns begin once the last of them has.

    https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-scaling-cooldowns.html
    """
    group = tx.get(ScalingGroup, name=name)
    reached = group is not None and is_reached(group, counted(tx.find(ScalingMember, group=name)))
    if group is not None and group.scaling and reached and not in_progress(tx, group):
        tx.save(replace(group, scaling=False, scaled=tx.now))


def joined(*sentences: str) -> str:
    return "  ".join(one for one in sentences if one)
