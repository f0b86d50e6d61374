"""What servers cost an hour, from the catalogue: AWS's prices on demand for Linux, by region.

A public address and the root disk are counted too, at the prices of us-east-1; data transfer and S3 are not. On this
machine everything is free: there the figures say what the same job would cost on AWS.
"""

from __future__ import annotations

import os
from math import isfinite

from skylift import catalogue
from skylift.catalogue.price import figures
from skylift.client.errors import UsageError
from skylift.client.job.quote import Commitment, Rates
from skylift.client.job.server import Server

REGION = "us-east-1"
"""The region whose prices are used where none is given."""
DISK = 0.08 / 730
"""USD an hour for one GiB of gp3."""
ROOT_DISK = 8 * DISK
BESIDES = 0.005 + ROOT_DISK
"""USD an hour in addition to the server itself: a public IPv4 address and the root disk."""


def hourly_price(instance_type: str, region: str = REGION) -> float | None:
    """USD for a running server of the type; None for one that the catalogue has no price of."""
    price = catalogue.on_demand(instance_type, region)
    return None if price is None else price + BESIDES


def hourly_cost(server: Server, region: str) -> float | None:
    """USD for a server as it is: a stopped one is a disk."""
    return ROOT_DISK if server.state == "stopped" else hourly_price(server.type, region)


def seconds_for(cost: float, instance_type: str, region: str) -> int:
    """How long a server of the type may be there for that many USD. Raises UsageError where no price is known."""
    if not (isfinite(cost) and cost > 0):
        raise UsageError(f"--max-cost {cost:g} is not a sum of money.", "It is in USD, like 2.50.")
    check_priced("--max-cost", region)
    price = hourly_price(instance_type, region)
    if price is None:
        raise UsageError(
            f"--max-cost: skylift's catalogue has no price for {instance_type} in {region}.", "Use --max-time instead."
        )
    return int(cost / price * 3600)


def check_priced(option: str, region: str) -> None:
    if region not in catalogue.priced_regions():
        known = ", ".join(catalogue.priced_regions())
        raise UsageError(f"{option}: skylift's catalogue has no prices of {region}.", f"It has those of {known}.")


def priced_region(asked: str | None) -> tuple[str, str]:
    """The region whose prices to show, and a note if it is not the one of the environment. Raises UsageError for a
    region that was asked for and has no prices.
    """
    if asked is not None:
        check_priced("--region", asked)
        return asked, ""
    here = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or REGION
    return stand_in(here)


def stand_in(region: str) -> tuple[str, str]:
    """The region itself; without prices, the default region, with a note."""
    if region in catalogue.priced_regions():
        return region, ""
    return REGION, f"The catalogue has no prices of {region}: these are those of {REGION}."


def rates_of(instance_type: str, region: str) -> Rates:
    """All prices of a type in a region."""
    return Rates(
        instance_type,
        region,
        dates_of(region),
        on_demand=catalogue.on_demand(instance_type, region),
        spot=catalogue.spot(instance_type, region),
        commitments=commitments_of(instance_type, region),
        dedicated=catalogue.dedicated(instance_type, region),
    )


def commitments_of(instance_type: str, region: str) -> tuple[Commitment, ...]:
    found = [
        Commitment(kind, years, payment, hourly)
        for kind, price in (("reserved", catalogue.reserved), ("savings-plan", catalogue.savings_plan))
        for years in (1, 3)
        for payment in catalogue.PAYMENTS
        if (hourly := price(instance_type, region, years, payment)) is not None
    ]
    return tuple(found)


def dates_of(region: str) -> dict[str, str]:
    """Dates of the figures, by kind of price."""
    return {kind: known.source.date for kind, known in figures(region).items()}
