"""Moves a group's instance on, from its launch to its end, by what was observed of it."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime, timedelta

from skylift.cloud.domain.instance import Instance
from skylift.cloud.domain.scaling_group import (
    GROUP_TAG,
    LAUNCHING,
    HookWait,
    ScalingActivity,
    ScalingGroup,
    ScalingMember,
    at,
)
from skylift.cloud.store.database import Tx
from skylift.cloud.store.scaling_group import finish, hook_waits, take_out

log = logging.getLogger(__name__)

FIRST_RETRY = 5
LONGEST_RETRY = 300
SHORT_LIFE = 60
"""Seconds. An instance that lives no longer than this counts as a failed launch."""

DEAD = "an EC2 health check indicating it has been terminated or stopped"
ABANDONED = "a lifecycle action that was abandoned"


def advance(tx: Tx, name: str, member: ScalingMember) -> None:
    """Moves one member on, as far as its instance's state allows."""
    instance = tx.get(Instance, id=member.instance_id)
    alive = instance is not None and instance.state in ("pending", "running")
    group = group_of(tx, name)
    if member.state in ("Pending", "Pending:Wait") and not alive:
        _died_early(tx, group, member, instance)
    elif member.state == "Pending" and instance is not None and instance.state == "running":
        waits = hook_waits(tx, group, LAUNCHING)
        if waits:
            tx.save(replace(member, state="Pending:Wait", since=tx.now, waits=waits))
            _progress(tx, member.activity_id, "MidLifecycleAction")
        else:
            _put_into_service(tx, member)
    elif member.state == "Pending:Wait" and _waited(tx, member):
        if any(wait.result == "ABANDON" for wait in _with_results(tx, member)):
            _abandon(tx, group, member)
        else:
            _put_into_service(tx, member)
    elif member.state == "InService":
        _check_health(tx, group, member, alive=alive)
    elif member.state == "Terminating:Wait" and _waited(tx, member):
        tx.save(replace(member, state="Terminating", since=tx.now, waits=()))
        _progress(tx, member.activity_id, "InProgress")
    elif member.state == "EnteringStandby":
        tx.save(replace(member, state="Standby", since=tx.now))
        finish(tx, member.activity_id)
    elif member.state == "Detaching":
        _let_go(tx, member, instance)


def _check_health(tx: Tx, group: ScalingGroup, member: ScalingMember, *, alive: bool) -> None:
    if not alive and not member.unhealthy and group.runs("HealthCheck"):
        member = replace(member, unhealthy=DEAD)
        tx.save(member)
    if not member.unhealthy or not group.runs("ReplaceUnhealthy") or not group.runs("Terminate"):
        return
    why = f"an instance was taken out of service in response to {member.unhealthy}"
    take_out(tx, group, member, at(tx.now, why))
    group = replace(group, replacing=group.replacing + 1)
    lived = (tx.now - (member.in_service or member.since)).total_seconds()
    tx.save(replace(group, failures=0, retry=None) if lived >= SHORT_LIFE else failed(group, tx.now))
    log.info("group %s: %s is unhealthy", group.name, member.instance_id)


def _died_early(tx: Tx, group: ScalingGroup, member: ScalingMember, instance: Instance | None) -> None:
    reason = instance.state_reason if instance is not None else ""
    message = "Instance became unhealthy while waiting for instance to be in InService state. Termination Reason: "
    finish(tx, member.activity_id, "Cancelled", message + (reason or "unknown"))
    why = f"an instance was taken out of service in response to {DEAD}"
    take_out(tx, group, member, at(tx.now, why), hooks=False)
    tx.save(failed(group, tx.now))


def _abandon(tx: Tx, group: ScalingGroup, member: ScalingMember) -> None:
    message = "Instance failed to complete user's Lifecycle Action: Lifecycle Action was completed with ABANDON Result"
    finish(tx, member.activity_id, "Cancelled", message)
    why = f"an instance was taken out of service in response to {ABANDONED}"
    take_out(tx, group, member, at(tx.now, why), hooks=False)
    tx.save(failed(group, tx.now))


def _put_into_service(tx: Tx, member: ScalingMember) -> None:
    ready = replace(member, state="InService", since=tx.now, in_service=member.in_service or tx.now, waits=())
    tx.save(ready)
    finish(tx, member.activity_id)


def _let_go(tx: Tx, member: ScalingMember, instance: Instance | None) -> None:
    finish(tx, member.activity_id)
    tx.remove(member)
    if instance is not None:
        kept = {key: value for key, value in instance.tags.items() if key != GROUP_TAG}
        tx.save(replace(instance, tags=kept))


def _waited(tx: Tx, member: ScalingMember) -> bool:
    """Whether nothing is left to wait for. One hook's ABANDON decides for all hooks."""
    results = [wait.result for wait in _with_results(tx, member)]
    return all(results) or "ABANDON" in results


def _with_results(tx: Tx, member: ScalingMember) -> list[HookWait]:
    """The result of each hook; after its deadline, its default."""
    return [
        replace(wait, result=wait.default) if not wait.result and wait.deadline <= tx.now else wait
        for wait in member.waits
    ]


def _progress(tx: Tx, activity_id: str, status: str) -> None:
    activity = tx.get(ScalingActivity, id=activity_id)
    if activity is not None and activity.ended is None:
        tx.save(replace(activity, status=status))


def failed(group: ScalingGroup, now: datetime) -> ScalingGroup:
    """The next launch waits, longer after each failure in a row."""
    seconds = min(FIRST_RETRY * 2 ** min(group.failures, 10), LONGEST_RETRY)
    return replace(group, failures=group.failures + 1, retry=now + timedelta(seconds=seconds))


def group_of(tx: Tx, name: str) -> ScalingGroup:
    group = tx.get(ScalingGroup, name=name)
    assert group is not None, "members have a group"
    return group
