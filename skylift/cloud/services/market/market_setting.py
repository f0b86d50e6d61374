"""The market as its owner sets it: prices over time, room by zone, quotas. A setting stays until it is reset."""

from __future__ import annotations

from typing import TYPE_CHECKING, NotRequired, TypedDict

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.market import ANY_TYPE, Capacity, Market, RoomMarket, SpotPrice, VcpuQuota
from skylift.cloud.services.api.instance_type import instance_type
from skylift.cloud.services.api.operation import Nothing
from skylift.cloud.services.api.refusal import invalid_value, one_of
from skylift.cloud.services.api.zone import require_zone, zones
from skylift.cloud.services.ec2.capacity import FAMILIES, STANDARD, spot_price, usual_price, vcpus_in_use
from skylift.cloud.services.ec2.spot_option import read_price
from skylift.cloud.services.market.control import reads, writes
from skylift.cloud.store.database import Tx
from skylift.cloud.store.market import taken


class Placed(TypedDict):
    """The members of a request about one zone, or about all."""

    AvailabilityZone: NotRequired[str]


if TYPE_CHECKING:
    from aws_shapes import skylift


MARKETS: tuple[Market, ...] = ("spot", "on-demand")
ROOM_MARKETS: tuple[RoomMarket, ...] = ("any", "spot", "on-demand")


def put_price(tx: Tx, caller: Caller, params: skylift.PutSpotPriceRequest) -> skylift.PutSpotPriceResult:
    """From a moment on; what was set for later stays, so that a course of prices can be laid out."""
    type_name = instance_type(params["InstanceType"]).name
    price = read_price(params["SpotPrice"])
    since = params.get("EffectiveFrom", tx.now)
    if since < tx.now:
        # Servers have been paid for by it.
        raise invalid_value(since, "effectiveFrom", "Prices of the past cannot be changed.")
    made = [SpotPrice(type_name, zone, since, price) for zone in _zones(caller, params)]
    for one in made:
        tx.remove(one)
        tx.add(one)
    return {"SpotPrices": [_price(one) for one in made]}


def reset_price(tx: Tx, caller: Caller, params: skylift.ResetSpotPriceRequest) -> Nothing:
    """From now on it is the catalogue's. What it was stays known: a bill may be drawn up from it."""
    type_name = instance_type(params["InstanceType"]).name
    for zone in _zones(caller, params):
        known = tx.find(SpotPrice, type=type_name, zone=zone)
        for one in known:
            if one.since > tx.now:
                tx.remove(one)
        usual = usual_price(type_name, zone)
        if usual is not None and spot_price(tx, type_name, zone) != usual:
            now = SpotPrice(type_name, zone, tx.now, usual)
            tx.remove(now)
            tx.add(now)
    return {}


def describe_prices(
    tx: Tx, _caller: Caller, _params: skylift.DescribeSpotPricesRequest
) -> skylift.DescribeSpotPricesResult:
    """Those that hold now, unless they are the catalogue's, and those that will."""
    holding: dict[tuple[str, str], SpotPrice] = {}
    later = []
    for one in sorted(tx.find(SpotPrice), key=lambda one: one.since):
        if one.since > tx.now:
            later.append(one)
        else:
            holding[one.type, one.zone] = one
    set_ones = [one for one in holding.values() if one.price != usual_price(one.type, one.zone)]
    found = sorted([*set_ones, *later], key=lambda one: (one.type, one.zone, one.since))
    return {"SpotPrices": [_price(one) for one in found]}


def put_capacity(tx: Tx, caller: Caller, params: skylift.PutCapacityRequest) -> skylift.PutCapacityResult:
    """Running instances stay, also if there are more of them than there is room for."""
    type_name, market = _type_or_any(params), one_of(params.get("MarketType", "any"), "marketType", ROOM_MARKETS)
    made = [Capacity(type_name, zone, market, params["InstanceCount"]) for zone in _zones(caller, params)]
    for one in made:
        tx.remove(one)
        tx.add(one)
    return {"Capacities": [_capacity(tx, one) for one in made]}


def reset_capacity(tx: Tx, caller: Caller, params: skylift.ResetCapacityRequest) -> Nothing:
    """Reset the capacity of a market; without one, of all of them."""
    type_name, where = _type_or_any(params), _zones(caller, params)
    for one in tx.find(Capacity, type=type_name):
        if one.zone in where and params.get("MarketType", one.market) == one.market:
            tx.remove(one)
    return {}


def describe_capacity(
    tx: Tx, _caller: Caller, _params: skylift.DescribeCapacityRequest
) -> skylift.DescribeCapacityResult:
    found = sorted(tx.find(Capacity), key=lambda one: (one.type, one.zone, one.market))
    return {"Capacities": [_capacity(tx, one) for one in found]}


def put_quota(tx: Tx, _caller: Caller, params: skylift.PutQuotaRequest) -> skylift.PutQuotaResult:
    quota = VcpuQuota(_family(params), one_of(params["MarketType"], "marketType", MARKETS), params["VCpus"])
    tx.remove(quota)
    tx.add(quota)
    return {"Quotas": [_quota(tx, quota)]}


def reset_quota(tx: Tx, _caller: Caller, params: skylift.ResetQuotaRequest) -> Nothing:
    for quota in tx.find(VcpuQuota, family=_family(params), market=params["MarketType"]):
        tx.remove(quota)
    return {}


def describe_quotas(tx: Tx, _caller: Caller, _params: skylift.DescribeQuotasRequest) -> skylift.DescribeQuotasResult:
    found = sorted(tx.find(VcpuQuota), key=lambda one: (one.family, one.market))
    return {"Quotas": [_quota(tx, one) for one in found]}


def spelled(price: float) -> str:
    """Six digits after the point, as AWS writes prices."""
    return f"{price:.6f}"


def _zones(caller: Caller, params: Placed) -> tuple[str, ...]:
    """The zone that is named, or all of them."""
    zone = require_zone(caller.region, params.get("AvailabilityZone"), None)
    return (zone,) if zone else zones(caller.region)


def _type_or_any(params: skylift.PutCapacityRequest | skylift.ResetCapacityRequest) -> str:
    name = str(params["InstanceType"])
    return name if name == ANY_TYPE else instance_type(name).name


def _family(params: skylift.PutQuotaRequest | skylift.ResetQuotaRequest) -> str:
    known = sorted({STANDARD, *FAMILIES.values()})
    if params["InstanceClass"] not in known:
        raise ServiceError(
            "InvalidParameterValue", f"There is no quota '{params['InstanceClass']}'; there are {', '.join(known)}."
        )
    return str(params["InstanceClass"])


def _price(one: SpotPrice) -> skylift.SpotPrice:
    return {
        "InstanceType": one.type,
        "AvailabilityZone": one.zone,
        "SpotPrice": spelled(one.price),
        "EffectiveFrom": one.since,
    }


def _capacity(tx: Tx, one: Capacity) -> skylift.Capacity:
    return {
        "InstanceType": one.type,
        "AvailabilityZone": one.zone,
        "MarketType": one.market,
        "InstanceCount": one.count,
        "InUse": taken(tx, one.zone, None if one.type == ANY_TYPE else one.type, one.market),
    }


def _quota(tx: Tx, one: VcpuQuota) -> skylift.Quota:
    return {
        "InstanceClass": one.family,
        "MarketType": one.market,
        "VCpus": one.vcpus,
        "InUse": vcpus_in_use(tx, one.family, one.market),
    }


_PLACE = "InstanceType AvailabilityZone"


OPERATIONS = (
    writes("PutSpotPrice", put_price, f"{_PLACE} SpotPrice EffectiveFrom"),
    writes("ResetSpotPrice", reset_price, _PLACE),
    reads("DescribeSpotPrices", describe_prices),
    writes("PutCapacity", put_capacity, f"{_PLACE} MarketType InstanceCount"),
    writes("ResetCapacity", reset_capacity, f"{_PLACE} MarketType"),
    reads("DescribeCapacity", describe_capacity),
    writes("PutQuota", put_quota, "InstanceClass MarketType VCpus"),
    writes("ResetQuota", reset_quota, "InstanceClass MarketType"),
    reads("DescribeQuotas", describe_quotas),
)
