"""Nouns of CloudWatch's metrics."""

from __future__ import annotations

from dataclasses import dataclass, field

Dimensions = tuple[tuple[str, str], ...]
"""Names and values, sorted by name."""


@dataclass(frozen=True)
class Metric:
    """A metric: its namespace, its name and its dimensions. The order of the dimensions makes no difference."""

    namespace: str
    name: str
    dimensions: Dimensions = ()

    @property
    def as_dict(self) -> dict[str, str]:
        return dict(self.dimensions)


@dataclass(frozen=True)
class Summary:
    """The summary of values of one time. A single value is a summary of one."""

    count: float
    sum: float
    minimum: float
    maximum: float

    @classmethod
    def of(cls, value: float, count: float = 1.0) -> Summary:
        return cls(count, value * count, value, value)

    def __add__(self, other: Summary) -> Summary:
        return Summary(
            self.count + other.count,
            self.sum + other.sum,
            min(self.minimum, other.minimum),
            max(self.maximum, other.maximum),
        )

    def statistic(self, name: str) -> float:
        """One of CloudWatch's: Average, Sum, Minimum, Maximum, SampleCount."""
        match name:
            case "Average":
                # The average of equal values must be exactly their value, in spite of rounding.
                return min(max(self.sum / self.count, self.minimum), self.maximum)
            case "Sum":
                return self.sum
            case "Minimum":
                return self.minimum
            case "Maximum":
                return self.maximum
            case "SampleCount":
                # Samples of parts of a minute add up to one, but for what the last digits are off.
                return round(self.count, 9)
        raise ValueError(name)


STATISTICS = ("SampleCount", "Average", "Sum", "Minimum", "Maximum")


@dataclass(frozen=True)
class Point:
    """A metric's data for one second, or for the minute that begins with it. `at` counts from 1970."""

    metric: Metric
    at: int
    summary: Summary
    unit: str = "None"


@dataclass(frozen=True)
class WantedSummaries:
    """A request for a metric's summaries, each of `period` seconds, from `start` on and before `end`.

    Without a unit, the summaries of all units that it was published in.
    """

    metric: Metric
    start: int
    end: int
    period: int
    unit: str | None = None


@dataclass(frozen=True)
class Filter:
    """Which metrics are listed. A dimension without a value matches any value."""

    namespace: str | None = None
    name: str | None = None
    dimensions: tuple[tuple[str, str | None], ...] = field(default=())

    def matches(self, metric: Metric) -> bool:
        of = metric.as_dict
        return all(key in of and value in (None, of[key]) for key, value in self.dimensions)
