"""The market for servers: spot prices, room, and the account's quotas.

Nothing is set at first: prices are the catalogue's, room and quotas have no bound. Where the catalogue has no Spot
price, a share of the price on demand stands in; in a region that it has no prices of, those of us-east-1 do. They are
prices of this cloud's market, not claims about AWS.
"""

from __future__ import annotations

import re
from datetime import datetime
from functools import cache

from skylift import catalogue
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.market import ANY_TYPE, Capacity, Market, SpotPrice, VcpuQuota
from skylift.cloud.services.api.zone import LETTERS
from skylift.cloud.store.database import Tx
from skylift.cloud.store.market import running_types, taken

STANDARD = "standard"

STAND_IN = 0.4
"""A Spot price without a source is this share of the price on demand."""

FAMILIES = {
    "dl": "dl",
    "f": "f",
    "g": "g",
    "gr": "g",
    "hpc": "hpc",
    "inf": "inf",
    "mac": "mac",
    "p": "p",
    "trn": "trn",
    "u": "u",
    "vt": "g",
    "x": "x",
}
"""Quotas of vCPUs by the beginning of a type's name; all others (A, C, D, H, I, M, R, T, Z) share one.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-on-demand-instances-limits.html
"""


BEYOND_QUOTA = ("VcpuLimitExceeded", "MaxSpotInstanceCountExceeded")


def family_of(type_name: str) -> str:
    """The quota that a type counts towards."""
    letters = re.match("[a-z]*", type_name)
    return FAMILIES.get(letters.group() if letters else "", STANDARD)


def on_demand_price(type_name: str, region: str) -> float | None:
    """USD an hour; None without a known price."""
    return catalogue.on_demand(type_name, priced(region))


def usual_price(type_name: str, zone: str) -> float | None:
    """USD an hour on the spot as long as nothing else is set."""
    region = priced(zone[:-1])
    known = catalogue.spot(type_name, region)
    if known is not None:
        return known
    on_demand = catalogue.on_demand(type_name, region)
    return None if on_demand is None else round(on_demand * STAND_IN, 4)


def spot_price(tx: Tx, type_name: str, zone: str, at: datetime | None = None) -> float | None:
    """USD an hour now, or at another time; None without a known price."""
    moment = at or tx.now
    set_ones = [one for one in tx.find(SpotPrice, type=type_name, zone=zone) if one.since <= moment]
    return max(set_ones, key=lambda one: one.since).price if set_ones else usual_price(type_name, zone)


@cache
def priced(region: str) -> str:
    """The region whose prices hold in this one, worked out once: it means a look at the disk."""
    return region if region in catalogue.priced_regions() else "us-east-1"


def free_room(tx: Tx, type_name: str, zone: str, market: Market) -> int | None:
    """The number of further instances that fit; None without a limit."""
    left = []
    for bound in ("any", market):
        known = tx.get(Capacity, type=type_name, zone=zone, market=bound)
        known = known or tx.get(Capacity, type=ANY_TYPE, zone=zone, market=bound)
        if known is not None:
            left.append(known.count - taken(tx, zone, type_name, bound))
    return max(0, min(left)) if left else None


def vcpus_in_use(tx: Tx, family: str, market: Market) -> int:
    known = catalogue.types()
    return sum(
        known[name].vcpus * count for name, count in running_types(tx, market).items() if family_of(name) == family
    )


def free_quota(tx: Tx, type_name: str, market: Market) -> int | None:
    """The number of further instances that the account may have; None without a limit."""
    family = family_of(type_name)
    quota = tx.get(VcpuQuota, family=family, market=market)
    if quota is None:
        return None
    return max(0, (quota.vcpus - vcpus_in_use(tx, family, market)) // catalogue.types()[type_name].vcpus)


def refuse_beyond_quota(tx: Tx, type_name: str, market: Market, least: int) -> int | None:
    """How many more the account may have, None without a bound; raises where that is less than `least`."""
    quota = free_quota(tx, type_name, market)
    if quota is not None and quota < least:
        raise _beyond_quota(tx, type_name, market)
    return quota


def check_pool(tx: Tx, type_name: str, zone: str, market: Market, least: int, most: int | None = None) -> int:
    """How many instances may be launched now, of at least so many and at most so many.

    Raises VcpuLimitExceeded or MaxSpotInstanceCountExceeded where the quota, InsufficientInstanceCapacity where the
    room is not enough for the least.
    """
    wanted = least if most is None else most
    quota = refuse_beyond_quota(tx, type_name, market, least)
    room = free_room(tx, type_name, zone, market)
    if room is not None and room < least:
        raise _no_room(tx, type_name, zone, market, least)
    return min(bound for bound in (wanted, quota, room) if bound is not None)


def _beyond_quota(tx: Tx, type_name: str, market: Market) -> ServiceError:
    if market == "spot":
        return ServiceError("MaxSpotInstanceCountExceeded", "Max spot instance count exceeded")
    quota = tx.get(VcpuQuota, family=family_of(type_name), market=market)
    return ServiceError(
        "VcpuLimitExceeded",
        f"You have requested more vCPU capacity than your current vCPU limit of {quota.vcpus if quota else 0} allows "
        "for the instance bucket that the specified instance type belongs to. Here the limit is set by: "
        f"skylift cloud quota {family_of(type_name)} VCPUS",
    )


def _no_room(tx: Tx, type_name: str, zone: str, market: Market, least: int) -> ServiceError:
    """A server fault with status 500, as AWS answers."""
    if market == "spot":
        message = "There is no Spot capacity available that matches your request."
    else:
        others = [name for name in (zone[:-1] + letter for letter in LETTERS) if name != zone]
        free = [name for name in others if _has_room(free_room(tx, type_name, name, market), least)]
        message = (
            f"We currently do not have sufficient {type_name} capacity in the Availability Zone you requested "
            f"({zone}). Our system will be working on provisioning additional capacity."
        )
        if free:
            message += (
                f" You can currently get {type_name} capacity by not specifying an Availability Zone in your request "
                f"or choosing {', '.join(free)}."
            )
    return ServiceError("InsufficientInstanceCapacity", message, status=500)


def _has_room(room: int | None, least: int) -> bool:
    return room is None or room >= least
