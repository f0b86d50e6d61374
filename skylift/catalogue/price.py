"""What a type costs in a region, in USD an hour for Linux; None where no source has the figure.

A commitment's price is what an hour comes to with everything that is paid beforehand spread over the whole term.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

from skylift.catalogue.folder import FOLDERS
from skylift.catalogue.source import Source
from skylift.catalogue.table import types_source

HOURS_A_YEAR = 8760
"""As AWS counts it: a commitment's year has no leap day."""

_HEAD = 3
"""Rows before the first type's."""

Payment = Literal["no-upfront", "partial-upfront", "all-upfront"]
PAYMENTS: tuple[Payment, ...] = ("no-upfront", "partial-upfront", "all-upfront")

Kind = str
"""`on-demand`, `spot`, `dedicated`, `reserved 1 no-upfront`, `savings-plan 3 all-upfront`, ..."""


@dataclass(frozen=True)
class Figures:
    """One kind of price in one region."""

    source: Source
    prices: Mapping[str, float]


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


@cache
def priced_regions() -> tuple[str, ...]:
    """Those with prices on demand: of others there may be spot prices, which nothing could be compared to."""
    return tuple(region for region in FOLDERS.regions() if "on-demand" in figures(region))


def sources() -> Mapping[tuple[str, str], Source]:
    """By region and kind of price (`("us-east-1", "on-demand")`); `("", "types")` is the types themselves."""
    regions = FOLDERS.regions()
    of_prices = {(region, kind): known.source for region in regions for kind, known in figures(region).items()}
    return {("", "types"): types_source(), **of_prices}


def _price(instance_type: str, region: str, kind: Kind) -> float | None:
    known = figures(region).get(kind)
    return known.prices.get(instance_type) if known else None


@cache
def figures(region: str) -> Mapping[Kind, Figures]:
    """All that is known of a region. The file has a row with the kinds, one with their dates, one with who says so, and
    then one for each type."""
    return FOLDERS.read(prices_of(region), _parse) or {}


def _parse(rows: list[list[str]]) -> Mapping[Kind, Figures]:
    if len(rows) < _HEAD:
        raise ValueError("its head is missing")
    kinds, dates, names = (row[1:] for row in rows[:_HEAD])
    found: list[dict[str, float]] = [{} for _ in kinds]
    for name, *prices in rows[_HEAD:]:
        for each, price in zip(found, prices, strict=True):
            if price:
                each[name] = float(price)
    sources = [Source(date, name) for date, name in zip(dates, names, strict=True)]
    return {kind: Figures(source, prices) for kind, source, prices in zip(kinds, sources, found, strict=True)}


FOLDERS.when_forgotten(figures.cache_clear, priced_regions.cache_clear)


def prices_of(region: str) -> str:
    """The file's name."""
    return f"prices/{region}.csv"
