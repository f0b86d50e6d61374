"""What a run would cost under each way to buy its server: rates, offers, and the quote that they make."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Commitment:
    """`kind` is reserved or savings-plan; `payment` is no-upfront, partial-upfront or all-upfront; `hourly` is what an
    hour comes to with all that is paid upfront."""

    kind: str
    years: int
    payment: str
    hourly: float


@dataclass(frozen=True)
class Rates:
    """What one type costs in one region; `dates` say of when the figures are, by their source."""

    instance_type: str
    region: str
    dates: dict[str, str]
    on_demand: float | None = None
    spot: float | None = None
    commitments: tuple[Commitment, ...] = ()
    dedicated: float | None = None
    host: float | None = None


@dataclass(frozen=True)
class Offer:
    """One way to buy. `run` is what one run costs, under a commitment its share of one that is used fully; `month`
    is what all hours of a month cost. `pays_from` are hours a month: None where that is not known or never comes.
    `as_of` is the day of its price."""

    name: str
    hourly: float | None
    run: float | None
    month: float | None
    pays_from: float | None
    years: int | None = None
    payment: str | None = None
    note: str = ""
    as_of: str | None = None

    def as_json(self) -> dict[str, Any]:
        rounded = {name: _rounded(getattr(self, name)) for name in ("hourly", "run", "month")}
        hours = None if self.pays_from is None else round(self.pays_from, 1)
        return {
            "option": self.name,
            "years": self.years,
            "payment": self.payment,
            **{f"{name}_usd": value for name, value in rounded.items()},
            "pays_from_hours_a_month": hours,
            "as_of": self.as_of,
            "note": self.note,
        }


@dataclass(frozen=True)
class Quote:
    """All the offers for a run of `seconds`, as billed, and for `hours` a month of servers of its type. `served` are
    those of them that one commitment would pay for: of servers side by side, it serves one. `commitments_matter` is
    whether so many hours are anywhere near those from which one could pay."""

    rates: Rates
    seconds: float
    hours: float
    served: float
    offers: tuple[Offer, ...]
    advice: str
    basis: dict[str, Any] = field(default_factory=dict)
    commitments_matter: bool = False

    def as_json(self) -> dict[str, Any]:
        return {
            "instance_type": self.rates.instance_type,
            "region": self.rates.region,
            "prices_as_of": self.rates.dates,
            "billed_seconds": round(self.seconds, 3),
            "hours_a_month": round(self.hours, 3),
            "hours_one_commitment_serves": round(self.served, 3),
            "basis": self.basis,
            "offers": [each.as_json() for each in self.offers],
            "advice": self.advice,
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 8)
