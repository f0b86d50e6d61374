"""The price of one run, or what it would have cost on AWS: a few words at its end, and figures for programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from skylift.client.job.quote import Quote
from skylift.client.text.money import spell_dollars


@dataclass(frozen=True)
class OtherServersPrice:
    """A map's servers besides its first one: how many there were, their seconds together, and what these cost."""

    servers: int
    seconds: float
    usd: float | None


@dataclass(frozen=True)
class RunPrice:
    """`charged` is whether the servers of the place cost money at all; `market` is how this one was bought. A map on
    several servers has others besides."""

    quote: Quote
    charged: bool
    market: str = "on-demand"
    others: OtherServersPrice | None = None

    def as_json(self) -> dict[str, Any]:
        quoted = self.quote.as_json()
        kept = ("instance_type", "region", "prices_as_of", "billed_seconds")
        offers = [
            {name: each[name] for name in ("option", "years", "payment", "hourly_usd", "run_usd", "as_of")}
            for each in quoted["offers"]
        ]
        return {
            "charged": self.charged,
            "market": self.market,
            **{name: quoted[name] for name in kept},
            "offers": offers,
            "other_servers": None if self.others is None else dict(vars(self.others)),
            "total_usd": self.total,
        }

    @property
    def total(self) -> float | None:
        """USD for all servers as they were bought; None where a price is not known."""
        own, others = self._run(self.market), 0.0 if self.others is None else self.others.usd
        return None if own is None or others is None else round(own + others, 8)

    def in_short(self) -> str:
        """A few words, at the price of how its server was bought; nothing where that is not known. `skylift price` has
        the rest."""
        usual, spot = self._run("on-demand"), self._run("spot")
        place = "" if self.charged else " on AWS"
        if self.others is not None:
            return f"≈ {spell_dollars(self.total)}{place} for all servers" if self.total is not None else ""
        if self.market == "spot":
            if spot is None:
                return f"{spell_dollars(usual)} at most{place}" if usual is not None else ""
            on_demand = f" (on demand {spell_dollars(usual)})" if usual is not None else ""
            return f"≈ {spell_dollars(spot)}{place} on spot{on_demand}"
        if usual is None:
            return ""
        return f"≈ {spell_dollars(usual)}{place}" + (f" (spot {spell_dollars(spot)})" if spot is not None else "")

    def _run(self, option: str) -> float | None:
        """USD."""
        return next((each.run for each in self.quote.offers if each.name == option), None)
