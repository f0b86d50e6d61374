"""The noun of capacity that is paid for beforehand: reserved instances."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal


@dataclass(frozen=True)
class ReservedInstances:
    """One purchase. `zone` is None for a regional one. Prices are in USD and for one of `count`: `fixed_price` was paid
    at the start, `hourly_price` is paid for each hour of the term, used or not."""

    id: str
    offering_id: str
    type: str
    count: int
    start: datetime
    end: datetime
    zone: str | None = None
    tenancy: Literal["default", "dedicated"] = "default"
    offering_class: Literal["standard", "convertible"] = "standard"
    offering_type: Literal["No Upfront", "Partial Upfront", "All Upfront"] = "No Upfront"
    fixed_price: float = 0.0
    hourly_price: float = 0.0
    tags: dict[str, str] = field(default_factory=dict)
