"""Every operation of CloudWatch that this cloud carries out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from skylift.cloud.identity import Caller
from skylift.cloud.services.api.operation import Check, Handler, Operation
from skylift.cloud.services.cloudwatch import alarm, alarm_history, metric, metric_data
from skylift.cloud.services.ssm.parameter import Checks
from skylift.cloud.store.database import Tx

_DIMENSIONS = "Dimensions.Name Dimensions.Value"
_DATUM = "MetricName Timestamp Value Values Counts Unit StorageResolution StatisticValues " + _DIMENSIONS
_METRIC = f"Namespace MetricName {_DIMENSIONS}".split()


def _on_all(action: str) -> Checks:
    def checks(_tx: Tx, _caller: Caller, _params: Any) -> Iterator[Check]:
        yield Check(f"cloudwatch:{action}", "*")

    return checks


def _below(name: str, members: str) -> str:
    return " ".join(f"{name}.{member}" for member in members.split())


def _reads(name: str, handler: Handler, takes: str, checks: Checks | None = None) -> Operation:
    return Operation("cloudwatch", name, handler, frozenset(takes.split()), checks or _on_all(name), writes=False)


def _writes(name: str, handler: Handler, takes: str, checks: Checks | None = None) -> Operation:
    return Operation("cloudwatch", name, handler, frozenset(takes.split()), checks or _on_all(name), writes=True)


_STAT = " ".join([*(f"Metric.{member}" for member in _METRIC), "Period", "Stat", "Unit"])

_ALARM = (
    f"AlarmName AlarmDescription ActionsEnabled {' '.join(alarm.ACTIONS)} Namespace MetricName {_DIMENSIONS} Statistic "
    "Unit Period EvaluationPeriods DatapointsToAlarm Threshold ComparisonOperator TreatMissingData Tags.Key Tags.Value"
)

CLOUDWATCH_OPERATIONS: tuple[Operation, ...] = (
    _writes("PutMetricData", metric.put, f"Namespace {_below('MetricData', _DATUM)}", metric.on_namespace),
    _reads("ListMetrics", metric.list_metrics, f"Namespace MetricName {_DIMENSIONS} NextToken RecentlyActive"),
    _reads(
        "GetMetricStatistics",
        metric.statistics,
        f"Namespace MetricName {_DIMENSIONS} StartTime EndTime Period Statistics Unit",
    ),
    _reads(
        "GetMetricData",
        metric_data.get,
        f"StartTime EndTime ScanBy MaxDatapoints NextToken "
        f"{_below('MetricDataQueries', 'Id Label ReturnData ' + _below('MetricStat', _STAT))}",
    ),
    # Alarms
    _writes("PutMetricAlarm", alarm.put, _ALARM, alarm.on_put),
    _reads(
        "DescribeAlarms",
        alarm.describe,
        "AlarmNames AlarmNamePrefix AlarmTypes StateValue ActionPrefix MaxRecords NextToken",
    ),
    _reads(
        "DescribeAlarmsForMetric",
        alarm.describe_for_metric,
        f"Namespace MetricName {_DIMENSIONS} Statistic Period Unit",
    ),
    _reads(
        "DescribeAlarmHistory",
        alarm_history.describe,
        "AlarmName AlarmTypes HistoryItemType StartDate EndDate MaxRecords NextToken ScanBy",
    ),
    _writes(
        "SetAlarmState",
        alarm.set_state,
        "AlarmName StateValue StateReason StateReasonData",
        alarm.on_alarm("SetAlarmState"),
    ),
    _writes("DeleteAlarms", alarm.delete, "AlarmNames", alarm.on_alarm("DeleteAlarms")),
    _writes("EnableAlarmActions", alarm.enable_actions, "AlarmNames", alarm.on_alarm("EnableAlarmActions")),
    _writes("DisableAlarmActions", alarm.disable_actions, "AlarmNames", alarm.on_alarm("DisableAlarmActions")),
    _reads("ListTagsForResource", alarm.list_tags, "ResourceARN", alarm.on_arn("ListTagsForResource")),
    _writes("TagResource", alarm.tag, "ResourceARN Tags.Key Tags.Value", alarm.on_arn("TagResource")),
    _writes("UntagResource", alarm.untag, "ResourceARN TagKeys", alarm.on_arn("UntagResource")),
)
