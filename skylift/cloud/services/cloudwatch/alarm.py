"""Alarms: a threshold on a metric, and the actions that follow when it is crossed.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, cast, get_args

from skylift.cloud.domain.alarm import Alarm, AlarmState, Missing
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.metric import Metric
from skylift.cloud.services.api.dimension import dimensions
from skylift.cloud.services.api.iam_rules import request_tags, tag_list
from skylift.cloud.services.api.operation import Check, Checks, Nothing, Params
from skylift.cloud.services.api.page_token import after, leads_to
from skylift.cloud.services.cloudwatch.alarm_action import check_action, needed_for
from skylift.cloud.services.cloudwatch.metric import metric_view
from skylift.cloud.services.cloudwatch.operation import DIMENSIONS, reads, writes
from skylift.cloud.store.alarm import change_state, note
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import cloudwatch

COMPARISONS = (
    "GreaterThanOrEqualToThreshold",
    "GreaterThanThreshold",
    "LessThanThreshold",
    "LessThanOrEqualToThreshold",
)
FINE_PERIODS = (10, 20, 30)
DAY, WEEK = 86400, 604800
PAGE = 50
MOST_TAGS = 50
ACTIONS = ("OKActions", "AlarmActions", "InsufficientDataActions")


def put(tx: Tx, caller: Caller, params: cloudwatch.PutMetricAlarmInput) -> Nothing:
    asked = _asked_for(tx, caller, params)
    before = tx.get(Alarm, name=asked.name)
    if before is None:
        made = replace(asked, tags=_with_tags({}, params.get("Tags", [])))
        tx.add(made)
        _note_configuration(tx, made, "Create", f'Alarm "{made.name}" created')
        return {}
    # An alarm that is changed keeps its state, and its tags: those of the request are for new ones.
    changed = replace(
        asked,
        state=before.state,
        reason=before.reason,
        reason_data=before.reason_data,
        updated=before.updated,
        transitioned=before.transitioned,
        acted=before.acted,
        tags=before.tags,
        policy=before.policy,
    )
    tx.save(changed)
    _note_configuration(tx, changed, "Update", f'Alarm "{changed.name}" updated')
    return {}


def _asked_for(tx: Tx, caller: Caller, params: cloudwatch.PutMetricAlarmInput) -> Alarm:
    """The alarm that a request describes, as a new one without tags."""
    for member in ("MetricName", "Namespace", "Statistic", "Period", "EvaluationPeriods", "Threshold"):
        if member not in params:
            raise ServiceError("ValidationError", f"The parameter {member} is required.")
    if params.get("ComparisonOperator") not in COMPARISONS:
        raise ServiceError(
            "ValidationError", f"The parameter ComparisonOperator has to be one of {', '.join(COMPARISONS)}."
        )
    period, periods = params["Period"], params["EvaluationPeriods"]
    if period not in FINE_PERIODS and period % 60:
        raise ServiceError("ValidationError", "Period must be 10, 20, 30 or a multiple of 60.")
    longest = WEEK if period >= 3600 else DAY
    if period * periods > longest:
        raise ServiceError(
            "ValidationError",
            "Metrics cannot be checked across more than a day (EvaluationPeriods * Period must be <= 86400), or a week "
            "where the period is an hour or longer.",
        )
    datapoints = params.get("DatapointsToAlarm")
    if datapoints is not None and datapoints > periods:
        raise ServiceError("ValidationError", "DatapointsToAlarm must be less than or equal to EvaluationPeriods.")
    if not math.isfinite(params["Threshold"]):
        raise ServiceError("ValidationError", "The parameter Threshold must be a number.")
    missing = _missing(params.get("TreatMissingData"))
    metric = Metric(params["Namespace"], params["MetricName"], dimensions(params, ""))
    for arn in _actions(params):
        check_action(tx, caller, arn, metric)
    return Alarm(
        name=params["AlarmName"],
        namespace=metric.namespace,
        metric_name=metric.name,
        dimensions=metric.dimensions,
        statistic=params["Statistic"],
        unit=params.get("Unit"),
        period=period,
        periods=periods,
        datapoints=datapoints,
        threshold=params["Threshold"],
        comparison=params["ComparisonOperator"],
        missing=missing,
        configured=tx.now,
        updated=tx.now,
        transitioned=tx.now,
        description=params.get("AlarmDescription"),
        actions_enabled=params.get("ActionsEnabled", True),
        ok_actions=tuple(params.get("OKActions", [])),
        alarm_actions=tuple(params.get("AlarmActions", [])),
        insufficient_data_actions=tuple(params.get("InsufficientDataActions", [])),
    )


def _missing(wanted: str | None) -> Missing | None:
    kinds: tuple[Missing, ...] = get_args(Missing)
    found = next((kind for kind in kinds if kind == wanted), None)
    if found is None and wanted is not None:
        raise ServiceError("ValidationError", f"TreatMissingData must be one of {', '.join(kinds)}.")
    return found


def _note_configuration(tx: Tx, alarm: Alarm, kind: str, summary: str) -> None:
    content = {"version": "1.0", "type": kind, "updatedAlarm": {"alarmName": alarm.name, "threshold": alarm.threshold}}
    note(tx, alarm.name, "ConfigurationUpdate", summary[:255], json.dumps(content)[:4095])


def describe(tx: Tx, caller: Caller, params: cloudwatch.DescribeAlarmsInput) -> cloudwatch.DescribeAlarmsOutput:
    if params.get("AlarmNames") and params.get("AlarmNamePrefix"):
        raise ServiceError("ValidationError", "AlarmNames and AlarmNamePrefix cannot be used together.")
    if "MetricAlarm" not in params.get("AlarmTypes", ["MetricAlarm"]):
        return {"MetricAlarms": [], "CompositeAlarms": []}
    start = after(params)
    found = (
        one for one in sorted(tx.find(Alarm), key=lambda one: one.name) if one.name > start and _matches(one, params)
    )
    size = params.get("MaxRecords", PAGE)
    chosen = list(islice(found, size + 1))
    token = leads_to(chosen[size - 1].name) if len(chosen) > size else {}
    return {"MetricAlarms": [view(caller, alarm) for alarm in chosen[:size]], "CompositeAlarms": [], **token}


def _matches(alarm: Alarm, params: cloudwatch.DescribeAlarmsInput) -> bool:
    prefix = params.get("ActionPrefix", "")
    arns = (*alarm.ok_actions, *alarm.alarm_actions, *alarm.insufficient_data_actions)
    return (
        ("AlarmNames" not in params or alarm.name in params["AlarmNames"])
        and alarm.name.startswith(params.get("AlarmNamePrefix", ""))
        and params.get("StateValue", alarm.state) == alarm.state
        and (not prefix or any(arn.startswith(prefix) for arn in arns))
    )


def describe_for_metric(
    tx: Tx, caller: Caller, params: cloudwatch.DescribeAlarmsForMetricInput
) -> cloudwatch.DescribeAlarmsForMetricOutput:
    metric = Metric(params["Namespace"], params["MetricName"], dimensions(params, ""))
    found = [
        alarm
        for alarm in tx.find(Alarm)
        if alarm.metric == metric
        and params.get("Statistic", alarm.statistic) == alarm.statistic
        and params.get("Period", alarm.period) == alarm.period
        and params.get("Unit", alarm.unit) == alarm.unit
    ]
    return {"MetricAlarms": [view(caller, alarm) for alarm in found]}


def set_state(tx: Tx, _caller: Caller, params: cloudwatch.SetAlarmStateInput) -> Nothing:
    """Until the next evaluation. What it asks for in that state is done."""
    alarm = _required(tx, params["AlarmName"])
    data = params.get("StateReasonData")
    if data is not None:
        try:
            json.loads(data)
        except (ValueError, RecursionError):
            raise ServiceError("InvalidFormat", "StateReasonData must be JSON.") from None
    change_state(tx, alarm, cast(AlarmState, params["StateValue"]), params["StateReason"], data)
    return {}


def delete(tx: Tx, _caller: Caller, params: cloudwatch.DeleteAlarmsInput) -> Nothing:
    """Names of alarms that are not there are passed over, as CloudWatch does it where others are."""
    for name in dict.fromkeys(params["AlarmNames"]):
        alarm = tx.get(Alarm, name=name)
        if alarm is not None:
            tx.remove(alarm)
            _note_configuration(tx, alarm, "Delete", f'Alarm "{name}" deleted')
    return {}


def switch_actions(
    tx: Tx,
    _caller: Caller,
    params: cloudwatch.DisableAlarmActionsInput | cloudwatch.EnableAlarmActionsInput,
    *,
    on: bool,
) -> Nothing:
    for name in dict.fromkeys(params["AlarmNames"]):
        alarm = tx.get(Alarm, name=name)
        if alarm is not None:
            tx.save(replace(alarm, actions_enabled=on, configured=tx.now))
    return {}


def list_tags(
    tx: Tx, caller: Caller, params: cloudwatch.ListTagsForResourceInput
) -> cloudwatch.ListTagsForResourceOutput:
    """An alarm that is gone has no tags, as any that never was."""
    arn, prefix = params["ResourceARN"], arn_of(caller, "")
    if arn.startswith(prefix) and tx.get(Alarm, name=arn.removeprefix(prefix)) is None:
        return {"Tags": []}
    return {"Tags": tag_list(_by_arn(tx, caller, arn).tags)}


def tag(tx: Tx, caller: Caller, params: cloudwatch.TagResourceInput) -> cloudwatch.TagResourceOutput:
    alarm = _by_arn(tx, caller, params["ResourceARN"])
    tx.save(replace(alarm, tags=_with_tags(alarm.tags, params["Tags"])))
    return {}


def untag(tx: Tx, caller: Caller, params: cloudwatch.UntagResourceInput) -> cloudwatch.UntagResourceOutput:
    alarm = _by_arn(tx, caller, params["ResourceARN"])
    tx.save(replace(alarm, tags={key: value for key, value in alarm.tags.items() if key not in params["TagKeys"]}))
    return {}


def _with_tags(tags: dict[str, str], pairs: Iterable[cloudwatch.Tag]) -> dict[str, str]:
    added = {pair["Key"]: pair["Value"] for pair in pairs}
    if any(key.lower().startswith("aws:") for key in added):
        raise ServiceError("InvalidParameterValue", "Tag keys that begin with aws: are reserved for system use.")
    if len({**tags, **added}) > MOST_TAGS:
        raise ServiceError("InvalidParameterValue", f"An alarm can have at most {MOST_TAGS} tags.")
    return {**tags, **added}


def view(caller: Caller, alarm: Alarm) -> cloudwatch.MetricAlarm:
    return {
        "AlarmName": alarm.name,
        "AlarmArn": arn_of(caller, alarm.name),
        "AlarmConfigurationUpdatedTimestamp": alarm.configured,
        "ActionsEnabled": alarm.actions_enabled,
        "OKActions": list(alarm.ok_actions),
        "AlarmActions": list(alarm.alarm_actions),
        "InsufficientDataActions": list(alarm.insufficient_data_actions),
        "StateValue": alarm.state,
        "StateReason": alarm.reason,
        "StateUpdatedTimestamp": alarm.updated,
        "StateTransitionedTimestamp": alarm.transitioned,
        **metric_view(alarm.metric),
        "Statistic": alarm.statistic,
        "Period": alarm.period,
        "EvaluationPeriods": alarm.periods,
        "Threshold": alarm.threshold,
        "ComparisonOperator": alarm.comparison,
        **({"AlarmDescription": alarm.description} if alarm.description is not None else {}),
        **({"StateReasonData": alarm.reason_data} if alarm.reason_data is not None else {}),
        **({"Unit": alarm.unit} if alarm.unit is not None else {}),
        **({"DatapointsToAlarm": alarm.datapoints} if alarm.datapoints is not None else {}),
        **({"TreatMissingData": alarm.missing} if alarm.missing is not None else {}),
    }


def arn_of(caller: Caller, name: str) -> str:
    return f"arn:aws:cloudwatch:{caller.region}:{caller.account}:alarm:{name}"


def _by_arn(tx: Tx, caller: Caller, arn: str) -> Alarm:
    prefix = arn_of(caller, "")
    alarm = tx.get(Alarm, name=arn.removeprefix(prefix)) if arn.startswith(prefix) else None
    if alarm is None:
        raise ServiceError("ResourceNotFoundException", f"Unknown resource: {arn}", status=404)
    return alarm


def _required(tx: Tx, name: str) -> Alarm:
    alarm = tx.get(Alarm, name=name)
    if alarm is None:
        raise ServiceError("ResourceNotFound", f"There is no alarm {name}.", status=404)
    return alarm


# What a caller must be allowed to do.
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoncloudwatch.html


def on_put(tx: Tx, caller: Caller, params: cloudwatch.PutMetricAlarmInput) -> Iterator[Check]:
    """The caller must be allowed to do the alarm's actions themselves. Tags are for new alarms only.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html ("Tags")
    """
    alarm, tags = arn_of(caller, params["AlarmName"]), request_tags(params)
    actions = _actions(params)
    yield Check("cloudwatch:PutMetricAlarm", alarm, {**tags, "cloudwatch:AlarmActions": actions} if actions else tags)
    if params.get("Tags") and tx.get(Alarm, name=params["AlarmName"]) is None:
        yield Check("cloudwatch:TagResource", alarm, tags)
    for arn in actions:
        yield from needed_for(tx, caller, arn, params)


def _actions(params: Params) -> tuple[str, ...]:
    """What an alarm does in any of its states."""
    return tuple(arn for name in ACTIONS for arn in params.get(name, []))


def on_alarm(action: str) -> Checks:
    """Operations on the alarms that are named; a read that names none is of `alarm:*`."""

    def checks(_tx: Tx, caller: Caller, params: Params) -> Iterator[Check]:
        for name in params.get("AlarmNames") or [params.get("AlarmName", "*")]:
            yield Check(f"cloudwatch:{action}", arn_of(caller, name))

    return checks


def on_arn(action: str) -> Checks:
    return lambda _tx, _caller, params: [Check(f"cloudwatch:{action}", params["ResourceARN"], request_tags(params))]


_ALARM = (
    f"AlarmName AlarmDescription ActionsEnabled {' '.join(ACTIONS)} Namespace MetricName {DIMENSIONS} Statistic "
    "Unit Period EvaluationPeriods DatapointsToAlarm Threshold ComparisonOperator TreatMissingData Tags.Key Tags.Value"
)


OPERATIONS = (
    writes("PutMetricAlarm", put, _ALARM, on_put),
    reads(
        "DescribeAlarms",
        describe,
        "AlarmNames AlarmNamePrefix AlarmTypes StateValue ActionPrefix MaxRecords NextToken",
        on_alarm("DescribeAlarms"),
    ),
    reads("DescribeAlarmsForMetric", describe_for_metric, f"Namespace MetricName {DIMENSIONS} Statistic Period Unit"),
    writes("SetAlarmState", set_state, "AlarmName StateValue StateReason StateReasonData", on_alarm("SetAlarmState")),
    writes("DeleteAlarms", delete, "AlarmNames", on_alarm("DeleteAlarms")),
    writes("EnableAlarmActions", partial(switch_actions, on=True), "AlarmNames", on_alarm("EnableAlarmActions")),
    writes("DisableAlarmActions", partial(switch_actions, on=False), "AlarmNames", on_alarm("DisableAlarmActions")),
    reads("ListTagsForResource", list_tags, "ResourceARN", on_arn("ListTagsForResource")),
    writes("TagResource", tag, "ResourceARN Tags.Key Tags.Value", on_arn("TagResource")),
    writes("UntagResource", untag, "ResourceARN TagKeys", on_arn("UntagResource")),
)
