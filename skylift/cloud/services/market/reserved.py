"""Reserved instances: what the catalogue's prices make it possible to offer, bought and described.

Linux in a VPC, of shared tenancy, standard class: that is what there are prices of. A purchase is paid at once, so that
it is active at once. An instance is not changed by it; the bill is (reserved_use.py).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Literal, TypedDict

from skylift import catalogue
from skylift.catalogue.price import Payment
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.reservation import ReservedInstances
from skylift.cloud.services.api.condition_key import Context
from skylift.cloud.services.api.ec2_operation import reads, writes
from skylift.cloud.services.api.filter import matching, same_named
from skylift.cloud.services.api.instance_type import instance_type
from skylift.cloud.services.api.list_response import Listing
from skylift.cloud.services.api.operation import Check
from skylift.cloud.services.api.page import Limits
from skylift.cloud.services.api.refusal import invalid, invalid_value
from skylift.cloud.services.api.resource import arn
from skylift.cloud.services.api.tag import tag_list
from skylift.cloud.services.api.zone import require_zone, zone_id, zones
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import ec2


PRODUCT = "Linux/UNIX"
YEAR = 365 * 24 * 3600
YEARS = (1, 3)
MOST_AT_ONCE = 20
"""AWS's own limit: the most purchases of one kind a month, in each zone and in the region."""

_NAMESPACE = uuid.UUID("5d2d0f0e-7f0c-5d52-9a0a-6f5e0a8e9f10")
"""Unchanged offerings have the same id in every cloud and at any time."""

PAYMENTS: dict[Payment, Literal["No Upfront", "Partial Upfront", "All Upfront"]] = {
    "no-upfront": "No Upfront",
    "partial-upfront": "Partial Upfront",
    "all-upfront": "All Upfront",
}
BEFOREHAND: dict[Payment, Decimal] = {
    "no-upfront": Decimal(0),
    "partial-upfront": Decimal("0.5"),
    "all-upfront": Decimal(1),
}
"""The share of a term's price that is paid at its start; AWS's partial payments are half of it to the dollar."""

OFFERINGS = Listing(
    ReservedInstances,
    ids="ReservedInstancesOfferingIds",
    key="ReservedInstancesOfferingId",
    tags="",
    limits=Limits(most=100, least=1),
    filters=same_named(
        "availability-zone availability-zone-id duration fixed-price instance-type marketplace "
        "product-description reserved-instances-offering-id scope usage-price"
    ),
)

PURCHASES = Listing(
    ReservedInstances,
    ids="ReservedInstancesIds",
    key="ReservedInstancesId",
    filters=same_named(
        "availability-zone availability-zone-id duration end fixed-price instance-type "
        "product-description reserved-instances-id scope start state usage-price"
    ),
)


class Shared(TypedDict, total=False):
    """The common members of offerings and purchases."""

    InstanceType: str
    Scope: str
    AvailabilityZone: str
    AvailabilityZoneId: str
    Duration: int
    FixedPrice: float
    UsagePrice: float
    RecurringCharges: list[ec2.RecurringCharge]
    CurrencyCode: str
    ProductDescription: str


@dataclass(frozen=True)
class Offering:
    id: str
    type: str
    zone: str | None
    years: int
    payment: Payment
    fixed_price: float
    hourly_price: float


def describe_offerings(
    _tx: Tx, caller: Caller, params: ec2.DescribeReservedInstancesOfferingsRequest
) -> ec2.DescribeReservedInstancesOfferingsResult:
    """At most a hundred at a time, also when the request asks for no pages: there are thousands."""
    kind = params.get("InstanceType")
    if kind is not None:
        instance_type(kind)
    zone = require_zone(caller.region, params.get("AvailabilityZone"), params.get("AvailabilityZoneId"))
    found = list(_all(caller.region).values() if kind is None else _of_type(caller.region, kind))
    ids = params.get("ReservedInstancesOfferingIds")
    if ids:
        found = [_by_id(caller.region, one) for one in dict.fromkeys(ids)]
    items = [
        _offered(one)
        for one in found
        if zone in (None, one.zone) and _within(one.years * YEAR, params.get("MinDuration"), params.get("MaxDuration"))
    ]
    # A sale by somebody else, another class, tenancy or system: there is none of these.
    for member in ("OfferingClass", "OfferingType", "InstanceTenancy"):
        items = [one for one in items if params.get(member) in (None, "", one.get(member))]
    if params.get("ProductDescription"):
        wanted = _product(params["ProductDescription"])
        items = [one for one in items if _product(one["ProductDescription"]) == wanted]
    paged: ec2.DescribeReservedInstancesOfferingsRequest = {"MaxResults": OFFERINGS.limits.most, **params}
    shown = OFFERINGS.page(paged, items)
    return {"ReservedInstancesOfferings": shown.items, **shown.next}


def purchase(
    tx: Tx, caller: Caller, params: ec2.PurchaseReservedInstancesOfferingRequest
) -> ec2.PurchaseReservedInstancesOfferingResult:
    offering = _by_id(caller.region, params["ReservedInstancesOfferingId"])
    count = params["InstanceCount"]
    if not 1 <= count <= MOST_AT_ONCE:
        raise invalid_value(count, "instanceCount", f"It has to be between 1 and {MOST_AT_ONCE}.")
    bought = ReservedInstances(
        id=str(uuid.uuid4()),
        offering_id=offering.id,
        type=offering.type,
        count=count,
        start=tx.now,
        end=tx.now + timedelta(seconds=offering.years * YEAR),
        zone=offering.zone,
        offering_type=PAYMENTS[offering.payment],
        fixed_price=offering.fixed_price,
        hourly_price=offering.hourly_price,
    )
    tx.add(bought)
    return {"ReservedInstancesId": bought.id}


def describe(
    tx: Tx, _caller: Caller, params: ec2.DescribeReservedInstancesRequest
) -> ec2.DescribeReservedInstancesResult:
    """All reserved instances, with those whose term has ended."""
    items = [_bought(tx, row) for row in PURCHASES.rows(tx, params)]
    for member in ("OfferingClass", "OfferingType"):
        items = [one for one in items if params.get(member) in (None, "", one.get(member))]
    # The operation knows no pages.
    filters = params.get("Filters")
    return {"ReservedInstances": matching(items, filters, PURCHASES.filters, PURCHASES.tags)}


def check_purchase(_tx: Tx, caller: Caller, params: ec2.PurchaseReservedInstancesOfferingRequest) -> Iterator[Check]:
    offering = _all(caller.region).get(params.get("ReservedInstancesOfferingId", ""))
    context: Context = {}
    if offering is not None:
        context = {
            "ec2:InstanceType": offering.type,
            "ec2:ReservedInstancesOfferingType": PAYMENTS[offering.payment],
            "ec2:Tenancy": "default",
        }
    yield Check("ec2:PurchaseReservedInstancesOffering", arn(caller, "reserved-instances", "*"), context)


@cache
def _all(region: str) -> dict[str, Offering]:
    return {one.id: one for kind in catalogue.types() for one in _of_type(region, kind)}


def _of_type(region: str, kind: str) -> Iterator[Offering]:
    for years in YEARS:
        for payment, share in BEFOREHAND.items():
            hour = catalogue.reserved(kind, region, years, payment)
            if hour is None:
                continue
            term = Decimal(str(hour)) * years * catalogue.HOURS_A_YEAR
            for zone in (None, *zones(region)):
                words = " ".join((region, zone or "", kind, str(years), payment))
                yield Offering(
                    id=str(uuid.uuid5(_NAMESPACE, words)),
                    type=kind,
                    zone=zone,
                    years=years,
                    payment=payment,
                    fixed_price=round(float(term * share), 2),
                    hourly_price=float(Decimal(str(hour)) * (1 - share)),
                )


def _by_id(region: str, offering_id: str) -> Offering:
    found = _all(region).get(offering_id)
    if found is None:
        raise ServiceError(
            "InvalidReservedInstancesOfferingId",
            f"The specified Reserved Instances offering '{offering_id}' does not exist.",
        )
    return found


def _within(duration: int, least: int | None, most: int | None) -> bool:
    if least is not None and most is not None and least > most:
        raise invalid(f"The minDuration {least} is longer than the maxDuration {most}.")
    return (least is None or duration >= least) and (most is None or duration <= most)


def _product(words: str) -> str:
    """The model has an older spelling that says the same."""
    return words.removesuffix(" (Amazon VPC)")


def _offered(one: Offering) -> ec2.ReservedInstancesOffering:
    return {
        "ReservedInstancesOfferingId": one.id,
        **_shared(one.type, one.zone, one.years * YEAR, one.fixed_price, one.hourly_price),
        "OfferingType": PAYMENTS[one.payment],
        "OfferingClass": "standard",
        "InstanceTenancy": "default",
        "Marketplace": False,
        "PricingDetails": [],
    }


def _bought(tx: Tx, row: ReservedInstances) -> ec2.ReservedInstances:
    duration = int((row.end - row.start).total_seconds())
    return {
        "ReservedInstancesId": row.id,
        **_shared(row.type, row.zone, duration, row.fixed_price, row.hourly_price),
        "OfferingType": row.offering_type,
        "OfferingClass": row.offering_class,
        "InstanceTenancy": row.tenancy,
        "InstanceCount": row.count,
        "Start": row.start,
        "End": row.end,
        "State": "active" if tx.now < row.end else "retired",
        "Tags": tag_list(row.tags),
    }


def _shared(kind: str, zone: str | None, duration: int, fixed_price: float, hourly_price: float) -> Shared:
    return {
        "InstanceType": kind,
        "Scope": "Availability Zone" if zone else "Region",
        **({"AvailabilityZone": zone, "AvailabilityZoneId": zone_id(zone)} if zone else {}),
        "Duration": duration,
        "FixedPrice": fixed_price,
        "UsagePrice": 0.0,
        "RecurringCharges": [{"Amount": hourly_price, "Frequency": "Hourly"}] if hourly_price else [],
        "CurrencyCode": "USD",
        "ProductDescription": PRODUCT,
    }


OPERATIONS = (
    reads(
        "DescribeReservedInstancesOfferings",
        describe_offerings,
        "AvailabilityZone AvailabilityZoneId Filters IncludeMarketplace InstanceTenancy InstanceType MaxDuration "
        "MaxInstanceCount MaxResults MinDuration NextToken OfferingClass OfferingType ProductDescription "
        "ReservedInstancesOfferingIds",
    ),
    writes("PurchaseReservedInstancesOffering", purchase, "InstanceCount ReservedInstancesOfferingId", check_purchase),
    reads("DescribeReservedInstances", describe, "Filters OfferingClass OfferingType ReservedInstancesIds"),
)
