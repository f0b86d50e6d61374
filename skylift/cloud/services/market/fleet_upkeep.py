"""Keeps a fleet at its size, from when it is valid until it ends, as EC2 does.

One look counts the instances and writes the changes that follow, in one transaction. A look that is cut off did not
happen, and the next one counts again. An instance holds its place until it is off: there are never more than were asked
for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.facts import CloudFacts
from skylift.cloud.domain.fleet import (
    MARKETS,
    EventType,
    Fleet,
    FleetConfig,
    FleetEvent,
    FleetMember,
    Maintenance,
    Market,
    Rebalance,
)
from skylift.cloud.domain.identity import Caller, assumed_arn
from skylift.cloud.domain.instance import Instance
from skylift.cloud.domain.spot import SpotNotice
from skylift.cloud.services.api.service_role import SERVICES
from skylift.cloud.services.ec2 import instance as instances
from skylift.cloud.services.ec2.pool import Pool, PoolOffer, pools_of
from skylift.cloud.services.market.fleet import SERVICE
from skylift.cloud.services.market.fleet_launch import Filling, offers_of, take
from skylift.cloud.services.market.fleet_view import is_there, live_members
from skylift.cloud.services.market.interruption import give_notice
from skylift.cloud.store.database import Tx
from skylift.cloud.store.fleet import ENDS, PROTECTED, instances_left, last_event, members_left

MOST_AT_ONCE = 20
"""The most instances that one transaction ends: nobody else writes meanwhile."""

FIRST_PAUSE = timedelta(seconds=1)
LONGEST_PAUSE = timedelta(seconds=30)
SHORT_LIFE = timedelta(seconds=30)
"""An instance that ends by itself within this time counts as a failed launch: the next one waits."""

_ENDED_BY_ITSELF = ("Client.InstanceInitiatedShutdown", "Server.InternalError", "Server.InsufficientInstanceCapacity")


@dataclass(frozen=True)
class Survey:
    """What a fleet may launch from, by market, with the errors of pools that cannot. It takes long where many types
    are asked for by what they have. Looks that follow each other leave out of it what has failed."""

    configs: tuple[FleetConfig, ...]
    offers: dict[Market, list[PoolOffer]]
    errors: dict[Market, list[ServiceError]]


def survey(tx: Tx, fleet_id: str, found: Survey | None) -> Survey | None:
    """What was found before, as long as the fleet asks for the same. A template, or what it names, may have been
    deleted."""
    fleet, caller = tx.get(Fleet, id=fleet_id), service(tx)
    if fleet is None or (found and found.configs == fleet.configs):
        return found
    pools: list[Pool] = []
    errors: list[ServiceError] = []
    for config in fleet.configs:
        try:
            pools += pools_of(tx, caller, config)
        except ServiceError as error:
            errors.append(error)
    offers = {market: offers_of(tx, caller, fleet, market, pools) for market in MARKETS}
    return Survey(fleet.configs, offers, {market: [*errors] for market in MARKETS})


def keep(tx: Tx, fleet_id: str, found: Survey | None) -> datetime | None:
    """Do what a fleet needs now; answers when it is to be looked at again, should nothing else happen before: at once
    where it needs a survey, or another one."""
    fleet = tx.get(Fleet, id=fleet_id)
    return None if fleet is None else _Look(tx, fleet, found).run()


def mark(tx: Tx, fleet: Fleet) -> object:
    """All that a look depends on but the time: while it is the same, there is nothing new to do."""
    notices = {notice.instance_id: notice for notice in tx.find(SpotNotice)}
    rows = [
        (
            member,
            row and (row.state, row.desired, row.state_reason_code, row.termination_protected, row.stop_protected),
            notices.get(member.instance_id),
        )
        for member, row in live_members(tx, fleet.id)
    ]
    return fleet, rows


class _Look:
    def __init__(self, tx: Tx, fleet: Fleet, found: Survey | None) -> None:
        self._tx = tx
        self._fleet = fleet
        self._survey = found
        self._caller = service(tx)
        self._again: list[datetime | None] = []
        """The times at which there is more to do."""
        self._paused = False
        self._goes_on = False
        self._troubles: list[str] = []

    def run(self) -> datetime | None:
        self._note_ended()
        fleet = self._fleet
        if fleet.state in ("deleted_running", "deleted_terminating"):
            return self._finish()
        if fleet.valid_until is not None and fleet.valid_until <= self._tx.now:
            self._expire()
            return self._tx.now
        if fleet.valid_from is not None and self._tx.now < fleet.valid_from:
            return fleet.valid_from
        if fleet.state == "submitted":
            self._change("active", replace(self._fleet, state="active"))
        self._note_withdrawn()
        self._note_at_risk()
        retry_at = self._fleet.retry_at
        self._paused = retry_at is not None and self._tx.now < retry_at
        enough = [self._fit(market) for market in MARKETS]
        if all(enough):
            self._end_replaced()
            if self._fleet.trouble:
                self._save(replace(self._fleet, trouble=""))
        else:
            self._take_stock()
        if all(enough) and self._fleet.state == "modifying":
            self._change("modify_succeeded", replace(self._fleet, state="active"))
        return min((when for when in (fleet.valid_until, *self._again) if when is not None), default=None)

    def _note_ended(self) -> None:
        for member, row in live_members(self._tx, self._fleet.id):
            if row is not None and row.state != "terminated":
                continue
            self._tx.save(replace(member, ended=self._tx.now))
            self._event("instance-change", "terminated", row.state_reason if row else "", member.instance_id)
            notice = self._notice(member)
            # An instance that heeds a notice may end early: its launch did not fail.
            noticed = notice is not None and notice.due is not None
            if row is not None and not noticed and _failed_early(member, row, self._tx.now):
                self._pause(row.state_reason or "The instance ended as it began.")

    def _finish(self) -> datetime | None:
        """The end of a deleted fleet, once it has no instance left."""
        if self._fleet.state == "deleted_terminating":
            some = instances_left(self._tx, self._fleet.id, f"{ENDS} LIMIT {MOST_AT_ONCE}")
            self._terminate(some)
            if some:
                return self._tx.now
        if not members_left(self._tx, self._fleet.id):
            self._change("deleted", replace(self._fleet, state="deleted", ended=self._tx.now))
        return None

    def _expire(self) -> None:
        self._event("fleet-change", "expired")
        if not self._fleet.terminate_with_expiration:
            self._change("deleted_running", replace(self._fleet, state="deleted_running"))
            return
        self._terminate(instances_left(self._tx, self._fleet.id, f"{PROTECTED} LIMIT 1"))
        self._change("deleted_terminating", replace(self._fleet, state="deleted_terminating"))

    def _note_withdrawn(self) -> None:
        """An instance whose notice was withdrawn holds a place again."""
        for member, row in live_members(self._tx, self._fleet.id):
            if member.leaving and member.terminate_at is None and is_there(row) and self._notice(member) is None:
                self._tx.save(replace(member, leaving=False))

    def _note_at_risk(self) -> None:
        """With capacity rebalancing an instance gives its place away as soon as its end is likely."""
        if not self._rebalancing():
            return
        for member, row in live_members(self._tx, self._fleet.id):
            notice = self._notice(member)
            if member.market == "spot" and not member.leaving and is_there(row) and notice and notice.rebalance:
                self._tx.save(replace(member, leaving=True))

    def _end_replaced(self) -> None:
        """Of those that have given their place away, whose replacements are there: some time later, if asked for."""
        delay = self._rebalancing().get("TerminationDelay")
        for member, row in live_members(self._tx, self._fleet.id):
            notice = self._notice(member)
            if not (delay and member.leaving and is_there(row)) or (notice and notice.due):
                continue
            end = member.terminate_at or self._tx.now + timedelta(seconds=delay)
            if member.terminate_at is None:
                self._tx.save(replace(member, terminate_at=end))
            if end <= self._tx.now:
                self._terminate([member.instance_id])
            else:
                self._again.append(end)

    def _rebalancing(self) -> Rebalance:
        strategies: Maintenance = self._fleet.spot_options.get("MaintenanceStrategies", {})
        return strategies.get("CapacityRebalance") or {}

    def _notice(self, member: FleetMember) -> SpotNotice | None:
        return self._tx.get(SpotNotice, instance_id=member.instance_id)

    def _fit(self, market: Market) -> bool:
        """Launch the missing instances and end those that are too many. Answers whether the fleet is as it should be by
        now.
        """
        fleet = self._fleet
        held = sum(self._held(market))
        if held < fleet.target(market):
            return self._launch(market, fleet.target(market) - held)
        if fleet.state != "modifying" or fleet.excess_policy != "termination":
            return True
        self._shrink(market)
        return not any(self._is_going(member, row) for member, row in live_members(self._tx, fleet.id))

    def _held(self, market: Market) -> Iterable[float]:
        """The units of each instance that has a place: of a one-time request also those whose instance has ended."""
        if self._fleet.type == "request":
            members = self._tx.find(FleetMember, fleet_id=self._fleet.id)
            return [member.weight for member in members if member.market == market]
        return [
            member.weight
            for member, row in live_members(self._tx, self._fleet.id)
            if member.market == market and not member.leaving and row is not None and row.state != "stopped"
        ]

    def _launch(self, market: Market, missing: float) -> bool:
        if self._paused:
            return False
        found = self._survey
        if found is None or found.configs != self._fleet.configs:
            self._goes_on = True
            return False
        done = Filling(self._fleet, market, found.offers[market], missing)
        over = take(self._tx, self._caller, done.steps())
        found.offers[market] = done.offers
        found.errors[market] += [error for _, error in done.errors.values()]
        self._goes_on |= bool(done.members) or not over
        errors = found.errors[market]
        self._troubles += [f"{error.code}: {error.message}" for error in errors]
        if over and not done.members and not errors:
            self._troubles.append(f"No instance type of the fleet's is within the price limits of {market}.")
        return done.missing <= 0

    def _take_stock(self) -> None:
        """What comes of a launch that was not enough: more at once, as long as there are some, and a pause where there
        are none. One market's want does not keep the other one waiting."""
        if self._paused:
            self._again.append(self._fleet.retry_at)
        elif self._goes_on:
            self._again.append(self._tx.now)
        elif self._troubles:
            self._pause("; ".join(dict.fromkeys(self._troubles)))
            self._again.append(self._fleet.retry_at)

    def _shrink(self, market: Market) -> None:
        """The latest go first, and only those that the fleet can do without whole."""
        there = [
            (member, row)
            for member, row in live_members(self._tx, self._fleet.id)
            if member.market == market and not member.leaving and row is not None and is_there(row)
        ]
        excess = sum(member.weight for member, _ in there) - self._fleet.target(market)
        for member, row in reversed(there):
            if member.weight > excess:
                continue
            excess -= member.weight
            self._event("instance-change", "termination_notified", "", member.instance_id)
            if market == "spot":
                # Spot instances get a notice first, as with every interruption.
                self._tx.save(replace(member, leaving=True))
                give_notice(self._tx, row, "capacity")
            else:
                self._terminate([member.instance_id])

    def _is_going(self, member: FleetMember, row: Instance | None) -> bool:
        notice = self._notice(member)
        return row is not None and (row.state == "shutting-down" or bool(notice and notice.due))

    def _terminate(self, instance_ids: Iterable[str]) -> None:
        """One that is protected stays; its owner wanted that more."""
        for instance_id in instance_ids:
            try:
                with self._tx.attempt():
                    instances.terminate(self._tx, self._caller, {"InstanceIds": [instance_id]})
            except ServiceError as error:
                self._trouble("iamFleetRoleInvalid", error.message)

    def _pause(self, trouble: str) -> None:
        """Longer after each failure in a row."""
        before = self._fleet.retry_at
        recent = before is not None and self._tx.now - before < LONGEST_PAUSE + SHORT_LIFE
        failures = self._fleet.failures + 1 if recent else 1
        pause = min(FIRST_PAUSE * 2 ** min(failures - 1, 10), LONGEST_PAUSE)
        retry_at = self._tx.now + pause
        self._save(replace(self._fleet, trouble=trouble, failures=failures, retry_at=retry_at))
        self._trouble("allLaunchSpecsTemporarilyBlacklisted", trouble)

    def _trouble(self, sub_type: str, description: str) -> None:
        """The same trouble again is the same line."""
        last = last_event(self._tx, self._fleet.id)
        if last is None or (last.sub_type, last.description) != (sub_type, description):
            self._event("service-error", sub_type, description)

    def _change(self, sub_type: str, changed: Fleet) -> None:
        self._save(changed)
        self._event("fleet-change", sub_type)

    def _save(self, changed: Fleet) -> None:
        self._fleet = changed
        self._tx.save(changed)

    def _event(self, kind: EventType, sub_type: str, description: str = "", instance_id: str | None = None) -> None:
        self._tx.add(FleetEvent(self._fleet.id, self._tx.now, kind, sub_type, description, instance_id))


def _failed_early(member: FleetMember, row: Instance, now: datetime) -> bool:
    return row.state_reason_code in _ENDED_BY_ITSELF and (not row.booted or now - member.launched < SHORT_LIFE)


def service(tx: Tx) -> Caller:
    """EC2 Fleet itself, in the role that it has in the account."""
    (facts,) = tx.find(CloudFacts)
    name = SERVICES[SERVICE].name
    return Caller(
        kind="role",
        account=facts.account,
        region=facts.region,
        arn=assumed_arn(facts.account, name, "FleetSession"),
        user_id=name,
        access_key_id="",
        source_ip=SERVICE,
        request_id="",
        role=name,
    )
