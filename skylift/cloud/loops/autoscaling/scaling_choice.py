"""Chooses what a group launches next, and which of its instances it gives up. Pure: the same rows give the same answer.

https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-termination-policies.html
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from skylift.cloud.domain.scaling_group import COUNTED, Market, ScalingGroup, ScalingMember, Wanted, units

HOUR = 3600


@dataclass(frozen=True)
class Times:
    """`launched` is when each instance was, `configured` when each launch configuration was made, by its name."""

    now: datetime
    launched: Mapping[str, datetime]
    configured: Mapping[str, datetime]

    def of(self, member: ScalingMember) -> datetime:
        return self.launched.get(member.instance_id, member.since)

    def of_configuration(self, member: ScalingMember) -> float:
        """When that which it was launched from was made; minus infinity if it is gone, also if its name is taken."""
        made = self.configured.get(member.configuration)
        return made.timestamp() if made is not None and made <= self.of(member) else -math.inf


def counted(members: Sequence[ScalingMember]) -> list[ScalingMember]:
    """The members that count towards the group's capacity."""
    return [member for member in members if member.state in COUNTED]


def on_demand_share(group: ScalingGroup, capacity: int) -> int:
    """How many units of `capacity` are to be on demand: the base, and the given share of the rest, rounded up."""
    if not group.mixed:
        return capacity
    distribution = group.mixed["InstancesDistribution"]
    base: int = min(capacity, distribution["OnDemandBaseCapacity"])
    share: int = distribution["OnDemandPercentageAboveBaseCapacity"]
    return base + math.ceil((capacity - base) * share / 100)


def places(group: ScalingGroup, members: Sequence[ScalingMember]) -> list[Wanted]:
    """The places for the next instance, the best first: the zone with fewest, and its subnet with fewest."""
    in_zone = Counter(member.zone for member in counted(members))
    in_subnet = Counter(member.subnet_id for member in counted(members))
    order = {subnet: index for index, subnet in enumerate(group.subnets)}
    places = zip(group.subnets, group.zones, strict=True)
    on_demand = _on_demand(members)
    # Measured on the desired capacity, so that a replacement is of the same kind as the instance that it replaces.
    lacking = not group.mixed or on_demand < on_demand_share(group, group.desired)
    market: Market = "on-demand" if lacking else "spot"
    ranked = sorted(places, key=lambda place: (in_zone[place[1]], in_subnet[place[0]], order[place[0]]))
    return [Wanted(subnet_id, zone, group.template, group.configuration, market=market) for subnet_id, zone in ranked]


def victim(group: ScalingGroup, members: Sequence[ScalingMember], times: Times, excess: int) -> ScalingMember | None:
    """The instance to end if there are too many: by the termination policies, in the zone that has most. None if all
    candidates are protected, or are more than the `excess`, as a capacity never falls below the desired one."""
    candidates = [member for member in counted(members) if not member.protected and member.units <= excess]
    if not candidates:
        return None
    # Those in a zone that the group has left come before all.
    candidates = [member for member in candidates if member.zone not in group.zones] or candidates
    in_zone = Counter(member.zone for member in counted(members))
    most = max(in_zone[member.zone] for member in candidates)
    candidates = [member for member in candidates if in_zone[member.zone] == most]
    if group.mixed:
        least = min(member.units for member in candidates)
        too_many = _on_demand(members) - least >= on_demand_share(group, units(counted(members)) - least)
        wanted = [member for member in candidates if (member.market == "on-demand") == too_many]
        candidates = wanted or candidates

    for policy in group.termination_policies:
        for rank in _ranks(policy, group, times):
            best = min(rank(member) for member in candidates)
            candidates = [member for member in candidates if rank(member) == best]
    return candidates[0]


def is_balanced(group: ScalingGroup, members: Sequence[ScalingMember]) -> bool:
    """Whether its zones have the same number, but for one, and no other zone has any."""
    in_zone = Counter(member.zone for member in counted(members))
    counts = [in_zone[zone] for zone in set(group.zones)]
    return in_zone.keys() <= set(group.zones) and max(counts) - min(counts) <= 1


def moves_to(group: ScalingGroup, members: Sequence[ScalingMember], going: ScalingMember) -> list[Wanted]:
    """Where the successor of `going`, which leaves to balance the zones, may be. Empty if that would not help, because
    the instances in the fullest zone are protected."""
    ranked = places(group, members)
    in_zone = Counter(member.zone for member in counted(members))
    emptiest = ranked[0].zone
    if going.zone in group.zones and in_zone[going.zone] - in_zone[emptiest] <= 1:
        return []
    return [replace(place, market=going.market) for place in ranked if place.zone == emptiest]


def _on_demand(members: Sequence[ScalingMember]) -> int:
    return units(member for member in counted(members) if member.market == "on-demand")


Rank = Callable[[ScalingMember], float | tuple[float, float]]


def _ranks(policy: str, group: ScalingGroup, times: Times) -> list[Rank]:
    """The ranks by which a policy compares, in order; the lowest goes."""

    def age(member: ScalingMember) -> float:
        return (times.now - times.of(member)).total_seconds()

    def outdated(member: ScalingMember) -> tuple[float, float]:
        """Orders members: first by launch configuration, the oldest first, then members of another template, then by
        the template's version, the oldest first."""
        if group.configuration or member.configuration:
            return 0, times.of_configuration(member)
        if member.template.get("LaunchTemplateId") != group.template["LaunchTemplateId"]:
            return 1, -1
        return 1, int(member.template["Version"])

    def until_next_hour(member: ScalingMember) -> float:
        return HOUR - age(member) % HOUR

    known: dict[str, list[Rank]] = {
        "OldestInstance": [lambda member: -age(member)],
        "NewestInstance": [age],
        "OldestLaunchConfiguration": [outdated] if group.configuration else [],
        "OldestLaunchTemplate": [] if group.configuration else [outdated],
        "ClosestToNextInstanceHour": [until_next_hour],
        "Default": [outdated, until_next_hour],
    }
    return known.get(policy, [])
