"""DescribeSpotPriceHistory: spot prices here, newest first.

A price that was never set is as old as the catalogue's figure that it comes from.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from skylift.catalogue import sources, types
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.market import SpotPrice
from skylift.cloud.services.api.ec2_operation import PAGES, reads
from skylift.cloud.services.api.filter import matching, same_named
from skylift.cloud.services.api.page import Limits, page
from skylift.cloud.services.api.page_token import Paged
from skylift.cloud.services.api.zone import require_zone, zone_id, zones
from skylift.cloud.services.ec2.capacity import priced, usual_price
from skylift.cloud.services.market.market_setting import spelled
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import ec2

PAGE = 1000
KEPT = timedelta(days=90)

FILTERS = same_named("availability-zone availability-zone-id instance-type product-description spot-price timestamp")

PRODUCT = "Linux/UNIX"
_SAME = (PRODUCT, f"{PRODUCT} (Amazon VPC)")


def describe(tx: Tx, caller: Caller, params: ec2.DescribeSpotPriceHistoryRequest) -> ec2.DescribeSpotPriceHistoryResult:
    """Each price that held at some time between start and end; the first may be older than the start."""
    wanted = params.get("InstanceTypes") or list(types())
    unknown = [name for name in wanted if name not in types()]
    if unknown:
        raise ServiceError("InvalidParameterValue", f"Invalid instance type: {', '.join(unknown)}")
    if params.get("ProductDescriptions") and not set(_SAME) & set(params["ProductDescriptions"]):
        return {"SpotPriceHistory": [], "NextToken": ""}
    zone = require_zone(caller.region, params.get("AvailabilityZone"), params.get("AvailabilityZoneId"))
    start = max(params.get("StartTime", tx.now - KEPT), tx.now - KEPT)
    end = min(params.get("EndTime", tx.now), tx.now)
    set_ones: dict[tuple[str, str], list[SpotPrice]] = defaultdict(list)
    for one in sorted(tx.find(SpotPrice), key=lambda one: one.since):
        set_ones[one.type, one.zone].append(one)
    day = _of_day(priced(caller.region))
    items = [
        _item(price)
        for name in wanted
        for place in ((zone,) if zone else zones(caller.region))
        for price in _between([*_usual(name, place, day), *set_ones[name, place]], start, end)
    ]
    items.sort(key=_newest_first)
    found = matching(items, params.get("Filters"), FILTERS)
    sized: Paged = {"MaxResults": params.get("MaxResults") or PAGE, "NextToken": params.get("NextToken") or ""}
    shown = page(found, sized, _newest_first, Limits(most=PAGE, least=1))
    return {"SpotPriceHistory": shown.items, **shown.next}


def _usual(type_name: str, zone: str, day: datetime) -> Iterator[SpotPrice]:
    price = usual_price(type_name, zone)
    if price is not None:
        yield SpotPrice(type_name, zone, day, price)


def _between(course: list[SpotPrice], start: datetime, end: datetime) -> list[SpotPrice]:
    known = [one for one in course if one.since <= end]
    before = [one for one in known if one.since < start]
    return [*before[-1:], *(one for one in known if one.since >= start)]


def _of_day(region: str) -> datetime:
    """The date of the source of a region's prices."""
    known = sources()
    source = known.get((region, "spot")) or known[region, "on-demand"]
    return datetime.fromisoformat(source.date).replace(tzinfo=UTC)


def _item(price: SpotPrice) -> ec2.SpotPrice:
    return {
        "InstanceType": price.type,
        "ProductDescription": PRODUCT,
        "SpotPrice": spelled(price.price),
        "Timestamp": price.since,
        "AvailabilityZone": price.zone,
        "AvailabilityZoneId": zone_id(price.zone),
    }


def _newest_first(item: ec2.SpotPrice) -> str:
    ago = 10**17 - round(item["Timestamp"].timestamp() * 1_000_000)
    return f"{ago:018} {item['InstanceType']} {item['AvailabilityZone']}"


OPERATIONS = (
    reads(
        "DescribeSpotPriceHistory",
        describe,
        f"AvailabilityZone AvailabilityZoneId EndTime InstanceTypes ProductDescriptions StartTime {PAGES}",
    ),
)
