"""What a type costs in a region, in USD an hour for Linux; None where no source has the figure.

A commitment's price is what an hour comes to with everything that is paid beforehand spread over the whole term.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

from skylift.catalogue.table import FOLDER

HOURS_A_YEAR = 8760
"""As AWS counts it: a commitment's year has no leap day."""

Payment = Literal["no-upfront", "partial-upfront", "all-upfront"]
PAYMENTS: tuple[Payment, ...] = ("no-upfront", "partial-upfront", "all-upfront")


@dataclass(frozen=True)
class Source:
    """Of which day a region's figures of one kind are, and who says so."""

    date: str
    name: str


def on_demand(instance_type: str, region: str) -> float | None:
    return _price(instance_type, region, "on-demand")


def spot(instance_type: str, region: str) -> float | None:
    """The lowest of the region's zones, on the day of the source."""
    return _price(instance_type, region, "spot")


def dedicated(instance_type: str, region: str) -> float | None:
    """A dedicated instance's hour, without the region's own fee of such instances."""
    return _price(instance_type, region, "dedicated")


def reserved(instance_type: str, region: str, years: int, payment: Payment) -> float | None:
    """A standard reserved instance of shared tenancy."""
    return _price(instance_type, region, f"reserved {years} {payment}")


def savings_plan(instance_type: str, region: str, years: int, payment: Payment) -> float | None:
    """A compute savings plan, the kind that is bound to no family."""
    return _price(instance_type, region, f"savings-plan {years} {payment}")


def _price(instance_type: str, region: str, kind: str) -> float | None:
    if region not in priced_regions():
        return None
    return _region(region).get(kind, {}).get(instance_type)


@cache
def _region(region: str) -> dict[str, dict[str, float]]:
    """By kind of price, the types that have one."""
    with (FOLDER / "prices" / f"{region}.csv").open(newline="") as file:
        rows = csv.reader(file)
        kinds = next(rows)[1:]
        found: dict[str, dict[str, float]] = {kind: {} for kind in kinds}
        for name, *prices in rows:
            for kind, price in zip(kinds, prices, strict=True):
                if price:
                    found[kind][name] = float(price)
        return found


@cache
def sources() -> Mapping[tuple[str, str], Source]:
    """By region and kind of price (`("us-east-1", "on-demand")`); `("", "types")` is the types themselves."""
    with (FOLDER / "sources.csv").open(newline="") as file:
        return {(row["region"], row["what"]): Source(row["date"], row["source"]) for row in csv.DictReader(file)}


def priced_regions() -> tuple[str, ...]:
    return tuple(region for region, what in sources() if what == "on-demand")
