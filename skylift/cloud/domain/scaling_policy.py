"""Nouns of Auto Scaling's policies: what a group is to become when its load changes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypedDict

PolicyKind = Literal["SimpleScaling", "StepScaling", "TargetTrackingScaling"]
ADJUSTMENTS = ("ChangeInCapacity", "ExactCapacity", "PercentChangeInCapacity")


class MetricDimension(TypedDict, total=False):
    Name: str
    Value: str


class PredefinedMetric(TypedDict, total=False):
    PredefinedMetricType: str
    ResourceLabel: str


class CustomizedMetric(TypedDict, total=False):
    MetricName: str
    Namespace: str
    Dimensions: list[MetricDimension]
    Statistic: str
    Unit: str
    Period: int


class TargetTracking(TypedDict, total=False):
    """A target tracking configuration, with Auto Scaling's member names. It has exactly one of the two metrics."""

    PredefinedMetricSpecification: PredefinedMetric
    CustomizedMetricSpecification: CustomizedMetric
    TargetValue: float
    DisableScaleIn: bool


@dataclass(frozen=True)
class Step:
    """An adjustment for metrics that are between two distances from the threshold; None is without end."""

    lower: float | None
    upper: float | None
    adjustment: int


@dataclass(frozen=True)
class ScalingPolicy:
    """`tracking` is empty but for target tracking policies, which have none of the fields of the other kinds."""

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
    tracking: TargetTracking = field(default_factory=TargetTracking)

    @property
    def target(self) -> float:
        """The target of a target tracking policy."""
        return float(self.tracking["TargetValue"])

    @property
    def scales_in(self) -> bool:
        return not self.tracking.get("DisableScaleIn", False)
