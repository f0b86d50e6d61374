"""Every operation of this cloud's own service, `skylift`: what AWS does by itself, and here its owner does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from skylift.cloud.identity import Caller
from skylift.cloud.instance import Instance
from skylift.cloud.services.api.check import Checks, on_row
from skylift.cloud.services.api.operation import Check, Handler, Operation
from skylift.cloud.services.market import bill, interruption, market_setting
from skylift.cloud.store.database import Tx

_PLACE = "InstanceType AvailabilityZone"


def _anywhere(name: str) -> Checks:
    return lambda _tx, caller, _params: [Check(f"skylift:{name}", "*", {"aws:RequestedRegion": caller.region})]


def _on_instance(name: str) -> Checks:
    def checks(tx: Tx, caller: Caller, params: Any) -> Iterator[Check]:
        yield on_row(tx, caller, f"skylift:{name}", Instance, params["InstanceId"])

    return checks


def reads(name: str, handler: Handler, takes: str = "") -> Operation:
    return Operation("skylift", name, handler, frozenset(takes.split()), _anywhere(name), writes=False)


def writes(name: str, handler: Handler, takes: str) -> Operation:
    return Operation("skylift", name, handler, frozenset(takes.split()), _anywhere(name), writes=True)


def _tells(name: str, handler: Handler, takes: str = "") -> Operation:
    return Operation(
        "skylift", name, handler, frozenset(("InstanceId", *takes.split())), _on_instance(name), writes=True
    )


CONTROL_OPERATIONS: tuple[Operation, ...] = (
    writes("PutSpotPrice", market_setting.put_price, f"{_PLACE} SpotPrice EffectiveFrom"),
    writes("ResetSpotPrice", market_setting.reset_price, _PLACE),
    reads("DescribeSpotPrices", market_setting.describe_prices),
    writes("PutCapacity", market_setting.put_capacity, f"{_PLACE} MarketType InstanceCount"),
    writes("ResetCapacity", market_setting.reset_capacity, f"{_PLACE} MarketType"),
    reads("DescribeCapacity", market_setting.describe_capacity),
    writes("PutQuota", market_setting.put_quota, "InstanceClass MarketType VCpus"),
    writes("ResetQuota", market_setting.reset_quota, "InstanceClass MarketType"),
    reads("DescribeQuotas", market_setting.describe_quotas),
    _tells("InterruptInstance", interruption.interrupt, "Seconds"),
    _tells("RecommendRebalance", interruption.recommend),
    _tells("WithdrawInterruption", interruption.withdraw),
    reads("DescribeInterruptions", interruption.describe),
    reads("GetBill", bill.get_bill, "From To GroupBy TagKey"),
)
