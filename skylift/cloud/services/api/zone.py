"""The one region of a cloud and its three availability zones; an account's limits in them."""

from __future__ import annotations

from functools import lru_cache

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.services.api.refusal import invalid

LETTERS = "abc"

MAX_GROUPS_PER_INTERFACE = 5

MAX_ADDRESSES = 5
"""The most Elastic IPs of an account: the quota that an AWS account begins with."""


def zones(region: str) -> tuple[str, ...]:
    """Names of the zones: `us-east-1a` and so on."""
    return tuple(f"{region}{letter}" for letter in LETTERS)


@lru_cache(maxsize=64)
def zone_id(zone: str) -> str:
    """`use1-az1` for `us-east-1a`: the region's parts by their initials, as AWS abbreviates them."""
    region, letter = zone[:-1], zone[-1]
    *area, direction, number = region.split("-")
    short = "".join(part if len(part) == 2 else part[0] for part in area)
    points = "".join(word[0] for word in ("north", "south", "east", "west", "central") if word in direction)
    return f"{short}{points}{number}-az{LETTERS.index(letter) + 1}"


def require_zone(region: str, zone: str | None, identifier: str | None) -> str | None:
    """The zone that a name or an id names, None when neither is given; raises InvalidParameterValue."""
    known = zones(region)
    if zone is not None and zone not in known:
        raise invalid(f"Invalid availability zone: [{zone}]")
    if identifier is None:
        return zone
    by_id = {zone_id(name): name for name in known}
    if identifier not in by_id:
        raise invalid(f"Invalid availability zone-id: [{identifier}]")
    if zone is not None and by_id[identifier] != zone:
        raise ServiceError(
            "InvalidParameterCombination",
            f"The availability zone '{zone}' and the availability zone ID '{identifier}' are different zones.",
        )
    return by_id[identifier]
