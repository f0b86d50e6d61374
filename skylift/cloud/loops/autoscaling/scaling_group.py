"""Keeps groups at their desired size, and replaces instances that have died.

Everything that is decided is decided in the transaction that writes it: an instance is launched and counted in one
commit, so that whatever ends this process leaves a group that has exactly what its rows say. An instance that is on its
way counts already, so that there is never one too many.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.instance import Instance
from skylift.cloud.domain.launch_template import TemplateSpec
from skylift.cloud.domain.scaling_group import (
    ScalingGroup,
    ScalingMember,
    ScheduledAction,
    Wanted,
    at,
    new_activity,
    new_member,
    units,
)
from skylift.cloud.loops.autoscaling import scaling_size
from skylift.cloud.loops.autoscaling.scaling_choice import counted, moves_to, places, victim
from skylift.cloud.loops.autoscaling.scaling_member import advance, failed, group_of
from skylift.cloud.loops.autoscaling.scaling_schedule import NextTime, carry_out, due, next_due
from skylift.cloud.loops.guard import guarded
from skylift.cloud.store.database import Database, Tx
from skylift.cloud.store.scaling_group import finish, take_out

log = logging.getLogger(__name__)


BALANCING = "an instance was launched to aid in balancing the group's zones"

Pools = Callable[[Tx, ScalingGroup, Sequence[ScalingMember], Wanted], list[Wanted]]
"""The launches that are possible in a place, the best first. Raises ServiceError if the template no longer exists."""

Launch = Callable[[Tx, ScalingGroup, Wanted], Instance]
"""Launches an instance. Raises ServiceError if EC2 refuses."""


@dataclass(frozen=True)
class ScalingGroupLoop:
    """`pools`, `launch` and `end` are EC2's, each in a transaction. `resolved` gives a launch template's version its
    number, `next_time` the moment when a scheduled action recurs. `wake_in` makes the steps run again after some
    seconds."""

    database: Database
    pools: Pools
    launch: Launch
    end: Callable[[Tx, str], None]
    resolved: Callable[[Tx, TemplateSpec], TemplateSpec]
    next_time: NextTime
    wake_in: Callable[[float], None]

    def step(self) -> None:
        with self.database.read() as tx:
            began = tx.now
            scheduled = due(tx, self.next_time)
        for action in scheduled:
            guarded(f"scheduled action {action.name} of {action.group}", partial(self._carry_out, action))
        with self.database.read() as tx:
            names = [group.name for group in tx.find(ScalingGroup) if not scaling_size.at_rest(tx, group)]
        for name in names:
            guarded(f"group {name}", partial(self._see_to, name))
        self._look_again(began)

    def _carry_out(self, action: ScheduledAction) -> None:
        with self.database.write() as tx:
            carry_out(tx, action, self.next_time)

    def _see_to(self, name: str) -> None:
        self._settle(name)
        self._fill(name)
        self._balance(name)

    def _settle(self, name: str) -> None:
        """Everything but launches."""
        with self.database.write() as tx:
            group = tx.get(ScalingGroup, name=name)
            if group is None:
                return
            for member in tx.find(ScalingMember, group=name):
                advance(tx, name, member)
            group = group_of(tx, name)
            if group.deleting:
                self._close(tx, group)
            else:
                scaling_size.rebalance(tx, group)
                scaling_size.shrink(tx, group)
            for member in tx.find(ScalingMember, group=name, state="Terminating"):
                self._see_off(tx, member)
            scaling_size.begin_cooldown(tx, name)
            if group.deleting and not tx.find(ScalingMember, group=name):
                tx.remove(group)
                log.info("group %s: deleted", name)

    def _see_off(self, tx: Tx, member: ScalingMember) -> None:
        instance = tx.get(Instance, id=member.instance_id)
        if instance is not None and instance.state != "terminated":
            self.end(tx, member.instance_id)
            return
        finish(tx, member.activity_id)
        tx.remove(member)

    def _close(self, tx: Tx, group: ScalingGroup) -> None:
        """A group that is deleted by force ignores hooks, and is removed once its instances are gone."""
        for member in tx.find(ScalingMember, group=group.name):
            if member.state == "Terminating:Wait":
                tx.save(replace(member, state="Terminating", since=tx.now, waits=()))
            elif member.state != "Terminating":
                take_out(tx, group, member, group.cause, hooks=False)

    def _fill(self, name: str) -> None:
        with self.database.read() as tx:
            group = tx.get(ScalingGroup, name=name)
            if group is None or not scaling_size.may_launch(tx, group):
                return
            before = units(counted(tx.find(ScalingMember, group=name)))
        while self._launch_one(name, before):
            pass

    def _balance(self, name: str) -> None:
        """Launches one more in the emptiest zone, if there is room. Then the fullest zone has one too many."""
        try:
            with self.database.write() as tx:
                group = tx.get(ScalingGroup, name=name)
                if group is None or not scaling_size.may_balance(tx, group):
                    return
                members = tx.find(ScalingMember, group=name)
                everything = units(counted(members))
                going = victim(group, members, scaling_size.times_of(tx, members), everything)
                wanted = moves_to(group, members, going) if going is not None else []
                staying = [member for member in members if member is not going]
                pools = [pool for place in wanted for pool in self.pools(tx, group, staying, place)]
                # A smaller instance would not let `going` leave.
                pools = [pool for pool in pools if going is not None and group.weights.get(pool.type, 1) >= going.units]
                if pools:
                    self._add(tx, replace(group, overage=0), pools[0], at(tx.now, BALANCING))
        except ServiceError as error:
            with self.database.write() as tx:
                group = tx.get(ScalingGroup, name=name)
                if group is not None and scaling_size.may_balance(tx, group):
                    _note_refusal(tx, group, error, at(tx.now, BALANCING))

    def _launch_one(self, name: str, before: int) -> bool:
        """One more, in the first place where that is possible; False when no more are wanted, or none can be had."""
        with self.database.read() as tx:
            group = tx.get(ScalingGroup, name=name)
            if group is None or not scaling_size.may_launch(tx, group):
                return False
            wanted, refusal = self._wanted(tx, group)
        for place in wanted:
            try:
                with self.database.write() as tx:
                    group = tx.get(ScalingGroup, name=name)
                    if group is None or not scaling_size.may_launch(tx, group):
                        return False
                    self._add(tx, group, place, _launch_cause(tx, group, before))
                    scaling_size.accept_overage(tx, name)
            except ServiceError as error:
                log.info("group %s: no instance in %s: %s", name, place.zone, error)
                refusal = error
                continue
            return True
        assert refusal is not None, "a group has a subnet, and a template"
        with self.database.write() as tx:
            group = tx.get(ScalingGroup, name=name)
            if group is not None and scaling_size.may_launch(tx, group):
                _note_refusal(tx, group, refusal, _launch_cause(tx, group, before))
        return False

    def _wanted(self, tx: Tx, group: ScalingGroup) -> tuple[list[Wanted], ServiceError | None]:
        """The types that may be launched, the best first. If the template is gone, none, and the reason."""
        # A successor goes to the zone of the instance at risk. Elsewhere, it would unbalance the zones.
        risky = scaling_size.at_risk(tx, group)
        members = [member for member in tx.find(ScalingMember, group=group.name) if member not in risky]
        try:
            return [pool for place in places(group, members) for pool in self.pools(tx, group, members, place)], None
        except ServiceError as error:
            return [], error

    def _add(self, tx: Tx, group: ScalingGroup, place: Wanted, cause: str) -> None:
        template = TemplateSpec() if place.configuration else self.resolved(tx, place.template)
        instance = self.launch(tx, group, replace(place, template=template))
        activity = new_activity(
            group,
            f"Launching a new EC2 instance: {instance.id}",
            cause,
            tx.now,
            zone=instance.zone,
            subnet_id=instance.subnet_id,
            status="PreInService",
            progress=30,
        )
        tx.add(activity)
        tx.add(new_member(instance, group, activity, tx.now, template, place.configuration))
        tx.save(replace(group, retry=None, replacing=max(0, group.replacing - 1)))
        log.info("group %s: launched %s in %s", group.name, instance.id, instance.zone)

    def _look_again(self, began: datetime) -> None:
        """Wakes at the next deadline. A deadline that has passed since this step began has not been handled yet."""
        with self.database.read() as tx:
            moments = [wait.deadline for member in tx.find(ScalingMember) for wait in member.waits if not wait.result]
            moments += [group.retry for group in tx.find(ScalingGroup) if group.retry is not None]
            moments += next_due(tx)
            later = [moment for moment in moments if moment > began]
            if later:
                self.wake_in((min(later) - tx.now).total_seconds())


def _note_refusal(tx: Tx, group: ScalingGroup, refusal: ServiceError, cause: str) -> None:
    message = f"{refusal.message.rstrip('.')}. Launching EC2 instance failed."
    activity = new_activity(group, f"Launching a new EC2 instance.  Status Reason: {message}", cause, tx.now)
    tx.add(activity.finished(tx.now, "Failed", message))
    tx.save(failed(group, tx.now))


def _launch_cause(tx: Tx, group: ScalingGroup, before: int) -> str:
    now = tx.now
    if scaling_size.at_risk(tx, group):
        return at(now, f"an instance was launched in response to {scaling_size.AT_RISK}")
    if not group.cause and group.replacing:
        return at(now, "an instance was launched in response to an unhealthy instance needing to be replaced")
    why = (
        "an instance was started in response to a difference between desired and actual capacity, "
        f"increasing the capacity from {before} to {group.desired}"
    )
    return scaling_size.joined(group.cause, at(now, why))
