"""What one run has cost, or would have on AWS: the line at its end, and the figures for programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from skylift.runner.job.quote import Offer, Quote
from skylift.runner.text.money import spell_usd


@dataclass(frozen=True)
class RunPrice:
    """`charged` is whether the servers of the place cost money at all; `market` is how this one was bought."""

    quote: Quote
    charged: bool
    market: str = "on-demand"

    def as_json(self) -> dict[str, Any]:
        told = self.quote.as_json()
        kept = ("instance_type", "region", "prices_as_of", "billed_seconds")
        offers = [
            {name: each[name] for name in ("option", "years", "payment", "hourly_usd", "run_usd", "as_of")}
            for each in told["offers"]
        ]
        return {"charged": self.charged, "market": self.market, **{name: told[name] for name in kept}, "offers": offers}

    def spell(self) -> str:
        """One line: on demand with its arithmetic, then the others; what no source tells is named at the end."""
        rates, usual = self.quote.rates, self.quote.offers[0]
        place = f"{rates.region}, {rates.dates.get('on-demand', 'no date')}"
        if usual.run is None or usual.hourly is None:
            return f"Price: unknown for {rates.instance_type} in {rates.region}."
        told = f"{self.quote.seconds:.0f} s x {usual.hourly:.4f}/h, {rates.instance_type}, {place}"
        found = {word: _cheapest(self.quote, *name) for name, word in _WORDS.items()}
        text = f"{spell_usd(usual.run)} USD on demand ({told})"
        if self.market == "spot":
            spot = found.pop("spot")
            text = f"{spell_usd(spot.run if spot else None)} on spot, as it ran; {text}"
        text = f"{'Price' if self.charged else 'On AWS'}: {text}"
        known = [f"{word} {spell_usd(each.run)}{_of(each, usual)}" for word, each in found.items() if each is not None]
        lacking = [word for word, each in found.items() if each is None]
        unknown = f"unknown: {', '.join(_together(lacking))}" if lacking else ""
        return f"{'; '.join(part for part in (text, ', '.join(known), unknown) if part)}."


_WORDS = {
    ("spot", None): "spot",
    ("reserved", 1): "reserved 1y",
    ("reserved", 3): "reserved 3y",
    ("savings-plan", 1): "savings plan 1y",
    ("savings-plan", 3): "savings plan 3y",
    ("dedicated-instance", None): "dedicated instance",
    ("dedicated-host", None): "dedicated host",
}


def _of(offer: Offer, usual: Offer) -> str:
    """The day of a price that is another day's than that of the price on demand."""
    return f" ({offer.as_of})" if offer.as_of and offer.as_of != usual.as_of else ""


def _together(words: list[str]) -> list[str]:
    """One word for both terms of a commitment."""
    for name in ("reserved", "savings plan"):
        if f"{name} 1y" in words and f"{name} 3y" in words:
            words = [name if word == f"{name} 1y" else word for word in words if word != f"{name} 3y"]
    return words


def _cheapest(found: Quote, name: str, years: int | None) -> Offer | None:
    offers = [each for each in found.offers if (each.name, each.years) == (name, years) and each.run is not None]
    return min(offers, key=lambda each: each.run or 0) if offers else None
