"""`skylift cloud spot-price`, `capacity`, `quota`, `interrupt`: the market of the embedded EC2, moved by hand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from skylift.cli.say import say_json

AsJson = Annotated[bool, typer.Option("--json", help="Print the API's objects as a JSON list.")]
Reset = Annotated[bool, typer.Option("--reset", help="Remove the setting.")]
Zone = Annotated[str | None, typer.Option(metavar="ZONE", help="One zone; default: all.", show_default=False)]
Type = Annotated[str | None, typer.Argument(metavar="TYPE", help="An instance type.", show_default=False)]
OnSpot = Annotated[bool, typer.Option("--spot", help="For Spot Instances.")]
OnDemand = Annotated[bool, typer.Option("--on-demand", help="For on-demand instances.")]


def register(cloud: typer.Typer) -> None:
    for command in (spot_price, capacity, quota, interrupt):
        cloud.command()(command)


def spot_price(
    type_name: Type = None,
    price: Annotated[str | None, typer.Argument(metavar="USD", help="Price per hour.", show_default=False)] = None,
    zone: Zone = None,
    ahead: Annotated[
        str | None, typer.Option("--in", metavar="TIME", help="Start after this time, like 10m.", show_default=False)
    ] = None,
    reset: Reset = False,
    as_json: AsJson = False,
) -> None:
    """Set the spot price of a type, now or at a later time. Without arguments: show settings.

    Instances whose maximum price is below it are given two minutes' notice.
    """
    from skylift.place.control import Control

    call = Control().call
    if reset:
        call("reset_spot_price", InstanceType=needed(type_name, "TYPE"), **_given(AvailabilityZone=zone))
    elif price is not None:
        since = None if ahead is None else datetime.now(UTC) + timedelta(seconds=_seconds(ahead))
        call(
            "put_spot_price",
            InstanceType=needed(type_name, "TYPE"),
            SpotPrice=price,
            **_given(AvailabilityZone=zone, EffectiveFrom=since),
        )
    found = call("describe_spot_prices")["SpotPrices"]
    columns = ("InstanceType", "AvailabilityZone", "SpotPrice", "EffectiveFrom")
    show(_of_type(found, type_name), columns, as_json=as_json)


def capacity(
    type_name: Type = None,
    count: Annotated[
        int | None, typer.Argument(min=0, metavar="COUNT", help="How many instances may run.", show_default=False)
    ] = None,
    zone: Zone = None,
    spot: OnSpot = False,
    on_demand: OnDemand = False,
    reset: Reset = False,
    as_json: AsJson = False,
) -> None:
    """Set the capacity of a zone for a type ('*': each type). Without arguments: show settings.

    What runs already stays.
    """
    from skylift.place.control import Control

    market = _market(spot=spot, on_demand=on_demand)
    call = Control().call
    place = _given(AvailabilityZone=zone, MarketType=market)
    if reset:
        call("reset_capacity", InstanceType=needed(type_name, "TYPE"), **place)
    elif count is not None:
        call("put_capacity", InstanceType=needed(type_name, "TYPE"), InstanceCount=count, **place)
    found = call("describe_capacity")["Capacities"]
    columns = ("InstanceType", "AvailabilityZone", "MarketType", "InstanceCount", "InUse")
    show(_of_type(found, type_name), columns, as_json=as_json)


def quota(
    family: Annotated[
        str | None,
        typer.Argument(metavar="CLASS", help="A class of AWS's quotas: standard, g, p, x, ...", show_default=False),
    ] = None,
    vcpus: Annotated[
        int | None, typer.Argument(min=0, metavar="VCPUS", help="How many vCPUs may run.", show_default=False)
    ] = None,
    spot: OnSpot = False,
    reset: Reset = False,
    as_json: AsJson = False,
) -> None:
    """Set the vCPU quota of a class of types, on-demand or --spot. Without arguments: show settings."""
    from skylift.place.control import Control

    market = "spot" if spot else "on-demand"
    call = Control().call
    if reset:
        call("reset_quota", InstanceClass=needed(family, "CLASS"), MarketType=market)
    elif vcpus is not None:
        call("put_quota", InstanceClass=needed(family, "CLASS"), MarketType=market, VCpus=vcpus)
    found = call("describe_quotas")["Quotas"]
    show(found, ("InstanceClass", "MarketType", "VCpus", "InUse"), as_json=as_json)


def interrupt(
    instance: Annotated[
        str | None,
        typer.Argument(metavar="INSTANCE", help="A Spot Instance's id, or the name of its job.", show_default=False),
    ] = None,
    ahead: Annotated[
        str | None, typer.Option("--in", metavar="TIME", help="Length of the notice, like 120s.", show_default=False)
    ] = None,
    rebalance: Annotated[bool, typer.Option("--rebalance", help="Send a rebalance recommendation only.")] = False,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Withdraw the notice.")] = False,
    as_json: AsJson = False,
) -> None:
    """Send an interruption notice to a Spot Instance. Without arguments: show current notices."""
    from skylift.client.errors import UsageError
    from skylift.place.control import Control

    if rebalance + withdraw + (ahead is not None) > 1:
        raise UsageError("--in, --rebalance and --withdraw exclude each other.")
    control = Control()
    call = control.call
    if instance is not None:
        instance = control.instance_of(instance)
    if withdraw:
        call("withdraw_interruption", InstanceId=needed(instance, "INSTANCE"))
    elif rebalance:
        call("recommend_rebalance", InstanceId=needed(instance, "INSTANCE"))
    elif instance is not None:
        seconds = None if ahead is None else _seconds(ahead)
        call("interrupt_instance", InstanceId=instance, **_given(Seconds=seconds))
    elif ahead is not None:
        raise UsageError("--in needs an INSTANCE.")
    found = call("describe_interruptions")["Interruptions"]
    if instance is not None:
        found = [one for one in found if one["InstanceId"] == instance]
    show(found, ("InstanceId", "InstanceAction", "Time", "NoticeTime", "RebalanceTime"), as_json=as_json)


def needed(value: str | None, name: str) -> str:
    from skylift.client.errors import UsageError

    if value is None:
        raise UsageError(f"{name} is missing.")
    return value


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _market(*, spot: bool, on_demand: bool) -> str | None:
    return "spot" if spot and not on_demand else "on-demand" if on_demand and not spot else None


def _seconds(text: str) -> int:
    from skylift.client.text.duration import parse_duration

    return parse_duration(text, "--in")


def _of_type(found: list[dict[str, Any]], type_name: str | None) -> list[dict[str, Any]]:
    return [one for one in found if type_name in (None, one["InstanceType"])]


def show(found: list[dict[str, Any]], columns: Sequence[str], *, as_json: bool) -> None:
    from skylift.cli.table import Column, show_table

    if as_json:
        say_json([{name: _spelled(value) for name, value in one.items()} for one in found])
        return
    rows = [tuple(str(_spelled(one.get(name, ""))) for name in columns) for one in found]
    show_table([Column(_heading(name), least=8) for name in columns], rows)


def _heading(name: str) -> str:
    """`INSTANCE TYPE` for `InstanceType`, `VCPUS` for `VCpus`."""
    return re.sub("(?<=[a-z])(?=[A-Z])", " ", name).upper()


def _spelled(value: Any) -> Any:
    return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if isinstance(value, datetime) else value
