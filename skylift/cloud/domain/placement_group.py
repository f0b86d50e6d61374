"""The noun of placement groups: how near to each other, or far from each other, instances are to be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class PlacementGroup:
    """`partitions` is how many there are in each zone, for the strategy `partition` only.

    What a strategy demands of its instances' zones, types and number is enforced. The distance between them cannot be:
    one machine has no racks.
    """

    id: str
    name: str
    strategy: Literal["cluster", "spread", "partition"]
    partitions: int | None = None
    tags: dict[str, str] = field(default_factory=dict)
