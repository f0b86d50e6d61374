"""The two alarms that target tracking makes for each policy: the metric is above its target, or well below it."""

from __future__ import annotations

import math
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from skylift.cloud.domain.alarm import Alarm
from skylift.cloud.domain.metric import Metric
from skylift.cloud.domain.scaling_policy import ScalingPolicy
from skylift.cloud.services.api.dimension import dimensions
from skylift.cloud.services.autoscaling.scaling_rules import invalid
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import autoscaling

PREDEFINED = {
    "ASGAverageCPUUtilization": ("CPUUtilization", 60),
    "ASGAverageCPUUtilizationHighResolution": ("CPUUtilization", 10),
    "ASGAverageNetworkIn": ("NetworkIn", 60),
    "ASGAverageNetworkOut": ("NetworkOut", 60),
}
HIGH_PERIODS, LOW_PERIODS = 3, 15
LOW_SHARE = 0.9
"""A metric below this share of its target is low. Values between are near enough."""


@dataclass(frozen=True)
class Measured:
    """The metric that a policy keeps at its target, with its statistic and unit, and the seconds of a period."""

    metric: Metric
    statistic: str
    unit: str | None
    period: int


def check(config: autoscaling.TargetTrackingConfiguration) -> None:
    """Raises where no alarm could be made of it."""
    if not 0 < config["TargetValue"] < math.inf:
        raise invalid("TargetValue must be a number greater than 0.")
    predefined, customized = config.get("PredefinedMetricSpecification"), config.get("CustomizedMetricSpecification")
    if (predefined is None) == (customized is None):
        raise invalid(
            "Exactly one of PredefinedMetricSpecification and CustomizedMetricSpecification must be specified."
        )
    if predefined is not None and predefined["PredefinedMetricType"] not in PREDEFINED:
        raise invalid(
            f"The predefined metric {predefined['PredefinedMetricType']} needs a load balancer: there is none."
        )
    if customized is not None:
        needed = {name: customized.get(name) for name in ("Namespace", "MetricName", "Statistic")}
        for name, value in needed.items():
            if not value:
                raise invalid(f"{name} of CustomizedMetricSpecification must be specified.")
        if customized.get("Period", 60) not in (10, 30, 60):
            raise invalid("Period of CustomizedMetricSpecification must be 10, 30 or 60.")
        dimensions(customized, "CustomizedMetricSpecification")


def make_alarms(tx: Tx, policy: ScalingPolicy) -> list[Alarm]:
    """Those that the policy is to have, with the names of those that it had."""
    before = {alarm.name.rpartition("-Alarm")[2][:4]: alarm for alarm in tx.find(Alarm, policy=policy.arn)}
    wanted = [_alarm(tx, policy, "High", "GreaterThanThreshold", policy.target, HIGH_PERIODS)]
    if policy.scales_in:
        low = round(policy.target * LOW_SHARE, 9)
        wanted.append(_alarm(tx, policy, "Low-", "LessThanThreshold", low, LOW_PERIODS))
    made = []
    for alarm in wanted:
        known = before.pop(alarm.name.rpartition("-Alarm")[2][:4], None)
        if known is None:
            tx.add(alarm)
            made.append(alarm)
        else:
            kept = {field: getattr(known, field) for field in ("name", "state", "reason", "reason_data", "acted")}
            made.append(replace(alarm, updated=known.updated, transitioned=known.transitioned, **kept))
            tx.save(made[-1])
    for alarm in before.values():
        tx.remove(alarm)
    return made


def _alarm(tx: Tx, policy: ScalingPolicy, kind: str, comparison: str, threshold: float, periods: int) -> Alarm:
    measured = _measured(policy)
    return Alarm(
        name=f"TargetTracking-{policy.group}-Alarm{kind.rstrip('-')}-{uuid.uuid4()}",
        namespace=measured.metric.namespace,
        metric_name=measured.metric.name,
        dimensions=measured.metric.dimensions,
        statistic=measured.statistic,
        unit=measured.unit,
        period=measured.period,
        periods=periods,
        datapoints=None,
        threshold=threshold,
        comparison=comparison,
        missing=None,
        configured=tx.now,
        updated=tx.now,
        transitioned=tx.now,
        description=f"DO NOT EDIT OR DELETE. For TargetTrackingScaling policy {policy.arn}.",
        alarm_actions=(policy.arn,),
        policy=policy.arn,
    )


def _measured(policy: ScalingPolicy) -> Measured:
    predefined = policy.tracking.get("PredefinedMetricSpecification")
    if predefined is not None:
        name, period = PREDEFINED[predefined["PredefinedMetricType"]]
        metric = Metric("AWS/EC2", name, (("AutoScalingGroupName", policy.group),))
        return Measured(metric, "Average", None, period)
    own = policy.tracking["CustomizedMetricSpecification"]
    metric = Metric(own["Namespace"], own["MetricName"], dimensions(own, ""))
    return Measured(metric, own["Statistic"], own.get("Unit"), own.get("Period", 60))
