"""The history of alarms."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.services.api.page_token import after, leads_to
from skylift.cloud.services.cloudwatch.alarm import on_alarm
from skylift.cloud.services.cloudwatch.operation import reads
from skylift.cloud.store.alarm import history
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import cloudwatch

PAGE = 100


def describe(
    tx: Tx, _caller: Caller, params: cloudwatch.DescribeAlarmHistoryInput
) -> cloudwatch.DescribeAlarmHistoryOutput:
    if "MetricAlarm" not in params.get("AlarmTypes", ["MetricAlarm"]):
        return {"AlarmHistoryItems": []}
    between = (params.get("StartDate"), params.get("EndDate"))
    items = history(tx, params.get("AlarmName"), params.get("HistoryItemType"), between)
    ascending = params.get("ScanBy") == "TimestampAscending"
    start = after(params)
    if start and not re.fullmatch("[0-9]{1,18}", start):
        raise ServiceError("InvalidNextToken", "The specified next token is of another operation.")
    if start:
        items = [one for one in items if (one.number > int(start) if ascending else one.number < int(start))]
    if not ascending:
        items.reverse()
    size = params.get("MaxRecords", PAGE)
    shown: list[cloudwatch.AlarmHistoryItem] = [
        {
            "AlarmName": one.alarm,
            "AlarmType": "MetricAlarm",
            "Timestamp": one.at,
            "HistoryItemType": one.kind,
            "HistorySummary": one.summary,
            "HistoryData": one.data,
        }
        for one in items[:size]
    ]
    token = leads_to(str(items[size - 1].number)) if len(items) > size else {}
    return {"AlarmHistoryItems": shown, **token}


OPERATIONS = (
    reads(
        "DescribeAlarmHistory",
        describe,
        "AlarmName AlarmTypes HistoryItemType StartDate EndDate MaxRecords NextToken ScanBy",
        on_alarm("DescribeAlarmHistory"),
    ),
)
