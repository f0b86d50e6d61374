"""The noun: the source of figures, and their date."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

GOOD_FOR = 30
"""Days. AWS changes prices on demand a few times a year, and has new types about as often."""
SPOT_IS_GOOD_FOR = 1


@dataclass(frozen=True)
class Source:
    """`date` as `2026-11-25`."""

    date: str
    name: str

    def age(self, today: datetime.date) -> int:
        """In days."""
        return (today - datetime.date.fromisoformat(self.date)).days

    def is_old(self, kind: str, today: datetime.date) -> bool:
        return self.age(today) > (SPOT_IS_GOOD_FOR if kind == "spot" else GOOD_FOR)
