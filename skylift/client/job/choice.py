"""The instance type that was chosen for a job, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from skylift.client.job.requirements import Requirements


@dataclass(frozen=True)
class Choice:
    """The type that was chosen for a job, why, and the next best. `hourly` is its on-demand price in `region`, in
    USD."""

    type: str
    hourly: float
    region: str
    as_of: str
    wanted: Requirements
    next: tuple[tuple[str, float], ...] = ()
    hint: str = ""

    def spell(self) -> str:
        """One line: the type, the requirements, the price, and the next best type."""
        text = f"{self.type} is the cheapest for {self.wanted.spell()}: {self.hourly:.4f} USD/h on demand"
        text += f" ({self.region}, {self.as_of})"
        if self.next:
            text += f"; next: {', '.join(f'{name} {price:.4f}' for name, price in self.next)}"
        return f"{text}. {self.hint}".rstrip()

    def as_json(self) -> dict[str, Any]:
        return {
            "type": self.type,
            "hourly_usd": self.hourly,
            "region": self.region,
            "prices_as_of": self.as_of,
            "wanted": self.wanted.as_json(),
            "next": [{"type": name, "hourly_usd": price} for name, price in self.next],
        }
