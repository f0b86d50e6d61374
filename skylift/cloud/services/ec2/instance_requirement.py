"""Instance types by their attributes instead of their names: which of those offered fit, and are cheap enough.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-fleet-attribute-based-instance-type-selection.html
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from skylift.catalogue import InstanceType, types
from skylift.cloud.domain.identity import Caller
from skylift.cloud.services.api.ec2_operation import reads
from skylift.cloud.services.api.operation import below
from skylift.cloud.services.api.page import Limits, page
from skylift.cloud.services.api.refusal import combination, invalid_value, missing, refuse_other_values
from skylift.cloud.services.api.wildcard import wildcard
from skylift.cloud.services.ec2.instance_type import is_offered_whole
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import ec2

Item = Mapping[str, Any]

LIMITS = Limits(most=1000, least=1)

TAKES = (
    "VCpuCount MemoryMiB MemoryGiBPerVCpu CpuManufacturers AllowedInstanceTypes ExcludedInstanceTypes "
    "InstanceGenerations BareMetal BurstablePerformance RequireHibernateSupport NetworkInterfaceCount "
    "LocalStorage LocalStorageTypes TotalLocalStorageGB AcceleratorCount NetworkBandwidthGbps "
    "RequireEncryptionInTransit"
)
PRICE_TAKES = (
    "OnDemandMaxPricePercentageOverLowestPrice SpotMaxPricePercentageOverLowestPrice "
    "MaxSpotPriceAsPercentageOfOptimalOnDemandPrice"
)

NEUTRAL: dict[str, tuple[object, ...]] = {"RequireHibernateSupport": (False,), "RequireEncryptionInTransit": (False,)}
"""Requirements that no server here can meet, with the only values that are accepted."""

_MANUFACTURERS = {"AWS": "amazon-web-services"}
_USUAL_OVER_LOWEST = {"on-demand": 20, "spot": 100}


def types_for(
    _tx: Tx, _caller: Caller, params: ec2.GetInstanceTypesFromInstanceRequirementsRequest
) -> ec2.GetInstanceTypesFromInstanceRequirementsResult:
    """GetInstanceTypesFromInstanceRequirements: whatever they cost."""
    if "hvm" not in params["VirtualizationTypes"]:
        raise invalid_value(params["VirtualizationTypes"], "VirtualizationTypes", "Instance types here are hvm.")
    found = fitting(params["InstanceRequirements"], params["ArchitectureTypes"])
    items: list[ec2.InstanceTypeInfoFromInstanceRequirements] = [{"InstanceType": kind.name} for kind in found]
    shown = page(items, params, lambda item: str(item["InstanceType"]), LIMITS)
    return {"InstanceTypes": shown.items, **shown.next}


def fitting(asked: Item, architectures: Iterable[str]) -> list[InstanceType]:
    """The offered types of these architectures that meet the requirements."""
    _refuse(asked)
    wanted, tests = list(architectures), _tests(asked)
    return [
        kind
        for kind in types().values()
        if kind.architecture in wanted and all(test(kind) for test in tests) and is_offered_whole(kind)
    ]


def affordable(
    asked: Item, market: str, kinds: list[InstanceType], price: Callable[[str, InstanceType], float | None]
) -> list[InstanceType]:
    """The types that price protection allows: near the cheapest of the usual families. A type without a price is
    excluded. `price(market, kind)` is the price of an hour."""
    if not kinds:
        return []
    over = {
        "on-demand": asked.get("OnDemandMaxPricePercentageOverLowestPrice"),
        "spot": asked.get("SpotMaxPricePercentageOverLowestPrice"),
    }[market]
    of_on_demand = asked.get("MaxSpotPriceAsPercentageOfOptimalOnDemandPrice") if market == "spot" else None
    share = of_on_demand if of_on_demand is not None else 100 + (_USUAL_OVER_LOWEST[market] if over is None else over)
    measure = "on-demand" if of_on_demand is not None else market

    def cost(of: str, kind: InstanceType) -> float:
        found = price(of, kind)
        return math.inf if found is None else found

    lowest = min(cost(measure, kind) for kind in _usual(kinds))
    if lowest == math.inf:
        return kinds
    return [kind for kind in kinds if cost(market, kind) <= lowest * share / 100]


def _usual(kinds: list[InstanceType]) -> list[InstanceType]:
    """Current C, M and R types where there are any, or else current ones, or else all."""
    current = [kind for kind in kinds if kind.current]
    return [kind for kind in current if kind.name[0] in "cmr"] or current or kinds


def _refuse(asked: Item) -> None:
    refuse_other_values(asked, NEUTRAL)
    for name in ("VCpuCount", "MemoryMiB"):
        if "Min" not in asked.get(name, {}):
            raise missing(f"InstanceRequirements.{name}.Min")
    for name, bounds in asked.items():
        if isinstance(bounds, dict) and bounds.get("Min", -math.inf) > bounds.get("Max", math.inf):
            raise invalid_value(bounds["Max"], f"InstanceRequirements.{name}.Max", "It has to be at least Min.")
    if asked.get("AllowedInstanceTypes") and asked.get("ExcludedInstanceTypes"):
        raise combination("InstanceRequirements have AllowedInstanceTypes or ExcludedInstanceTypes, not both.")
    spot = ("SpotMaxPricePercentageOverLowestPrice", "MaxSpotPriceAsPercentageOfOptimalOnDemandPrice")
    if all(name in asked for name in spot):
        raise combination(f"InstanceRequirements have {spot[0]} or {spot[1]}, not both.")
    for name in ("BareMetal", "BurstablePerformance", "LocalStorage"):
        if asked.get(name, "included") not in ("included", "required", "excluded"):
            raise invalid_value(asked[name], name, "It has to be included, required or excluded.")


def _tests(asked: Item) -> list[Callable[[InstanceType], bool]]:
    def within(name: str, value: Callable[[InstanceType], float]) -> Callable[[InstanceType], bool]:
        bounds = asked.get(name) or {}
        return lambda kind: bounds.get("Min", -math.inf) <= value(kind) <= bounds.get("Max", math.inf)

    def has(name: str, usual: str, trait: Callable[[InstanceType], bool]) -> Callable[[InstanceType], bool]:
        wish = asked.get(name, usual)
        return lambda kind: wish == "included" or trait(kind) == (wish == "required")

    def one_of(name: str, value: Callable[[InstanceType], str]) -> Callable[[InstanceType], bool]:
        values = asked.get(name)
        return lambda kind: not values or value(kind) in values

    return [
        lambda kind: _named(kind, asked.get("AllowedInstanceTypes") or ["*"]),
        within("VCpuCount", lambda kind: kind.vcpus),
        within("MemoryMiB", lambda kind: kind.memory_mib),
        within("MemoryGiBPerVCpu", lambda kind: kind.memory_mib / 1024 / kind.vcpus),
        within("NetworkInterfaceCount", lambda kind: kind.interfaces),
        within("NetworkBandwidthGbps", lambda kind: kind.baseline_gbps),
        within("TotalLocalStorageGB", lambda kind: kind.disk_gb),
        within("AcceleratorCount", lambda kind: kind.accelerators.count if kind.accelerators else 0),
        has("BareMetal", "excluded", lambda kind: kind.bare_metal),
        has("BurstablePerformance", "excluded", lambda kind: kind.burstable),
        has("LocalStorage", "included", lambda kind: kind.disks is not None),
        one_of("CpuManufacturers", lambda kind: _MANUFACTURERS.get(kind.manufacturer, kind.manufacturer.lower())),
        one_of("InstanceGenerations", lambda kind: "current" if kind.current else "previous"),
        one_of("LocalStorageTypes", lambda kind: kind.disks.kind if kind.disks else "ssd"),
        lambda kind: not _named(kind, asked.get("ExcludedInstanceTypes") or []),
    ]


def _named(kind: InstanceType, patterns: Iterable[str]) -> bool:
    return any(wildcard(((pattern, True),)).matches(kind.name) for pattern in patterns)


OPERATIONS = (
    reads(
        "GetInstanceTypesFromInstanceRequirements",
        types_for,
        f"ArchitectureTypes VirtualizationTypes MaxResults NextToken {below('InstanceRequirements', TAKES)}",
    ),
)
