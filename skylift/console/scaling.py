"""Auto Scaling, as the console asks for it: groups, their activities, their policies, and the alarms of these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from skylift.client.errors import RunError, UsageError
from skylift.console.call import Call
from skylift.console.port import Facts, Port
from skylift.console.rows import Row, as_tags, as_time, spell_tags
from skylift.console.typed import whole_number

METRICS = {
    "ASGAverageCPUUtilization": "Average processor use, in percent",
    "ASGAverageNetworkIn": "Average bytes in, a minute and instance",
    "ASGAverageNetworkOut": "Average bytes out, a minute and instance",
}
_ACTIVITIES = 50
_LARGEST = 10_000


@dataclass(frozen=True)
class GroupRow(Row):
    desired: int
    least: int
    most: int
    running: int
    state: str
    template: str
    zones: str
    tags: str


@dataclass(frozen=True)
class Activity:
    """Something that a group did. `ended` is empty while it is under way."""

    began: str
    ended: str
    status: str
    what: str
    why: str


@dataclass(frozen=True)
class Member:
    id: str
    zone: str
    stage: str
    health: str
    type: str
    protected: bool


@dataclass(frozen=True)
class Policy:
    """`does` is what it does, in words."""

    name: str
    kind: str
    does: str
    alarms: tuple[str, ...]
    on: bool


@dataclass(frozen=True)
class GroupAlarm:
    name: str
    state: str
    condition: str
    reason: str
    threshold: float | None
    metric: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class ShownGroup:
    row: GroupRow
    details: Facts
    members: tuple[Member, ...]


# Calls.


def describe_group(name: str) -> Call:
    return Call("autoscaling", "describe_auto_scaling_groups", {"AutoScalingGroupNames": [name]})


def list_activities(name: str) -> Call:
    params = {"AutoScalingGroupName": name, "MaxRecords": _ACTIVITIES}
    return Call("autoscaling", "describe_scaling_activities", params)


def list_policies(name: str) -> Call:
    return Call("autoscaling", "describe_policies", {"AutoScalingGroupName": name})


def describe_alarms(names: Sequence[str]) -> Call:
    return Call("cloudwatch", "describe_alarms", {"AlarmNames": list(names)})


def read_capacity(row: GroupRow, least: str, desired: str, most: str) -> Call:
    """What was typed, as a call: by hand it is the desired capacity alone. Raises UsageError."""
    numbers = []
    for word, text in (("The least", least), ("The desired capacity", desired), ("The most", most)):
        number = whole_number(text, 0, _LARGEST)
        if number is None:
            raise UsageError(f"{word} is a number of instances, not {text.strip()!r}.", f"From 0 to {_LARGEST}.")
        numbers.append(number)
    low, wanted, high = numbers
    if not low <= wanted <= high:
        raise UsageError(f"{wanted} is not between {low} and {high}.", "Change the least or the most, too.")
    if (low, high) == (row.least, row.most):
        params: dict[str, Any] = {"AutoScalingGroupName": row.id, "DesiredCapacity": wanted}
        return Call("autoscaling", "set_desired_capacity", params)
    params = {"AutoScalingGroupName": row.id, "MinSize": low, "MaxSize": high, "DesiredCapacity": wanted}
    return Call("autoscaling", "update_auto_scaling_group", params)


def read_policy(group: str, name: str, metric: str, target: str) -> Call:
    """A policy that keeps a metric at a value. Raises UsageError."""
    if not name.strip():
        raise UsageError("The policy needs a name.")
    try:
        value = float(target)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise UsageError(f"{target.strip()!r} is not a value to keep it at.", "Write a number, like 60.")
    tracking = {"PredefinedMetricSpecification": {"PredefinedMetricType": metric}, "TargetValue": value}
    params = {
        "AutoScalingGroupName": group,
        "PolicyName": name.strip(),
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingConfiguration": tracking,
    }
    return Call("autoscaling", "put_scaling_policy", params)


def delete_group(name: str) -> Call:
    params = {"AutoScalingGroupName": name, "ForceDelete": True}
    return Call("autoscaling", "delete_auto_scaling_group", params)


# What there is.


class Scaling:
    """Every method may raise SkyliftError."""

    def __init__(self, port: Port) -> None:
        self._port = port

    def groups(self) -> list[GroupRow]:
        return [
            _row(each)
            for each in self._port.pages(Call("autoscaling", "describe_auto_scaling_groups"), "AutoScalingGroups")
        ]

    def group(self, name: str) -> ShownGroup:
        found = self._port.perform(describe_group(name))["AutoScalingGroups"]
        if not found:
            raise RunError(f"There is no Auto Scaling group {name!r}.", "It may have been deleted.")
        described = found[0]
        sizes = (described["MinSize"], described["DesiredCapacity"], described["MaxSize"])
        health = f"{described.get('HealthCheckType', '')}, grace {described.get('HealthCheckGracePeriod', 0)} s"
        details = (
            ("ARN", described["AutoScalingGroupARN"]),
            ("Launch template", _spell_template(described)),
            ("Least, desired, most", ", ".join(map(str, sizes))),
            ("Zones", ", ".join(described.get("AvailabilityZones", []))),
            ("Subnets", described.get("VPCZoneIdentifier", "").replace(",", ", ")),
            ("Cooldown", f"{described.get('DefaultCooldown', 0)} s"),
            ("Health check", health),
            ("Suspended", ", ".join(each["ProcessName"] for each in described.get("SuspendedProcesses", []))),
            ("Termination", ", ".join(described.get("TerminationPolicies", []))),
            ("Created", as_time(described.get("CreatedTime"))),
            ("Tags", spell_tags(as_tags(described))),
        )
        members = tuple(
            Member(
                each["InstanceId"],
                each.get("AvailabilityZone", ""),
                each["LifecycleState"],
                each["HealthStatus"],
                each.get("InstanceType", ""),
                bool(each.get("ProtectedFromScaleIn")),
            )
            for each in described.get("Instances", [])
        )
        return ShownGroup(_row(described), details, members)

    def activities(self, name: str) -> list[Activity]:
        """The latest first."""
        return [
            Activity(
                as_time(each.get("StartTime")),
                as_time(each.get("EndTime")),
                each["StatusCode"],
                each.get("Description", ""),
                each.get("Cause", "") + (f" {each['StatusMessage']}" if each.get("StatusMessage") else ""),
            )
            for each in self._port.perform(list_activities(name))["Activities"]
        ]

    def policies(self, name: str) -> list[Policy]:
        return [
            Policy(
                each["PolicyName"],
                each.get("PolicyType", ""),
                spell_policy(each),
                tuple(one["AlarmName"] for one in each.get("Alarms", [])),
                bool(each.get("Enabled", True)),
            )
            for each in self._port.pages(list_policies(name), "ScalingPolicies")
        ]

    def alarms(self, names: Sequence[str]) -> list[GroupAlarm]:
        """With the values of their metrics in the last three hours."""
        if not names:
            return []
        found = self._port.perform(describe_alarms(names))["MetricAlarms"]
        return [self._alarm(each) for each in found]

    def _alarm(self, described: Any) -> GroupAlarm:
        metric = described.get("MetricName", "")
        return GroupAlarm(
            described["AlarmName"],
            described["StateValue"],
            _spell_condition(described),
            described.get("StateReason", ""),
            described.get("Threshold"),
            metric,
            self._points(described) if metric else (),
        )

    def _points(self, described: Any) -> tuple[tuple[float, float], ...]:
        now, statistic = datetime.now(UTC), described.get("Statistic", "Average")
        params = {
            "Namespace": described["Namespace"],
            "MetricName": described["MetricName"],
            "Dimensions": described.get("Dimensions", []),
            "StartTime": now - timedelta(hours=3),
            "EndTime": now,
            "Period": described.get("Period", 60),
            "Statistics": [statistic],
        }
        found = self._port.perform(Call("cloudwatch", "get_metric_statistics", params))["Datapoints"]
        return tuple(sorted((each["Timestamp"].timestamp(), float(each[statistic])) for each in found))


def _row(described: Any) -> GroupRow:
    instances = described.get("Instances", [])
    return GroupRow(
        id=described["AutoScalingGroupName"],
        desired=described["DesiredCapacity"],
        least=described["MinSize"],
        most=described["MaxSize"],
        running=_in_service(instances),
        # Of a group that is being deleted, AWS says so; else it is as many as it should be, or on its way.
        state=described.get("Status", "").lower() or _state(described, instances),
        template=_spell_template(described),
        zones=", ".join(described.get("AvailabilityZones", [])),
        tags=spell_tags(as_tags(described)),
    )


def _state(described: Any, instances: Sequence[Any]) -> str:
    """Whole instances may be more than the desired capacity, where they have weights."""
    weighted = any("WeightedCapacity" in each for each in instances)
    in_service, desired = _in_service(instances), described["DesiredCapacity"]
    reached = in_service >= desired if weighted else in_service == desired
    all_are = all(each["LifecycleState"] == "InService" for each in instances)
    return "active" if reached and all_are else "changing"


def _in_service(instances: Sequence[Any]) -> int:
    """The capacity in service: instances, or units where they have weights."""
    ready = [each for each in instances if each["LifecycleState"] == "InService"]
    return sum(int(each.get("WeightedCapacity", 1)) for each in ready)


def _spell_template(described: Any) -> str:
    mixed = described.get("MixedInstancesPolicy", {}).get("LaunchTemplate", {})
    found = described.get("LaunchTemplate") or mixed.get("LaunchTemplateSpecification") or {}
    if not found:
        return str(described.get("LaunchConfigurationName", ""))
    return f"{found.get('LaunchTemplateName', found.get('LaunchTemplateId', ''))} {found.get('Version', '')}".strip()


def spell_policy(policy: Any) -> str:
    """What a policy does, in words."""
    tracking = policy.get("TargetTrackingConfiguration")
    if tracking:
        predefined = tracking.get("PredefinedMetricSpecification", {}).get("PredefinedMetricType", "")
        metric = predefined or tracking.get("CustomizedMetricSpecification", {}).get("MetricName", "a metric")
        only = ", never takes away" if tracking.get("DisableScaleIn") else ""
        return f"keeps {metric} at {tracking['TargetValue']:g}{only}"
    kind = policy.get("AdjustmentType", "")
    if policy.get("PolicyType") == "StepScaling":
        return "; ".join(_spell_step(each, kind) for each in policy.get("StepAdjustments", []))
    if "ScalingAdjustment" in policy:
        pause = f", then waits {policy['Cooldown']} s" if policy.get("Cooldown") else ""
        return _spell_adjustment(policy["ScalingAdjustment"], kind) + pause
    return str(policy.get("PolicyType", ""))


def _spell_step(step: Any, kind: str) -> str:
    """Its bounds are counted from the alarm's threshold."""
    low, high = step.get("MetricIntervalLowerBound"), step.get("MetricIntervalUpperBound")
    bounds = [f"{low:+g}" if low is not None else "below", f"{high:+g}" if high is not None else "on"]
    return f"from {bounds[0]} to {bounds[1]}: {_spell_adjustment(step['ScalingAdjustment'], kind)}"


def _spell_adjustment(number: int, kind: str) -> str:
    if kind == "ExactCapacity":
        return f"sets {number}"
    unit = "%" if kind == "PercentChangeInCapacity" else ""
    return f"{'adds' if number >= 0 else 'takes away'} {abs(number)}{unit}"


_SIGNS = {
    "GreaterThanThreshold": ">",
    "GreaterThanOrEqualToThreshold": "≥",
    "LessThanThreshold": "<",
    "LessThanOrEqualToThreshold": "≤",
}


def _spell_condition(alarm: Any) -> str:
    sign = _SIGNS.get(alarm.get("ComparisonOperator", ""), alarm.get("ComparisonOperator", ""))
    times = alarm.get("EvaluationPeriods", 1)
    wanted = alarm.get("DatapointsToAlarm", times)
    often = f"{wanted} of {times} times" if wanted != times else f"{times} time{'s' * (times != 1)}"
    metric = alarm.get("MetricName") or "an expression"
    return f"{metric} {sign} {alarm.get('Threshold', 0):g}, {often} in {alarm.get('Period', 60)} s each"
