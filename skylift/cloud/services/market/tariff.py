"""Prices in a region, in USD: those of instances are the catalogue's, the others are the few figures here.

None is a price that no source gives. Nothing is estimated.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from skylift import catalogue
from skylift.cloud.domain.usage import Usage

PUBLIC_ADDRESS = Fraction("0.005")
"""The price of an hour, in every region, idle or not; AWS's announcement of July 2023, in force since 2024-02-01."""

DEDICATED_REGION = Fraction(2)
"""The price of each hour in which a region has a dedicated instance."""


@dataclass(frozen=True)
class Storage:
    """The prices of a month: for each GiB, and for each IOPS and each MiB/s beyond the free ones."""

    gib: str
    iops: str | None = None
    free_iops: int = 0
    throughput: str | None = None
    free_throughput: int = 0


def _gp3(gib: str, iops: str | None = None, throughput: str | None = None) -> Storage:
    return Storage(gib, iops, 3000, throughput, 125)


STORAGE_AS_OF = "2026"
STORAGE: dict[tuple[str, str], Storage] = {
    ("us-east-1", "gp3"): _gp3("0.08", "0.005", "0.04"),
    ("us-east-1", "gp2"): Storage("0.10"),
    ("us-east-1", "io1"): Storage("0.125", "0.065"),
    ("us-east-1", "st1"): Storage("0.045"),
    ("us-east-1", "sc1"): Storage("0.015"),
    ("us-east-1", "standard"): Storage("0.05"),
    ("us-west-2", "gp3"): _gp3("0.08"),
    ("us-west-2", "gp2"): Storage("0.10"),
    ("eu-west-1", "gp3"): _gp3("0.088"),
    ("eu-west-1", "gp2"): Storage("0.11"),
    ("eu-central-1", "gp3"): _gp3("0.0952"),
}
"""Amazon EBS's list prices (docs/catalogue.md); reads and writes of `standard` volumes are not counted."""


def on_demand(instance_type: str, region: str) -> Fraction | None:
    return _exact(catalogue.on_demand(instance_type, region))


def dedicated(instance_type: str, region: str) -> Fraction | None:
    return _exact(catalogue.dedicated(instance_type, region))


def storage(volume: Usage, region: str) -> Fraction | None:
    """The price of a month of this volume; None also if the price of what it has beyond the free part is unknown."""
    price = STORAGE.get((region, volume.type))
    if price is None:
        return None
    month = volume.quantity * Fraction(price.gib)
    free = volume.type in ("gp2", "st1", "sc1", "standard")
    for have, included, each in (
        (volume.iops, price.free_iops, price.iops),
        (volume.throughput, price.free_throughput, price.throughput),
    ):
        beyond = 0 if free else max(0, (have or 0) - included)
        if beyond and each is None:
            return None
        month += beyond * Fraction(each or 0)
    return month


def _exact(price: float | None) -> Fraction | None:
    """The decimal figure that a source gave, not the binary one nearest to it."""
    return None if price is None else Fraction(Decimal(str(price)))
