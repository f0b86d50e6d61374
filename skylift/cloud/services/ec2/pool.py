"""A fleet's pools: one type in one zone each, and in which order its strategies take them.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-fleet-allocation-strategy.html
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypedDict, cast

from skylift.catalogue import InstanceType
from skylift.cloud.domain.fleet import MARKETS, Market
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.instance import Image
from skylift.cloud.domain.launch_template import LaunchTemplateVersion, TemplateSpec
from skylift.cloud.domain.network import Subnet
from skylift.cloud.services.api.instance_type import instance_type
from skylift.cloud.services.api.public_parameter import image_id_or_none
from skylift.cloud.services.api.refusal import combination, missing
from skylift.cloud.services.api.resource import require
from skylift.cloud.services.api.zone import require_zone
from skylift.cloud.services.ec2.capacity import on_demand_price, spot_price
from skylift.cloud.services.ec2.instance_requirement import affordable, fitting
from skylift.cloud.services.ec2.launch_template import template_of, version_of
from skylift.cloud.services.vpc.vpc import default_vpc
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import ec2

_SHOWN = (
    "InstanceType",
    "MaxPrice",
    "SubnetId",
    "AvailabilityZone",
    "WeightedCapacity",
    "Priority",
    "ImageId",
    "InstanceRequirements",
)
"""Overrides that EC2 repeats when it says where an instance came from."""

_PASSED_ON = ("InstanceType", "ImageId", "KeyName", "IamInstanceProfile", "MetadataOptions", "BlockDeviceMappings")
"""Overrides that RunInstances has a parameter of the same name for."""


@dataclass(frozen=True)
class Pool:
    """`request` is what RunInstances is asked for, `source` where EC2 says that an instance of the pool came from.

    `markets` are those on which its type is not too dear for what the fleet asks for.
    """

    type: str
    zone: str
    weight: float
    priority: float
    max_price: str | None
    request: ec2.RunInstancesRequest
    source: ec2.LaunchTemplateAndOverridesResponse
    markets: frozenset[Market] = frozenset(MARKETS)

    @property
    def key(self) -> tuple[str, str]:
        """A fleet has each pool once, whatever subnet it is asked for in."""
        return self.type, self.zone


def pools_of(tx: Tx, caller: Caller, config: ec2.FleetLaunchTemplateConfigRequest) -> list[Pool]:
    """The pools of one launch template and its overrides. Raises EC2's errors for missing resources."""
    asked: ec2.FleetLaunchTemplateSpecificationRequest = config.get("LaunchTemplateSpecification") or {}
    if not asked.get("Version"):
        raise missing("LaunchTemplateConfigs.LaunchTemplateSpecification.Version")
    template = template_of(tx, asked)
    version = version_of(tx, template, asked["Version"])
    named: TemplateSpec = {"LaunchTemplateId": template.id, "Version": str(version.number)}
    overrides: list[ec2.FleetLaunchTemplateOverridesRequest] = config.get("Overrides") or [{}]
    return [pool for override in overrides for pool in _expanded(tx, caller, named, version, override)]


def _expanded(
    tx: Tx,
    caller: Caller,
    named: TemplateSpec,
    version: LaunchTemplateVersion,
    override: ec2.FleetLaunchTemplateOverridesRequest,
) -> Iterator[Pool]:
    """One override is a pool for each type that fits and each place that it names."""
    data = cast("ec2.ResponseLaunchTemplateData", version.data)
    if data.get("InstanceMarketOptions"):
        raise combination("A fleet says on which market it launches: its templates have no InstanceMarketOptions.")
    nics = data.get("NetworkInterfaces") or []
    placement = cast("ec2.Placement", {**data.get("Placement", {}), **override.get("Placement", {})})
    group = override["Placement"].get("GroupName") if "Placement" in override else None
    for place in _places(tx, caller, override, placement, nics):
        for name, markets in _types(tx, caller, data, override, place.zone):
            passed_on = {key: value for key, value in override.items() if key in _PASSED_ON}
            request: ec2.RunInstancesRequest = {
                "LaunchTemplate": named,
                **cast("ec2.RunInstancesRequest", passed_on),
                "InstanceType": name,
                "MinCount": 1,
                "MaxCount": 1,
                "Placement": {**placement, "AvailabilityZone": place.zone},
            }
            request["Placement"].pop("AvailabilityZoneId", None)
            repeated = {key: value for key, value in override.items() if key in _SHOWN}
            shown = cast("ec2.FleetLaunchTemplateOverrides", repeated)
            shown["InstanceType"], shown["AvailabilityZone"] = name, place.zone
            if place.subnet_id and nics:
                first = min(nic.get("DeviceIndex", 0) for nic in nics)
                request["NetworkInterfaces"] = [{"DeviceIndex": first, "SubnetId": place.subnet_id}]
            elif place.subnet_id:
                request["SubnetId"] = place.subnet_id
            if place.subnet_id:
                shown["SubnetId"] = place.subnet_id
            if group:
                shown["Placement"] = {"GroupName": group}
            yield Pool(
                type=name,
                zone=place.zone,
                weight=float(override.get("WeightedCapacity", 1)),
                priority=float(override.get("Priority", math.inf)),
                max_price=override.get("MaxPrice"),
                request=request,
                source={"LaunchTemplateSpecification": named, "Overrides": shown},
                markets=markets,
            )


@dataclass(frozen=True)
class _Place:
    """A zone, and the subnet in it that an override names."""

    zone: str
    subnet_id: str | None = None


def _places(
    tx: Tx,
    caller: Caller,
    override: ec2.FleetLaunchTemplateOverridesRequest,
    placement: ec2.Placement,
    nics: list[ec2.LaunchTemplateInstanceNetworkInterfaceSpecification],
) -> list[_Place]:
    """The subnets that are named; else the template's subnet or zone; else each zone with a default subnet."""
    zone = require_zone(
        caller.region,
        override.get("AvailabilityZone") or placement.get("AvailabilityZone"),
        override.get("AvailabilityZoneId") or placement.get("AvailabilityZoneId"),
    )
    subnet_ids = [one.strip() for one in override.get("SubnetId", "").split(",") if one.strip()]
    planned = next((nic["SubnetId"] for nic in nics if nic.get("SubnetId")), None)
    if subnet_ids:
        places = [_Place(require(tx, Subnet, one).zone, one) for one in dict.fromkeys(subnet_ids)]
    elif planned:
        places = [_Place(require(tx, Subnet, planned).zone)]
    else:
        places = [_Place(one) for one in ([zone] if zone else _default_zones(tx))]
    for place in places:
        if zone not in (None, place.zone):
            raise combination(f"The subnet '{place.subnet_id or planned}' is not in the availability zone '{zone}'.")
    return places


def _types(
    tx: Tx,
    caller: Caller,
    data: ec2.ResponseLaunchTemplateData,
    override: ec2.FleetLaunchTemplateOverridesRequest,
    zone: str,
) -> list[tuple[str, frozenset[Market]]]:
    """The types that an override asks for by name or by what they have, and on which markets each is taken."""
    asked = override.get("InstanceRequirements")
    name = override.get("InstanceType") or (None if asked else data.get("InstanceType"))
    if asked and name:
        raise combination("An override has InstanceType or InstanceRequirements, not both.")
    if not asked:
        if not name:
            raise missing("InstanceType")
        return [(instance_type(name).name, frozenset(MARKETS))]
    image_id = image_id_or_none(tx, caller, override.get("ImageId") or data.get("ImageId") or "")
    image = tx.get(Image, id=image_id)
    kinds = fitting(asked, [image.architecture] if image else ["x86_64", "arm64"])

    def price(market: str, kind: InstanceType) -> float | None:
        return spot_price(tx, kind.name, zone) if market == "spot" else on_demand_price(kind.name, caller.region)

    taken = {market: {kind.name for kind in affordable(asked, market, kinds, price)} for market in MARKETS}
    found = [(kind.name, frozenset(one for one in MARKETS if kind.name in taken[one])) for kind in kinds]
    return [(kind_name, markets) for kind_name, markets in found if markets]


def _default_zones(tx: Tx) -> list[str]:
    subnets = tx.find(Subnet, vpc_id=default_vpc(tx).id, default_for_zone=True)
    return sorted({subnet.zone for subnet in subnets})


@dataclass(frozen=True)
class Offer:
    """A pool at this moment.

    `room` is how many more instances it has capacity for, `price` USD an hour of one (None where it is not known),
    `units` what the fleet has there already.
    """

    pool: Pool
    room: float
    price: float | None
    units: float

    def with_one_of(self, pool: Pool) -> Offer:
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


def ranked(market: Market, options: Strategy, offers: Iterable[Offer], needed: float) -> list[Offer]:
    """The offers in the order in which a fleet that needs so many units takes its next instance from them.

    Among equals the order of the request decides.
    """
    found = list(offers)
    # Where one instance of any pool is more than enough, it is the instance that has to be cheap, not the unit.
    weighted = any(offer.pool.weight <= needed for offer in found)
    strategy = options.get("AllocationStrategy", "lowest-price")

    def price(offer: Offer) -> float:
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
