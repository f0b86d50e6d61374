"""Nouns of Auto Scaling's policies: what a group is to become when its load changes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

PolicyKind = Literal["SimpleScaling", "StepScaling", "TargetTrackingScaling"]
ADJUSTMENTS = ("ChangeInCapacity", "ExactCapacity", "PercentChangeInCapacity")


@dataclass(frozen=True)
class Step:
    """An adjustment for metrics that are between two distances from the threshold; None is without end."""

    lower: float | None
    upper: float | None
    adjustment: int


@dataclass(frozen=True)
class ScalingPolicy:
    """`tracking` is the target tracking configuration as it came. The fields of the other kinds are then not set."""

    group: str
    name: str
    arn: str
    kind: PolicyKind
    enabled: bool = True
    adjustment_type: str | None = None
    adjustment: int | None = None
    min_magnitude: int | None = None
    cooldown: int | None = None
    steps: tuple[Step, ...] = ()
    aggregation: str | None = None
    warmup: int | None = None
    tracking: dict[str, Any] = field(default_factory=dict)

    @property
    def target(self) -> float:
        """The target of a target tracking policy."""
        return float(self.tracking["TargetValue"])

    @property
    def scales_in(self) -> bool:
        return not self.tracking.get("DisableScaleIn", False)
