"""Instances for a fleet: taken from its pools one at a time, each in the order of that moment, until it has enough.

An instance is a row of intent like every other one's, written in the transaction that counted what was missing: there
is no moment at which a crash could leave one that the fleet does not know of, or have it launch another in its place.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, cast

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.fleet import Fleet, FleetEvent, FleetMember, LaunchError, Market
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.instance import Instance
from skylift.cloud.domain.launch_request import LaunchRequest, MarketRequest, TagRequest
from skylift.cloud.domain.market import ANY_TYPE, Capacity
from skylift.cloud.services.ec2.capacity import BEYOND_QUOTA, free_quota, free_room, on_demand_price, spot_price
from skylift.cloud.services.ec2.instance import end
from skylift.cloud.services.ec2.launch import how_many, launch_weighed
from skylift.cloud.services.ec2.pool import Pool, PoolOffer, Strategy, ranked
from skylift.cloud.services.ec2.tagging import MOST_AT_ONCE, OF_ROW
from skylift.cloud.services.market.fleet_view import add_launched
from skylift.cloud.store.database import Tx
from skylift.cloud.store.fleet import members_left

if TYPE_CHECKING:
    from skylift.cloud.services.market.fleet_view import Groups

FLEET_TAG = "aws:ec2:fleet-id"


OF_OFFER = 128
"""A look at a pool, or at the addresses of a server that is there, takes as long as it takes to write so many bytes."""
Bounds = set[tuple[str, str]]
Step = Callable[[Tx, Caller], int]
"""A part of a long launch; answers what it weighs of MOST_AT_ONCE."""


@dataclass
class Filling:
    """Launches until what is missing is there, or no pool has any more: `errors` are why, by pool, `offers` of those
    that have not failed. What comes to less than `least` is taken back."""

    fleet: Fleet
    market: Market
    offers: list[PoolOffer]
    missing: float
    tags: tuple[TagRequest, ...] = ()
    least: float = 0
    members: list[FleetMember] = field(default_factory=list)
    launched: Groups = field(default_factory=dict)
    errors: dict[tuple[str, str], tuple[Pool, ServiceError]] = field(default_factory=dict)

    def steps(self) -> Iterator[Step]:
        while self.offers and self.missing > 0:
            yield self._launch_best
        if sum(member.weight for member in self.members) < self.least:
            self.launched.clear()
            yield from (partial(_take_back, member=member) for member in self.members)

    def error_views(self) -> list[LaunchError]:
        return [error_view(pool, self.market, error) for pool, error in self.errors.values()]

    def _launch_best(self, tx: Tx, caller: Caller) -> int:
        options = cast("Strategy", self.fleet.options(self.market))
        pool = ranked(self.market, options, self.offers, self.missing)[0].pool
        weight = OF_ROW + OF_OFFER * (len(self.offers) + tx.count(Instance))
        try:
            with tx.attempt():
                member, more = _launch(tx, caller, self.fleet, self.market, pool, self.tags)
        except ServiceError as error:
            self.errors[pool.key] = pool, error
            self.offers = [offer for offer in self.offers if offer.pool is not pool]
            return weight
        self.members.append(member)
        add_launched(self.launched, member)
        self.missing -= member.weight
        self.offers = [offer.with_one_of(pool) for offer in self.offers]
        return weight + more


def choose_group(tx: Tx, caller: Caller, filling: Filling) -> None:
    """Of a single type or zone, as the fleet asks for: the first that has enough, or else most, at least the least.

    What each has is worked out before: what is launched and taken back is seen and paid for, and holds meanwhile the
    quota that the next one needs. Pools of several types that share a quota may come to less.
    """
    options, needed = filling.fleet.options(filling.market), filling.missing
    one_type, one_zone = options.get("SingleInstanceType"), options.get("SingleAvailabilityZone")
    groups: dict[tuple[str, str], list[PoolOffer]] = defaultdict(list)
    units: dict[tuple[str, str], float] = defaultdict(float)
    errors: dict[tuple[str, str], tuple[Pool, ServiceError]] = {}
    for offer in filling.offers:
        pool = offer.pool
        key = pool.type if one_type else "", pool.zone if one_zone else ""
        groups[key].append(offer)
        more, error = _could_have(tx, caller, filling, pool)
        units[key] += more
        if error:
            errors[pool.key] = pool, error
            if one_type and error.code in BEYOND_QUOTA:
                units[key] = min(units[key], (free_quota(tx, pool.type, filling.market) or 0) * pool.weight)
    best = max(units, key=lambda key: min(units[key], needed), default=("", ""))
    if units[best] < needed:
        filling.errors |= errors
    filling.offers = groups[best] if units[best] >= filling.least else []


def _could_have(tx: Tx, caller: Caller, filling: Filling, pool: Pool) -> tuple[float, ServiceError | None]:
    """The units that a pool would have now if it were alone, and why not all that is missing. Nothing is launched."""
    why: ServiceError | None = None
    count = math.ceil(filling.missing / pool.weight)
    for least, most in ((count, count), (1, count), (1, 1)):
        asked = replace(launch_from(pool, filling.market, filling.tags), least=least, most=most)
        try:
            return how_many(tx, caller, asked) * pool.weight, why
        except ServiceError as error:
            why = why or error
    return 0, why


def _take_back(tx: Tx, _caller: Caller, member: FleetMember) -> int:
    tx.remove(member)
    end(tx, member.instance_id, forced=True)
    return 2 * OF_ROW


def take(tx: Tx, caller: Caller, steps: Iterator[Step]) -> bool:
    """Take as many steps as one transaction may while others wait. Answers whether they were all."""
    left = MOST_AT_ONCE
    for step in steps:
        left -= step(tx, caller)
        if left <= 0:
            return False
    return True


def offers_of(tx: Tx, caller: Caller, fleet: Fleet, market: Market, pools: list[Pool]) -> list[PoolOffer]:
    units: dict[tuple[str, str], float] = defaultdict(float)
    for member in members_left(tx, fleet.id):
        if member.market == market and not member.leaving:
            units[member.type, member.zone] += member.weight
    # The count of the room reads all that runs, so it is made only if a capacity is set.
    bounded = {(capacity.type, capacity.zone) for capacity in tx.find(Capacity)}
    return [
        _offer(tx, caller, market, bounded, pool, units[pool.type, pool.zone])
        for pool in pools
        if market in pool.markets
    ]


def launch_from(pool: Pool, market: Market, tags: tuple[TagRequest, ...] = ()) -> LaunchRequest:
    """The launch of one instance on this market.

    A fleet's spot requests are for one time: it is the fleet that asks again.
    """
    spot = MarketRequest("spot", type="one-time", max_price=pool.max_price or None, behavior="terminate")
    return replace(pool.launch, market=spot if market == "spot" else None, tags=tags or None)


def error_view(pool: Pool, market: Market, error: ServiceError) -> LaunchError:
    return {
        "LaunchTemplateAndOverrides": pool.source,
        "Lifecycle": market,
        # A type that a zone has not is a fault of the fleet's here, where RunInstances says Unsupported.
        "ErrorCode": "InvalidFleetConfiguration" if error.code == "Unsupported" else error.code,
        "ErrorMessage": error.message,
    }


def _offer(tx: Tx, caller: Caller, market: Market, bounded: Bounds, pool: Pool, units: float) -> PoolOffer:
    is_bounded = not bounded.isdisjoint({(pool.type, pool.zone), (ANY_TYPE, pool.zone)})
    room = free_room(tx, pool.type, pool.zone, market) if is_bounded else None
    price = spot_price(tx, pool.type, pool.zone) if market == "spot" else on_demand_price(pool.type, caller.region)
    return PoolOffer(pool, room=math.inf if room is None else room, price=price, units=units)


def _launch(
    tx: Tx, caller: Caller, fleet: Fleet, market: Market, pool: Pool, tags: tuple[TagRequest, ...]
) -> tuple[FleetMember, int]:
    instance, weight = launch_weighed(tx, caller, launch_from(pool, market, tags))
    tx.save(replace(instance, tags={**instance.tags, FLEET_TAG: fleet.id}))
    member = FleetMember(
        instance_id=instance.id,
        fleet_id=fleet.id,
        market=market,
        weight=pool.weight,
        type=instance.type,
        zone=instance.zone,
        source=pool.source,
        launched=tx.now,
    )
    tx.add(member)
    if fleet.type != "instant":
        description = (
            f'{{"instanceType":"{instance.type}","image":"{instance.image_id}","productDescription":"Linux/UNIX",'
            f'"availabilityZone":"{instance.zone}"}}'
        )
        tx.add(FleetEvent(fleet.id, tx.now, "instance-change", "launched", description, instance.id))
    return member, weight
