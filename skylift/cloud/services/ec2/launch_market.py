"""Whether the market gives what a launch asks for, and where: price, room and quota."""

from __future__ import annotations

from dataclasses import dataclass

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.launch_request import LaunchRequest
from skylift.cloud.domain.market import Market
from skylift.cloud.services.ec2.capacity import check_pool, spot_price
from skylift.cloud.services.ec2.spot_option import market_wish, refuse_price
from skylift.cloud.services.ec2.tenancy import with_zone_of_host
from skylift.cloud.services.vpc.vpc import default_subnets
from skylift.cloud.store.database import Tx


@dataclass(frozen=True)
class Terms:
    """The terms of a launch: its market and highest price, where None is the on-demand price."""

    market: Market = "on-demand"
    max_price: float | None = None


def terms_of(tx: Tx, request: LaunchRequest) -> Terms:
    """The market terms of a launch. Raises if it asks for something impossible."""
    wish = market_wish(tx, request)
    return Terms() if wish is None else Terms("spot", wish.max_price)


def available_count(tx: Tx, type_name: str, zone: str, terms: Terms, least: int, most: int) -> int:
    """How many instances the market gives, between `least` and `most`. Raises EC2's errors where it gives fewer."""
    if terms.market == "spot":
        refuse_price(tx, type_name, zone, terms.max_price)
    return check_pool(tx, type_name, zone, terms.market, least, most)


def with_zone(tx: Tx, request: LaunchRequest, terms: Terms) -> LaunchRequest:
    """A launch that leaves the zone to EC2 goes to its host, or where there is room: first where it is cheapest."""
    request = with_zone_of_host(tx, request)
    if not request.leaves_zone_open:
        return request
    kind = request.type or ""
    zones = [one.zone for one in default_subnets(tx, request.within)]
    for zone in sorted(zones, key=lambda zone: (_price(tx, kind, zone, terms), zone)):
        if _to_be_had(tx, kind, zone, terms, request.least):
            return request.in_zone(zone)
    return request


def _price(tx: Tx, type_name: str, zone: str, terms: Terms) -> float:
    return spot_price(tx, type_name, zone) or 0.0 if terms.market == "spot" else 0.0


def _to_be_had(tx: Tx, type_name: str, zone: str, terms: Terms, least: int) -> bool:
    try:
        available_count(tx, type_name, zone, terms, least, least)
    except ServiceError:
        return False
    return True
