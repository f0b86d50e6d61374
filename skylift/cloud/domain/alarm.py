"""Nouns of CloudWatch's alarms."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from skylift.cloud.domain.metric import Dimensions, Metric

AlarmState = Literal["OK", "ALARM", "INSUFFICIENT_DATA"]
Missing = Literal["missing", "ignore", "breaching", "notBreaching"]
HistoryKind = Literal["ConfigurationUpdate", "StateUpdate", "Action"]


@dataclass(frozen=True)
class Alarm:
    """A threshold for one statistic of a metric. It alarms if `datapoints` of the last `periods` periods cross it.

    `updated` is when the state was last set, `transitioned` when it last changed. `acted` is when actions were last
    requested; Auto Scaling's actions are requested again each minute. `policy` is the ARN of the scaling policy that
    the alarm was made for. The alarm is deleted with that policy.
    """

    name: str
    namespace: str
    metric_name: str
    dimensions: Dimensions
    statistic: str
    unit: str | None
    period: int
    periods: int
    datapoints: int | None
    threshold: float
    comparison: str
    missing: Missing | None
    configured: datetime
    updated: datetime
    transitioned: datetime
    description: str | None = None
    actions_enabled: bool = True
    ok_actions: tuple[str, ...] = ()
    alarm_actions: tuple[str, ...] = ()
    insufficient_data_actions: tuple[str, ...] = ()
    state: AlarmState = "INSUFFICIENT_DATA"
    reason: str = "Unchecked: Initial alarm creation"
    reason_data: str | None = None
    acted: datetime | None = None
    tags: dict[str, str] = field(default_factory=dict)
    policy: str | None = None

    @property
    def metric(self) -> Metric:
        return Metric(self.namespace, self.metric_name, self.dimensions)

    def actions(self, state: AlarmState) -> tuple[str, ...]:
        """The actions that follow when it changes to this state."""
        if not self.actions_enabled:
            return ()
        of_state = {
            "OK": self.ok_actions,
            "ALARM": self.alarm_actions,
            "INSUFFICIENT_DATA": self.insufficient_data_actions,
        }
        return of_state[state]


@dataclass(frozen=True)
class HistoryItem:
    """Something that happened to an alarm."""

    number: int
    alarm: str
    at: datetime
    kind: HistoryKind
    summary: str
    data: str


@dataclass(frozen=True)
class DueAction:
    """An action that an alarm asks for and that has not been carried out. `metric_value` is what it saw last."""

    number: int
    alarm: str
    arn: str
    state: AlarmState
    asked: datetime
    metric_value: float | None = None
