"""A fleet's pools: one type in one zone each, and in which order its strategies take them.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-fleet-allocation-strategy.html
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from skylift.cloud.fleet import Market
from skylift.cloud.identity import Caller
from skylift.cloud.launch_template import LaunchTemplateVersion
from skylift.cloud.network import Subnet
from skylift.cloud.services.instance_type import instance_type
from skylift.cloud.services.launch_template import template_of, version_of
from skylift.cloud.services.refusal import combination, missing
from skylift.cloud.services.resource import require
from skylift.cloud.services.vpc import default_vpc
from skylift.cloud.services.zone import require_zone
from skylift.cloud.store.database import Tx

Item = dict[str, Any]

_SHOWN = ("InstanceType", "MaxPrice", "SubnetId", "AvailabilityZone", "WeightedCapacity", "Priority", "ImageId")
"""Overrides that EC2 repeats when it says where an instance came from."""

_PASSED_ON = ("InstanceType", "ImageId", "KeyName", "IamInstanceProfile", "MetadataOptions", "BlockDeviceMappings")
"""Overrides that RunInstances has a parameter of the same name for."""


@dataclass(frozen=True)
class Pool:
    """`request` is what RunInstances is asked for, `source` where EC2 says that an instance of the pool came from."""

    type: str
    zone: str
    weight: float
    priority: float
    max_price: str | None
    request: Item
    source: Item

    @property
    def key(self) -> tuple[str, str, str]:
        return self.type, self.zone, str(self.request.get("SubnetId", ""))


def pools_of(tx: Tx, caller: Caller, config: Item) -> list[Pool]:
    """The pools of one launch template and its overrides. Raises EC2's errors for what is not there."""
    asked = config.get("LaunchTemplateSpecification") or {}
    if not asked.get("Version"):
        raise missing("LaunchTemplateConfigs.LaunchTemplateSpecification.Version")
    template = template_of(tx, asked)
    version = version_of(tx, template, asked["Version"])
    named = {"LaunchTemplateId": template.id, "Version": str(version.number)}
    overrides = config.get("Overrides") or [{}]
    return [pool for override in overrides for pool in _expanded(tx, caller, named, version, override)]


def _expanded(tx: Tx, caller: Caller, named: Item, version: LaunchTemplateVersion, override: Item) -> Iterator[Pool]:
    """One override is a pool for each subnet that it names; where nothing names one, for each zone that has any."""
    data = version.data
    if data.get("InstanceMarketOptions"):
        raise combination(
            "A fleet says on which market it launches: its launch templates have no InstanceMarketOptions."
        )
    name = override.get("InstanceType") or data.get("InstanceType")
    if not name:
        raise missing("InstanceType")
    instance_type(name)
    placement = {**data.get("Placement", {}), **override.get("Placement", {})}
    zone = require_zone(
        caller.region,
        override.get("AvailabilityZone") or placement.get("AvailabilityZone"),
        override.get("AvailabilityZoneId") or placement.get("AvailabilityZoneId"),
    )
    subnet_ids = [one.strip() for one in override.get("SubnetId", "").split(",") if one.strip()]
    plugs = data.get("NetworkInterfaces") or []
    planned = next((plug["SubnetId"] for plug in plugs if plug.get("SubnetId")), None)
    places: list[tuple[str, str | None]]
    if subnet_ids:
        places = [(require(tx, Subnet, one).zone, one) for one in dict.fromkeys(subnet_ids)]
    elif planned:
        places = [(require(tx, Subnet, planned).zone, None)]
    else:
        places = [(one, None) for one in ([zone] if zone else _default_zones(tx))]
    for place_zone, subnet_id in places:
        if zone not in (None, place_zone):
            raise combination(f"The subnet '{subnet_id or planned}' is not in the availability zone '{zone}'.")
        request: Item = {"LaunchTemplate": named, "InstanceType": name}
        request.update({key: override[key] for key in _PASSED_ON if key in override})
        request["Placement"] = {**placement, "AvailabilityZone": place_zone}
        request["Placement"].pop("AvailabilityZoneId", None)
        if subnet_id and plugs:
            first = min(plug.get("DeviceIndex", 0) for plug in plugs)
            request["NetworkInterfaces"] = [{"DeviceIndex": first, "SubnetId": subnet_id}]
        elif subnet_id:
            request["SubnetId"] = subnet_id
        shown = {key: override[key] for key in _SHOWN if key in override}
        shown |= {
            "InstanceType": name,
            "AvailabilityZone": place_zone,
            **({"SubnetId": subnet_id} if subnet_id else {}),
        }
        if override.get("Placement", {}).get("GroupName"):
            shown["Placement"] = {"GroupName": override["Placement"]["GroupName"]}
        yield Pool(
            type=name,
            zone=place_zone,
            weight=float(override.get("WeightedCapacity", 1)),
            priority=float(override.get("Priority", math.inf)),
            max_price=override.get("MaxPrice"),
            request=request,
            source={"LaunchTemplateSpecification": named, "Overrides": shown},
        )


def _default_zones(tx: Tx) -> list[str]:
    subnets = tx.find(Subnet, vpc_id=default_vpc(tx).id, default_for_zone=True)
    return sorted({subnet.zone for subnet in subnets})


@dataclass(frozen=True)
class Offer:
    """What a pool is worth at the moment. `room` is how many more instances it has capacity for, `price` is that of an
    hour of one (none where nobody knows it), `units` what the fleet has there already."""

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


def ranked(market: Market, options: Mapping[str, Any], offers: Iterable[Offer], needed: float) -> list[Offer]:
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
