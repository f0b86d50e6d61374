"""Instances for a fleet: taken from its pools one at a time, each in the order of that moment, until it has enough.

An instance is a row of intent like every other one's, written in the transaction that counted what was missing: there
is no moment at which a crash could leave one that the fleet does not know of, or have it launch another in its place.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field, replace

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.fleet import Fleet, FleetEvent, FleetMember, LaunchError, Market
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.launch_request import LaunchRequest, MarketRequest, TagRequest
from skylift.cloud.domain.market import ANY_TYPE, Capacity
from skylift.cloud.services.ec2.capacity import free_room, on_demand_price, spot_price
from skylift.cloud.services.ec2.launch import launch
from skylift.cloud.services.ec2.pool import Offer, Pool, Strategy, ranked
from skylift.cloud.store.database import Tx
from skylift.cloud.store.fleet import members_left

FLEET_TAG = "aws:ec2:fleet-id"


Bounds = set[tuple[str, str]]


@dataclass
class Filling:
    """The result of an attempt: the instances that were launched, and the error of each pool that failed."""

    members: list[FleetMember] = field(default_factory=list)
    errors: list[tuple[Pool, ServiceError]] = field(default_factory=list)

    @property
    def units(self) -> float:
        return sum(member.weight for member in self.members)


def fill(
    tx: Tx,
    caller: Caller,
    fleet: Fleet,
    market: Market,
    pools: list[Pool],
    needed: float,
    *,
    most: int | None = None,
    tags: tuple[TagRequest, ...] = (),
) -> Filling:
    """Launch until so many units are there, or no pool has any more; at most so many instances."""
    done = Filling()
    units: dict[tuple[str, str], float] = defaultdict(float)
    for member in members_left(tx, fleet.id):
        if member.market == market and not member.leaving:
            units[member.type, member.zone] += member.weight
    options: Strategy = (
        fleet.spot_options
        if market == "spot"
        else {"AllocationStrategy": fleet.on_demand_options.get("AllocationStrategy", "lowest-price")}
    )
    # The count of the room reads all that runs, so it is made only if a capacity is set.
    bounded = {(capacity.type, capacity.zone) for capacity in tx.find(Capacity)}
    left = [
        _offer(tx, caller, market, bounded, pool, units[pool.type, pool.zone])
        for pool in pools
        if market in pool.markets
    ]
    while left and done.units < needed and (most is None or len(done.members) < most):
        best = ranked(market, options, left, needed - done.units)[0]
        try:
            with tx.attempt():
                member = _launch(tx, caller, fleet, market, best.pool, tags)
        except ServiceError as error:
            done.errors.append((best.pool, error))
            left.remove(best)
        else:
            done.members.append(member)
            left = [offer.with_one_of(best.pool) for offer in left]
    return done


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


def _offer(tx: Tx, caller: Caller, market: Market, bounded: Bounds, pool: Pool, units: float) -> Offer:
    is_bounded = not bounded.isdisjoint({(pool.type, pool.zone), (ANY_TYPE, pool.zone)})
    room = free_room(tx, pool.type, pool.zone, market) if is_bounded else None
    price = spot_price(tx, pool.type, pool.zone) if market == "spot" else on_demand_price(pool.type, caller.region)
    return Offer(pool, room=math.inf if room is None else room, price=price, units=units)


def _launch(
    tx: Tx, caller: Caller, fleet: Fleet, market: Market, pool: Pool, tags: tuple[TagRequest, ...]
) -> FleetMember:
    (instance,) = launch(tx, caller, launch_from(pool, market, tags))
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
    return member
