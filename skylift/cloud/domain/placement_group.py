"""The noun of placement groups: how near to each other, or far from each other, instances are to be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class PlacementGroup:
    """`partitions` are those of each zone, for the strategy of that name; the others have none.

    One machine has no racks: what a strategy asks of its instances' zones, types and number holds, the distance
    between them cannot.
    """

    id: str
    name: str
    strategy: Literal["cluster", "spread", "partition"]
    partitions: int | None = None
    tags: dict[str, str] = field(default_factory=dict)
