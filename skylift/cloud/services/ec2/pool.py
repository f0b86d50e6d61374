"""A fleet's pools: one type in one zone each, and in which order its strategies take them.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-fleet-allocation-strategy.html
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypedDict

from skylift.catalogue import InstanceType
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.fleet import MARKETS, FleetConfig, FleetOverride, FleetSource, Market
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.instance import Image
from skylift.cloud.domain.launch_request import InterfaceRequest, LaunchRequest, PlacementRequest, over
from skylift.cloud.domain.launch_template import LaunchTemplateVersion, TemplateSpec
from skylift.cloud.domain.network import Subnet
from skylift.cloud.services.api.instance_type import instance_type
from skylift.cloud.services.api.public_parameter import image_id_for, image_id_or_none
from skylift.cloud.services.api.refusal import combination, missing
from skylift.cloud.services.api.resource import require
from skylift.cloud.services.api.zone import require_zone
from skylift.cloud.services.ec2.capacity import on_demand_price, spot_price
from skylift.cloud.services.ec2.fleet_config import override_view
from skylift.cloud.services.ec2.instance_requirement import affordable, fitting
from skylift.cloud.services.ec2.launch_request import template_request
from skylift.cloud.services.ec2.launch_template import data_of, template_of, version_of
from skylift.cloud.services.ec2.launch_template_version import with_template
from skylift.cloud.services.vpc.vpc import default_subnets
from skylift.cloud.store.database import Tx


@dataclass(frozen=True)
class Pool:
    """`launch` is one instance's, `source` where EC2 says that an instance of the pool came from.

    `markets` are those on which its type is not too dear for what the fleet asks for.
    """

    type: str
    zone: str
    weight: float
    priority: float
    max_price: str | None
    launch: LaunchRequest
    source: FleetSource
    markets: frozenset[Market] = frozenset(MARKETS)

    @property
    def key(self) -> tuple[str, str]:
        """A fleet has each pool once, whatever subnet it is asked for in."""
        return self.type, self.zone


def pools_of(tx: Tx, caller: Caller, config: FleetConfig) -> list[Pool]:
    """The pools of one launch template and its overrides. Raises EC2's errors for missing resources."""
    return list(_pools_of(tx, caller, config))


def distinct_pools(tx: Tx, caller: Caller, configs: Iterable[FleetConfig]) -> list[Pool]:
    """Those of all templates. Raises at the first that is there already: there may be hundreds of thousands."""
    found: dict[tuple[str, str], Pool] = {}
    for pool in (pool for config in configs for pool in _pools_of(tx, caller, config)):
        if found.setdefault(pool.key, pool) is not pool:
            raise ServiceError("InvalidFleetConfig", "The fleet configuration contains duplicate instance pools")
    return list(found.values())


def _pools_of(tx: Tx, caller: Caller, config: FleetConfig) -> Iterator[Pool]:
    if not config.template.get("Version"):
        raise missing("LaunchTemplateConfigs.LaunchTemplateSpecification.Version")
    template = template_of(tx, config.template)
    version = version_of(tx, template, config.template["Version"])
    named: TemplateSpec = {"LaunchTemplateId": template.id, "Version": str(version.number)}
    for override in config.overrides or (FleetOverride(),):
        yield from _expanded(tx, caller, named, version, override)


def settled(tx: Tx, caller: Caller, pool: Pool) -> Pool:
    """With the image that the caller was asked about, whatever its parameter names by the launch."""
    image = image_id_for(tx, caller, with_template(tx, pool.launch)[0].image or "")
    return replace(pool, launch=replace(pool.launch, image=image))


def _expanded(
    tx: Tx, caller: Caller, named: TemplateSpec, version: LaunchTemplateVersion, override: FleetOverride
) -> Iterator[Pool]:
    """One override is a pool for each type that fits and each place that it names."""
    below = template_request(data_of(version))
    if below.market is not None:
        raise combination("A fleet says on which market it launches: its templates have no InstanceMarketOptions.")
    nics = below.interfaces or ()
    placement = over(override.launch.place, below.place)
    places = _places(tx, caller, override, placement, nics)
    kinds = _types(tx, caller, below, override)
    for place in places:
        for name, markets in _on_markets(tx, caller, override, kinds, place.zone):
            in_interface = place.subnet_id is not None and bool(nics)
            first = InterfaceRequest(index=min((nic.index or 0 for nic in nics), default=0), subnet_id=place.subnet_id)
            launch = replace(
                override.launch,
                template=named,
                type=name,
                placement=replace(placement, zone=place.zone, zone_id=None),
                interfaces=(first,) if in_interface else None,
                subnet_id=None if in_interface else place.subnet_id,
            )
            shown = override_view(override)
            shown["InstanceType"], shown["AvailabilityZone"] = name, place.zone
            if place.subnet_id:
                shown["SubnetId"] = place.subnet_id
            yield Pool(
                type=name,
                zone=place.zone,
                weight=1.0 if override.weight is None else float(override.weight),
                priority=math.inf if override.priority is None else float(override.priority),
                max_price=override.max_price,
                launch=launch,
                source={"LaunchTemplateSpecification": named, "Overrides": shown},
                markets=markets,
            )


@dataclass(frozen=True)
class _Place:
    """A zone, and the subnet in it that an override names."""

    zone: str
    subnet_id: str | None = None


def _places(
    tx: Tx, caller: Caller, override: FleetOverride, placement: PlacementRequest, nics: Sequence[InterfaceRequest]
) -> list[_Place]:
    """The subnets that are named; else the template's subnet or zone; else each zone with a default subnet."""
    zone = require_zone(caller.region, override.zone or placement.zone, override.zone_id or placement.zone_id)
    planned = next((nic.subnet_id for nic in nics if nic.subnet_id), None)
    if override.subnet_ids:
        places = [_Place(require(tx, Subnet, one).zone, one) for one in dict.fromkeys(override.subnet_ids)]
    elif planned:
        places = [_Place(require(tx, Subnet, planned).zone)]
    else:
        places = [_Place(one) for one in ([zone] if zone else [subnet.zone for subnet in default_subnets(tx)])]
    for place in places:
        if zone not in (None, place.zone):
            raise combination(f"The subnet '{place.subnet_id or planned}' is not in the availability zone '{zone}'.")
    return places


def _types(tx: Tx, caller: Caller, below: LaunchRequest, override: FleetOverride) -> list[InstanceType]:
    """The types that an override asks for by name or by what they have."""
    asked = override.requirements
    name = override.launch.type or (None if asked else below.type)
    if asked and name:
        raise combination("An override has InstanceType or InstanceRequirements, not both.")
    if not asked:
        if not name:
            raise missing("InstanceType")
        return [instance_type(name)]
    image_id = image_id_or_none(tx, caller, override.launch.image or below.image or "")
    image = tx.get(Image, id=image_id)
    return fitting(asked, [image.architecture] if image else ["x86_64", "arm64"])


def _on_markets(
    tx: Tx, caller: Caller, override: FleetOverride, kinds: list[InstanceType], zone: str
) -> list[tuple[str, frozenset[Market]]]:
    """On which markets each type is taken."""
    asked = override.requirements
    if not asked:
        return [(kind.name, frozenset(MARKETS)) for kind in kinds]

    def price(market: str, kind: InstanceType) -> float | None:
        return spot_price(tx, kind.name, zone) if market == "spot" else on_demand_price(kind.name, caller.region)

    taken = {market: {kind.name for kind in affordable(asked, market, kinds, price)} for market in MARKETS}
    found = [(kind.name, frozenset(one for one in MARKETS if kind.name in taken[one])) for kind in kinds]
    return [(kind_name, markets) for kind_name, markets in found if markets]


@dataclass(frozen=True)
class PoolOffer:
    """A pool at this moment.

    `room` is how many more instances it has capacity for, `price` USD an hour of one (None where it is not known),
    `units` what the fleet has there already.
    """

    pool: Pool
    room: float
    price: float | None
    units: float

    def with_one_of(self, pool: Pool) -> PoolOffer:
        """After an instance has been launched there."""
        if (self.pool.type, self.pool.zone) != (pool.type, pool.zone):
            return self
        return replace(self, room=self.room - 1, units=self.units + pool.weight)

    def unit_price(self, *, weighted: bool) -> float:
        if self.price is None:
            return math.inf
        return self.price / self.pool.weight if weighted else self.price


class Strategy(TypedDict, total=False):
    """How a fleet or a group chooses among pools, in the members that both have for it."""

    AllocationStrategy: str
    InstancePoolsToUseCount: int


def ranked(market: Market, options: Strategy, offers: Iterable[PoolOffer], needed: float) -> list[PoolOffer]:
    """The offers in the order in which a fleet that needs so many units takes its next instance from them.

    Among equals the order of the request decides.
    """
    found = list(offers)
    # Where one instance of any pool is more than enough, it is the instance that has to be cheap, not the unit.
    weighted = any(offer.pool.weight <= needed for offer in found)
    strategy = options.get("AllocationStrategy", "lowest-price")

    def price(offer: PoolOffer) -> float:
        return offer.unit_price(weighted=weighted)

    if market == "on-demand":
        return sorted(found, key=(lambda offer: offer.pool.priority) if strategy == "prioritized" else price)
    if strategy == "diversified":
        return sorted(found, key=lambda offer: (offer.units, price(offer)))
    if strategy == "capacity-optimized":
        return sorted(found, key=lambda offer: -offer.room)
    if strategy == "capacity-optimized-prioritized":
        return sorted(found, key=lambda offer: (-offer.room, offer.pool.priority))
    if strategy == "price-capacity-optimized":
        short = {offer.pool.key: offer.room * offer.pool.weight < needed for offer in found}
        return sorted(found, key=lambda offer: (short[offer.pool.key], price(offer), -offer.room))
    cheapest = sorted(found, key=price)
    first = int(options.get("InstancePoolsToUseCount", 1))
    return sorted(cheapest[:first], key=lambda offer: offer.units) + cheapest[first:]
