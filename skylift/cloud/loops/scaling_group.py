"""Makes groups have the instances that they want, and notices those that have died.

Everything that is decided is decided in the transaction that writes it: an instance is launched and counted in one
commit, so that whatever ends this process leaves a group that has exactly what its rows say. An instance that is on its
way counts already, so that there is never one too many.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from skylift.cloud.error import ServiceError
from skylift.cloud.instance import Instance
from skylift.cloud.loops.scaling_choice import counted, places, victim
from skylift.cloud.loops.scaling_schedule import carry_out, due, next_due
from skylift.cloud.scaling_group import (
    GROUP_TAG,
    LAUNCHING,
    HookWait,
    ScalingActivity,
    ScalingGroup,
    ScalingMember,
    Wanted,
    at,
    new_activity,
)
from skylift.cloud.spot import SpotNotice
from skylift.cloud.store.database import Database, Tx
from skylift.cloud.store.scaling_group import finish, hook_waits, take_out

log = logging.getLogger(__name__)

FIRST_RETRY = 5
LONGEST_RETRY = 300
SHORT_LIFE = 60
"""Seconds; an instance that does not live longer than that counts as a launch that failed."""

DEAD = "an EC2 health check indicating it has been terminated or stopped"

AT_RISK = "an EC2 instance rebalance recommendation"

Pools = Callable[[Tx, ScalingGroup, Sequence[ScalingMember], Wanted], list[Wanted]]
"""What may be launched in a place, the best first; raises ServiceError where there is no template any more."""

Launch = Callable[[Tx, ScalingGroup, Wanted], Instance]
"""An instance on its way; raises ServiceError where EC2 refuses."""


class ScalingGroupLoop:
    """`pools`, `launch` and `end` are EC2's, each in a transaction; `resolved` numbers the version of a launch
    template. `wake_in` has the steps run again after so many seconds."""

    def __init__(
        self,
        database: Database,
        pools: Pools,
        launch: Launch,
        end: Callable[[Tx, str], None],
        resolved: Callable[[Tx, dict[str, str]], dict[str, str]],
        wake_in: Callable[[float], None],
    ) -> None:
        self._database = database
        self._pools = pools
        self._launch = launch
        self._end = end
        self._resolved = resolved
        self._wake_in = wake_in

    def step(self) -> None:
        with self._database.read() as tx:
            scheduled = due(tx)
        if scheduled:
            with self._database.write() as tx:
                carry_out(tx)
        with self._database.read() as tx:
            names = [group.name for group in tx.find(ScalingGroup) if not _at_rest(tx, group)]
        for name in names:
            self._settle(name)
            self._fill(name)
        self._look_again()

    def _settle(self, name: str) -> None:
        """Everything but launches."""
        with self._database.write() as tx:
            group = tx.get(ScalingGroup, name=name)
            if group is None:
                return
            for member in tx.find(ScalingMember, group=name):
                self._advance(tx, name, member)
            group = _group(tx, name)
            if group.deleting:
                self._close(tx, group)
            else:
                _rebalance(tx, group)
                _shrink(tx, group)
            for member in tx.find(ScalingMember, group=name, state="Terminating"):
                self._see_off(tx, member)

    def _advance(self, tx: Tx, name: str, member: ScalingMember) -> None:
        """One instance, as far as what was observed of it lets it go."""
        instance = tx.get(Instance, id=member.instance_id)
        alive = instance is not None and instance.state in ("pending", "running")
        group = _group(tx, name)
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

    def _see_off(self, tx: Tx, member: ScalingMember) -> None:
        instance = tx.get(Instance, id=member.instance_id)
        if instance is not None and instance.state != "terminated":
            self._end(tx, member.instance_id)
            return
        finish(tx, member.activity_id)
        tx.remove(member)

    def _close(self, tx: Tx, group: ScalingGroup) -> None:
        """A group that is deleted by force waits for nobody, but for its instances to be gone."""
        members = tx.find(ScalingMember, group=group.name)
        if not members:
            tx.remove(group)
            log.info("group %s: deleted", group.name)
        for member in members:
            if member.state == "Terminating:Wait":
                tx.save(replace(member, state="Terminating", since=tx.now, waits=()))
            elif member.state != "Terminating":
                take_out(tx, group, member, group.cause, hooks=False)

    def _fill(self, name: str) -> None:
        with self._database.read() as tx:
            group = tx.get(ScalingGroup, name=name)
            if group is None or not _may_launch(tx, group):
                return
            before = len(counted(tx.find(ScalingMember, group=name)))
        while self._launch_one(name, before):
            pass

    def _launch_one(self, name: str, before: int) -> bool:
        """One more, in the first place where that is possible; False when no more are wanted, or none can be had."""
        with self._database.read() as tx:
            group = tx.get(ScalingGroup, name=name)
            if group is None or not _may_launch(tx, group):
                return False
            wanted, refusal = self._wanted(tx, group)
        for place in wanted:
            try:
                with self._database.write() as tx:
                    group = tx.get(ScalingGroup, name=name)
                    if group is None or not _may_launch(tx, group):
                        return False
                    self._add(tx, group, place, before)
            except ServiceError as error:
                log.info("group %s: no instance in %s: %s", name, place.zone, error)
                refusal = error
                continue
            return True
        assert refusal is not None, "a group has a subnet, and a template"
        with self._database.write() as tx:
            group = tx.get(ScalingGroup, name=name)
            if group is not None and _may_launch(tx, group):
                _note_refusal(tx, group, refusal, before)
        return False

    def _wanted(self, tx: Tx, group: ScalingGroup) -> tuple[list[Wanted], ServiceError | None]:
        """All that would do, the best first; nothing, and why, where the template is gone."""
        members = tx.find(ScalingMember, group=group.name)
        try:
            return [pool for place in places(group, members) for pool in self._pools(tx, group, members, place)], None
        except ServiceError as error:
            return [], error

    def _add(self, tx: Tx, group: ScalingGroup, place: Wanted, before: int) -> None:
        template = self._resolved(tx, place.template)
        instance = self._launch(tx, group, replace(place, template=template))
        activity = new_activity(
            group,
            f"Launching a new EC2 instance: {instance.id}",
            _launch_cause(tx, group, before),
            tx.now,
            zone=instance.zone,
            subnet_id=instance.subnet_id,
            status="PreInService",
            progress=30,
        )
        tx.add(activity)
        tx.add(
            ScalingMember(
                instance_id=instance.id,
                group=group.name,
                zone=instance.zone,
                subnet_id=instance.subnet_id,
                type=instance.type,
                image_id=instance.image_id,
                state="Pending",
                activity_id=activity.id,
                since=tx.now,
                template=template,
                protected=group.protects_new,
                # The template may ask for it by itself.
                market="spot" if instance.spot_request_id else "on-demand",
            )
        )
        tx.save(replace(group, retry=None, replacing=max(0, group.replacing - 1)))
        log.info("group %s: launched %s in %s", group.name, instance.id, instance.zone)

    def _look_again(self) -> None:
        """When the next moment comes that somebody waits for."""
        with self._database.read() as tx:
            moments = [wait.deadline for member in tx.find(ScalingMember) for wait in member.waits if not wait.result]
            moments += [group.retry for group in tx.find(ScalingGroup) if group.retry is not None]
            moments += next_due(tx)
            later = [moment for moment in moments if moment > tx.now]
            if later:
                self._wake_in((min(later) - tx.now).total_seconds())


def _at_rest(tx: Tx, group: ScalingGroup) -> bool:
    """Whether a look at the group would change nothing."""
    members = tx.find(ScalingMember, group=group.name)
    if group.deleting or len(counted(members)) != group.desired or group.cause or _at_risk(tx, group):
        return False
    for member in members:
        if member.state == "Standby":
            continue
        instance = tx.get(Instance, id=member.instance_id)
        if member.state != "InService" or member.unhealthy or instance is None or instance.state != "running":
            return False
    return True


def _may_launch(tx: Tx, group: ScalingGroup) -> bool:
    members = counted(tx.find(ScalingMember, group=group.name))
    waiting = group.retry is not None and group.retry > tx.now
    return len(members) < _target(tx, group) and group.runs("Launch") and not waiting


def _at_risk(tx: Tx, group: ScalingGroup) -> list[ScalingMember]:
    """Spot instances that have been told that they may have to go, where the group is to do something about it."""
    if not group.capacity_rebalance:
        return []
    return [
        member
        for member in tx.find(ScalingMember, group=group.name, state="InService", market="spot")
        if tx.get(SpotNotice, instance_id=member.instance_id) is not None
    ]


def _target(tx: Tx, group: ScalingGroup) -> int:
    """How many there are to be now: for each that is at risk one more, as far as the most allows."""
    return min(group.desired + len(_at_risk(tx, group)), group.max_size)


def _rebalance(tx: Tx, group: ScalingGroup) -> None:
    """Those at risk go once their successors are in service; at once, where there is no room for these beside them."""
    risky = _at_risk(tx, group)
    if not risky or not group.runs("Launch") or not group.runs("Terminate"):
        return
    names = {member.instance_id for member in risky}
    members = tx.find(ScalingMember, group=group.name, state="InService")
    ready = sum(member.instance_id not in names for member in members)
    going = max(len(risky) - (group.max_size - group.desired), ready + len(risky) - group.desired)
    for member in risky[: max(0, going)]:
        take_out(tx, group, member, at(tx.now, f"an instance was taken out of service in response to {AT_RISK}"))


def _shrink(tx: Tx, group: ScalingGroup) -> None:
    """Give up what is too much; once the group has what it wants, nobody is to blame for what comes after."""
    members = tx.find(ScalingMember, group=group.name)
    before, target = len(counted(members)), _target(tx, group)
    if before > target and group.runs("Terminate"):
        launched = {one.id: one.launched for member in members if (one := tx.get(Instance, id=member.instance_id))}
        for _ in range(before - target):
            going = victim(group, members, launched, tx.now)
            if going is None:
                return
            why = (
                "an instance was taken out of service in response to a difference between desired and actual "
                f"capacity, shrinking the capacity from {before} to {target}"
            )
            chosen = f"instance {going.instance_id} was selected for termination"
            take_out(tx, group, going, _joined(group.cause, at(tx.now, why), at(tx.now, chosen)))
            members.remove(going)
    if len(counted(members)) == group.desired and (group.cause or group.replacing):
        tx.save(replace(group, cause="", replacing=0))


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
    tx.save(replace(group, failures=0, retry=None) if lived >= SHORT_LIFE else _failed(group, tx.now))
    log.info("group %s: %s is unhealthy", group.name, member.instance_id)


def _died_early(tx: Tx, group: ScalingGroup, member: ScalingMember, instance: Instance | None) -> None:
    reason = instance.state_reason if instance is not None else ""
    message = "Instance became unhealthy while waiting for instance to be in InService state. Termination Reason: "
    finish(tx, member.activity_id, "Cancelled", message + (reason or "unknown"))
    why = f"an instance was taken out of service in response to {DEAD}"
    take_out(tx, group, member, at(tx.now, why), hooks=False)
    tx.save(_failed(group, tx.now))


def _abandon(tx: Tx, group: ScalingGroup, member: ScalingMember) -> None:
    message = "Instance failed to complete user's Lifecycle Action: Lifecycle Action was completed with ABANDON Result"
    finish(tx, member.activity_id, "Cancelled", message)
    why = f"an instance was taken out of service in response to {_LIFECYCLE}"
    take_out(tx, group, member, at(tx.now, why), hooks=False)
    tx.save(_failed(group, tx.now))


_LIFECYCLE = "a lifecycle action that was abandoned"


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
    """Whether nothing is left to wait for: one that gives up settles it for all."""
    results = [wait.result for wait in _with_results(tx, member)]
    return all(results) or "ABANDON" in results


def _with_results(tx: Tx, member: ScalingMember) -> list[HookWait]:
    """What each hook has come to; when its time is over, what it does by default."""
    return [
        replace(wait, result=wait.default) if not wait.result and wait.deadline <= tx.now else wait
        for wait in member.waits
    ]


def _progress(tx: Tx, activity_id: str, status: str) -> None:
    activity = tx.get(ScalingActivity, id=activity_id)
    if activity is not None and activity.ended is None:
        tx.save(replace(activity, status=status))


def _note_refusal(tx: Tx, group: ScalingGroup, refusal: ServiceError, before: int) -> None:
    message = f"{refusal.message.rstrip('.')}. Launching EC2 instance failed."
    activity = new_activity(
        group,
        f"Launching a new EC2 instance.  Status Reason: {message}",
        _launch_cause(tx, group, before),
        tx.now,
    )
    tx.add(activity.finished(tx.now, "Failed", message))
    tx.save(_failed(group, tx.now))


def _failed(group: ScalingGroup, now: datetime) -> ScalingGroup:
    """The next launch waits, the longer the more have come to nothing."""
    seconds = min(FIRST_RETRY * 2 ** min(group.failures, 10), LONGEST_RETRY)
    return replace(group, failures=group.failures + 1, retry=now + timedelta(seconds=seconds))


def _launch_cause(tx: Tx, group: ScalingGroup, before: int) -> str:
    now = tx.now
    if _at_risk(tx, group):
        return at(now, f"an instance was launched in response to {AT_RISK}")
    if not group.cause and group.replacing:
        return at(now, "an instance was launched in response to an unhealthy instance needing to be replaced")
    why = (
        "an instance was started in response to a difference between desired and actual capacity, "
        f"increasing the capacity from {before} to {group.desired}"
    )
    return _joined(group.cause, at(now, why))


def _joined(*sentences: str) -> str:
    return "  ".join(one for one in sentences if one)


def _group(tx: Tx, name: str) -> ScalingGroup:
    group = tx.get(ScalingGroup, name=name)
    assert group is not None, "members have a group"
    return group
