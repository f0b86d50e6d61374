"""The spot options of a launch, by RunInstances (InstanceMarketOptions) or by RequestSpotInstances."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.launch_request import LaunchRequest, PlacementRequest
from skylift.cloud.domain.spot import Behavior, SpotRequest
from skylift.cloud.services.api.refusal import combination, invalid, invalid_value, missing, one_of
from skylift.cloud.services.ec2.capacity import on_demand_price, spot_price
from skylift.cloud.services.vpc.vpc import default_subnets
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import ec2

TYPES: tuple[Literal["one-time", "persistent"], ...] = ("one-time", "persistent")

LEAST_PRICE = 0.001
MOST_PRICE = 1_000_000
_SPELLED = re.compile(r"[0-9.]+(e[-+]?[0-9]+)?", re.IGNORECASE)
DIGITS = 6
"""Digits after the point: no answer has a price with more."""

REQUEST = "spot-instances-request"
"""The type of a request in tags and ARNs."""


@dataclass(frozen=True)
class SpotOptions:
    """`max_price` None is what the type costs on demand."""

    type: Literal["one-time", "persistent"] = "one-time"
    max_price: float | None = None
    behavior: Behavior = "terminate"
    valid_from: datetime | None = None
    valid_until: datetime | None = None

    def request(
        self, tx: Tx, launch: LaunchRequest, instance_tags: dict[str, str], tags: dict[str, str]
    ) -> SpotRequest:
        """One instance's, not looked at yet. The request's tags are not the instance's."""
        within = tuple(one.id for one in default_subnets(tx)) if launch.leaves_zone_open else None
        specified = tuple(one for one in launch.tags or () if one.resource_type != REQUEST)
        return SpotRequest(
            id=f"sir-{secrets.token_hex(4)}",
            type=self.type,
            created=tx.now,
            launch=replace(launch, least=1, most=1, client_token=None, market=None, tags=specified, within=within),
            instance_type=launch.type or "",
            max_price=self.max_price,
            behavior=self.behavior,
            state="open",
            status_code="pending-evaluation",
            status_message="Your Spot request has been submitted for review, and is pending evaluation.",
            status_updated=tx.now,
            valid_from=self.valid_from,
            valid_until=self.valid_until,
            instance_tags=instance_tags,
            tags=tags,
        )


def market_wish(tx: Tx, request: LaunchRequest) -> SpotOptions | None:
    """The spot options that InstanceMarketOptions ask for; None is on demand."""
    asked = request.market
    if asked is None:
        return None
    if not asked.market:
        raise missing("InstanceMarketOptions.MarketType")
    if asked.market != "spot":
        raise ServiceError("UnsupportedOperation", f"This cloud has no market '{asked.market}'; it has spot.")
    kind = one_of("one-time" if asked.type is None else asked.type, "spotInstanceType", TYPES)
    behavior = _behavior("terminate" if asked.behavior is None else asked.behavior, kind)
    if kind == "persistent" and behavior == "terminate":
        raise combination(
            "persistent Spot Instance requests are only supported when the instance interruption behavior is stop."
        )
    if kind == "one-time" and asked.valid_until:
        raise combination("ValidUntil is not supported for one-time Spot Instance requests.")
    if kind == "one-time" and request.shutdown_behavior == "stop":
        raise not_stopped()
    if request.termination_protected:
        raise not_protected()
    _refuse_group(behavior, request.place)
    return SpotOptions(kind, max_price(asked.max_price), behavior, None, _later(tx, asked.valid_until, "validUntil"))


def requested(tx: Tx, params: ec2.RequestSpotInstancesRequest, launch: LaunchRequest) -> SpotOptions:
    """The spot options that RequestSpotInstances asks for."""
    kind = one_of(params.get("Type", "one-time"), "type", TYPES)
    start, end = params.get("ValidFrom"), _later(tx, params.get("ValidUntil"), "validUntil")
    if start and end and end <= start:
        raise invalid_value(end, "validUntil", "It has to be later than validFrom.")
    behavior = _behavior(params.get("InstanceInterruptionBehavior", "terminate"), kind)
    _refuse_group(behavior, launch.place)
    return SpotOptions(kind, max_price(params.get("SpotPrice")), behavior, start, end)


def refuse_price(tx: Tx, type_name: str, zone: str, max_price: float | None) -> None:
    """Raises SpotMaxPriceTooLow where the market asks for more."""
    price = spot_price(tx, type_name, zone)
    if price is None:
        raise ServiceError(
            "UnsupportedOperation",
            f"There is no Spot price of {type_name} in {zone}. Set one: skylift cloud spot-price {type_name} USD",
        )
    if price > limit_of(type_name, zone, max_price):
        raise ServiceError(
            "SpotMaxPriceTooLow",
            f"Your Spot request price of {limit_of(type_name, zone, max_price):g} is lower than the minimum required "
            f"Spot request fulfillment price of {price:g}.",
        )


def limit_of(type_name: str, zone: str, max_price: float | None) -> float:
    """The highest price an hour: the request's, else the type's on-demand price."""
    if max_price is not None:
        return max_price
    on_demand = on_demand_price(type_name, zone[:-1])
    return float("inf") if on_demand is None else on_demand


def not_stopped() -> ServiceError:
    return combination(
        "A one-time Spot Instance cannot be stopped: instanceInitiatedShutdownBehavior has to be terminate."
    )


def not_protected() -> ServiceError:
    return ServiceError("UnsupportedOperation", "Termination protection cannot be enabled for Spot Instances.")


def read_price(text: str, name: str = "spotPrice") -> float:
    """A price as AWS's requests spell it; raises InvalidParameterValue."""
    try:
        price = round(float(text), DIGITS) if _SPELLED.fullmatch(text) else float("nan")
    except ValueError:
        price = float("nan")
    if not 0 < price <= MOST_PRICE:
        raise invalid(
            f"Invalid value '{text}' for {name}. It has to be a number of USD, from {10**-DIGITS:f} to {MOST_PRICE}."
        )
    return price


def max_price(text: str | None, name: str = "price") -> float | None:
    """The highest price of a request, in USD an hour; None without one."""
    if not text:
        return None
    price = read_price(text, name)
    if price < LEAST_PRICE:
        raise invalid(f"Invalid value '{text}' for {name}. It has to be at least {LEAST_PRICE} USD.")
    return price


def _behavior(value: str, kind: str) -> Behavior:
    if value == "hibernate":
        raise ServiceError(
            "UnsupportedOperation",
            "This cloud does not carry out InstanceInterruptionBehavior=hibernate: it cannot keep a server's memory. "
            "It takes terminate or stop.",
        )
    found: Behavior = one_of(value, "instanceInterruptionBehavior", ("terminate", "stop"))
    if found == "stop" and kind == "one-time":
        raise combination(
            "The request with type 'one-time' is not supported when instanceInterruptionBehavior is set to 'stop'."
        )
    return found


def _refuse_group(behavior: Behavior, placement: PlacementRequest) -> None:
    if behavior == "stop" and (placement.group_name or placement.group_id):
        raise combination(
            "The parameter GroupName within placement information cannot be specified when "
            "instanceInterruptionBehavior is set to 'STOP'."
        )


def _later(tx: Tx, moment: datetime | None, name: str) -> datetime | None:
    if moment is not None and moment <= tx.now:
        raise invalid_value(moment, name, "It has to be in the future.")
    return moment
