"""What a server costs an hour: AWS's list prices on demand for Linux in us-east-1, as of January 2025.

Within a family the price goes with the size, so the table holds what a `large` costs. A public address and the root
disk are counted too; data transfer and S3 are not. On this machine nothing costs anything: there the figures say what
the same job would cost on AWS.
"""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

from skylift.runner.errors import UsageError
from skylift.runner.launch import Server

REGION = "us-east-1"
DISK = 0.08 / 730
"""USD an hour for one GiB of gp3."""
ROOT_DISK = 8 * DISK
_BESIDES = 0.005 + ROOT_DISK
"""USD an hour beside the server itself: a public IPv4 address, and its root disk."""
_SIZES = {"nano": 1 / 16, "micro": 1 / 8, "small": 1 / 4, "medium": 1 / 2, "large": 1.0, "xlarge": 2.0}


@cache
def _table() -> dict[str, float]:
    with Path(__file__).with_name("prices.csv").open(newline="") as file:
        return {row["family"]: float(row["large"]) for row in csv.DictReader(file)}


def hourly_price(instance_type: str) -> float | None:
    """USD for a running server of the type; None for one that the table does not know."""
    family, _, size = instance_type.partition(".")
    number = size.removesuffix("xlarge")
    times = 2.0 * int(number) if number.isdigit() else _SIZES.get(size)
    large = _table().get(family)
    return None if times is None or large is None else large * times + _BESIDES


def hourly_cost(server: Server) -> float | None:
    """USD for a server as it is: a stopped one is a disk."""
    return ROOT_DISK if server.state == "stopped" else hourly_price(server.type)


def seconds_for(cost: float, instance_type: str) -> int:
    """How long a server of the type may be there for that many USD. Raises UsageError where no price is known."""
    price = hourly_price(instance_type)
    if price is None:
        raise UsageError(
            f"--max-cost: there is no price for {instance_type} in skylift's table.", "Use --max-time instead."
        )
    return int(cost / price * 3600)


def check_region(max_cost: float | None, region: str) -> None:
    if max_cost is not None and region != REGION:
        raise UsageError(
            f"--max-cost: skylift's price table is that of {REGION}, and {region} may cost more.",
            "Use --max-time instead.",
        )
