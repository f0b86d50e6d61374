"""Mixed instances policies: several types, some on demand and some on the spot market.

https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-mixed-instances-groups.html
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from skylift.catalogue import on_demand
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.launch_request import LaunchRequest
from skylift.cloud.domain.launch_template import TemplateSpec
from skylift.cloud.domain.scaling_group import (
    COUNTED,
    Distribution,
    Market,
    MixedOverride,
    MixedPolicy,
    ScalingGroup,
    ScalingMember,
    Wanted,
    units,
)
from skylift.cloud.services.api.operation import below
from skylift.cloud.services.autoscaling.scaling_launch import check_template, named, version_meant
from skylift.cloud.services.autoscaling.scaling_rules import invalid
from skylift.cloud.services.ec2.capacity import free_room, spot_price
from skylift.cloud.services.ec2.launch_template import data_of
from skylift.cloud.services.ec2.pool import Pool, PoolOffer, Strategy, ranked
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import autoscaling

ON_DEMAND_STRATEGIES = ("prioritized", "lowest-price")
SPOT_STRATEGIES = ("lowest-price", "capacity-optimized", "capacity-optimized-prioritized", "price-capacity-optimized")
DEFAULTS: Distribution = {
    "OnDemandAllocationStrategy": "prioritized",
    "OnDemandBaseCapacity": 0,
    "OnDemandPercentageAboveBaseCapacity": 100,
    "SpotAllocationStrategy": "lowest-price",
}
POOLS = 2
"""The default number of cheapest pools among which the strategy lowest-price divides spot instances."""
MOST_OVERRIDES = 40
_WEIGHT = re.compile(r"[1-9][0-9]{0,2}", re.ASCII)
_SPECIFICATION = below("LaunchTemplateSpecification", "LaunchTemplateId LaunchTemplateName Version")
_OVERRIDES = below("Overrides", f"{_SPECIFICATION} InstanceType ImageId WeightedCapacity")
_TEMPLATE = below("LaunchTemplate", f"{_SPECIFICATION} {_OVERRIDES}")
_DISTRIBUTION = below("InstancesDistribution", " ".join((*DEFAULTS, "SpotInstancePools", "SpotMaxPrice")))
TAKES = below("MixedInstancesPolicy", f"{_TEMPLATE} {_DISTRIBUTION}")


def checked_policy(tx: Tx, caller: Caller, asked: autoscaling.MixedInstancesPolicy, before: MixedPolicy) -> MixedPolicy:
    """A policy as groups describe it; what a change does not name stays as it was `before`."""
    template = asked.get("LaunchTemplate") or before.get("LaunchTemplate")
    if not template or not template.get("LaunchTemplateSpecification"):
        raise invalid("A MixedInstancesPolicy must have a LaunchTemplate with a LaunchTemplateSpecification.")
    spec = named(tx, _by_id(template["LaunchTemplateSpecification"]))
    _refuse_spot_template(tx, spec)
    overrides = [_checked_override(tx, caller, spec, one) for one in template.get("Overrides") or []]
    if len(overrides) > MOST_OVERRIDES:
        raise invalid(f"A MixedInstancesPolicy can have at most {MOST_OVERRIDES} overrides.")
    types = [one["InstanceType"] for one in overrides if "InstanceType" in one]
    if len(set(types)) < len(types):
        raise invalid("Each instance type can be in one override only.")
    if len({"WeightedCapacity" in one for one in overrides}) > 1:
        raise invalid("If one override has a WeightedCapacity, each of them has to have one.")
    if not overrides:
        check_template(tx, caller, spec)
    known = before.get("InstancesDistribution") or DEFAULTS
    # Of what the model has besides, nothing is taken.
    given = cast("Distribution", asked.get("InstancesDistribution") or {})
    distribution: Distribution = {**known, **given}
    if distribution["SpotAllocationStrategy"] == "lowest-price":
        distribution.setdefault("SpotInstancePools", POOLS)
    elif "SpotInstancePools" not in given:
        distribution.pop("SpotInstancePools", None)
    _check_distribution(distribution)
    return {
        "LaunchTemplate": {"LaunchTemplateSpecification": spec, "Overrides": overrides},
        "InstancesDistribution": distribution,
    }


def pools(tx: Tx, group: ScalingGroup, members: Sequence[ScalingMember], place: Wanted, *, region: str) -> list[Wanted]:
    """The possible launches in a place, the best first: one for each type that the group may have."""
    if not group.mixed:
        return [place]
    distribution = group.mixed["InstancesDistribution"]
    overrides = group.mixed["LaunchTemplate"]["Overrides"] or [{}]
    counted = [one for one in members if one.state in COUNTED]
    have: dict[tuple[str, str], int] = defaultdict(int)
    for one in counted:
        if one.market == place.market:
            have[one.type, one.zone] += one.units
    weights = group.weights
    offers: list[PoolOffer] = []
    wanted: dict[int, Wanted] = {}
    for priority, override in enumerate(overrides):
        template = override.get("LaunchTemplateSpecification") or place.template
        kind = override.get("InstanceType") or data_of(version_meant(tx, template)).get("InstanceType", "")
        room = free_room(tx, kind, place.zone, place.market)
        spot = place.market == "spot"
        offer = PoolOffer(
            Pool(kind, place.zone, weights.get(kind, 1), priority, None, LaunchRequest(subnet_id=place.subnet_id), {}),
            room=math.inf if room is None else room,
            price=spot_price(tx, kind, place.zone) if spot else on_demand(kind, region),
            units=have[kind, place.zone],
        )
        offers.append(offer)
        max_price = distribution.get("SpotMaxPrice", "") if spot else ""
        wanted[priority] = replace(
            place, template=template, type=kind, image_id=override.get("ImageId", ""), max_price=max_price
        )
    on_spot = place.market == "spot"
    strategy = distribution["SpotAllocationStrategy"] if on_spot else distribution["OnDemandAllocationStrategy"]
    options: Strategy = {
        "AllocationStrategy": strategy,
        "InstancePoolsToUseCount": distribution.get("SpotInstancePools", POOLS),
    }
    needed = max(1, group.desired - units(counted))
    return [wanted[int(offer.pool.priority)] for offer in ranked(place.market, options, offers, needed)]


def launches(group: ScalingGroup) -> Iterator[Wanted]:
    """Every launch that a group can make from its templates."""
    if not group.template:
        return
    overrides: Sequence[MixedOverride] = [{}]
    shares: dict[Market, int] = {"on-demand": 100, "spot": 0}
    if group.mixed:
        overrides = group.mixed["LaunchTemplate"]["Overrides"] or overrides
        distribution = group.mixed["InstancesDistribution"]
        above_base = distribution["OnDemandPercentageAboveBaseCapacity"]
        shares = {"on-demand": above_base + distribution["OnDemandBaseCapacity"], "spot": 100 - above_base}
    for subnet_id, zone in zip(group.subnets, group.zones, strict=True):
        for override in overrides:
            template = override.get("LaunchTemplateSpecification") or group.template
            kind, image_id = override.get("InstanceType", ""), override.get("ImageId", "")
            for market in (market for market, share in shares.items() if share):
                yield Wanted(subnet_id, zone, template, type=kind, image_id=image_id, market=market)


def _checked_override(
    tx: Tx, caller: Caller, spec: TemplateSpec, asked: autoscaling.LaunchTemplateOverrides | MixedOverride
) -> MixedOverride:
    own = asked.get("LaunchTemplateSpecification")
    template = named(tx, _by_id(own)) if own else spec
    _refuse_spot_template(tx, template)
    check_template(tx, caller, template, asked.get("InstanceType", ""), asked.get("ImageId", ""))
    weight = _weight(asked["WeightedCapacity"]) if "WeightedCapacity" in asked else None
    if weight is not None and "InstanceType" not in asked:
        raise invalid("A WeightedCapacity goes with an InstanceType.")
    return {
        **({"InstanceType": asked["InstanceType"]} if "InstanceType" in asked else {}),
        **({"ImageId": asked["ImageId"]} if "ImageId" in asked else {}),
        **({"LaunchTemplateSpecification": template} if own else {}),
        **({"WeightedCapacity": weight} if weight is not None else {}),
    }


def _weight(text: str) -> str:
    if not _WEIGHT.fullmatch(text):
        raise invalid(f"WeightedCapacity has to be a whole number between 1 and 999, not {text!r}.")
    return text


def _refuse_spot_template(tx: Tx, spec: TemplateSpec) -> None:
    """What it launches is on the spot market, whatever the policy's shares say."""
    try:
        asks = "InstanceMarketOptions" in data_of(version_meant(tx, spec))
    except ServiceError:
        # Its own check reports its errors.
        return
    if asks:
        raise invalid("A MixedInstancesPolicy cannot have a launch template that requests Spot Instances itself.")


def _check_distribution(found: Distribution) -> None:
    if found["OnDemandAllocationStrategy"] not in ON_DEMAND_STRATEGIES:
        raise invalid(f"OnDemandAllocationStrategy has to be one of {', '.join(ON_DEMAND_STRATEGIES)}.")
    if found["SpotAllocationStrategy"] not in SPOT_STRATEGIES:
        raise invalid(f"SpotAllocationStrategy has to be one of {', '.join(SPOT_STRATEGIES)}.")
    if not 0 <= found["OnDemandPercentageAboveBaseCapacity"] <= 100:
        raise invalid("OnDemandPercentageAboveBaseCapacity has to be between 0 and 100.")
    if found["OnDemandBaseCapacity"] < 0:
        raise invalid("OnDemandBaseCapacity must be greater than or equal to 0.")
    if "SpotInstancePools" in found:
        if found["SpotAllocationStrategy"] != "lowest-price":
            raise invalid("SpotInstancePools goes with the SpotAllocationStrategy lowest-price only.")
        if not 1 <= found["SpotInstancePools"] <= 20:
            raise invalid("SpotInstancePools has to be between 1 and 20.")
    price = found.get("SpotMaxPrice")
    if price and not _is_price(price):
        raise invalid(f"SpotMaxPrice has to be a price in USD an hour, not {price}.")


def _is_price(text: str) -> bool:
    try:
        return 0 < float(text) < math.inf
    except ValueError:
        return False


def _by_id(spec: TemplateSpec) -> TemplateSpec:
    """A specification that was described has both id and name; the id says which it is."""
    if not spec.get("LaunchTemplateId"):
        return spec
    by_id = spec.copy()
    by_id.pop("LaunchTemplateName", None)
    return by_id
