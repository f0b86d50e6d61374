"""GetMetricData: several metrics at once, each by its own statistic and period."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.metric import Metric, Point, Wanted
from skylift.cloud.services.api.dimension import dimensions
from skylift.cloud.services.api.page_token import after, leads_to
from skylift.cloud.services.cloudwatch.metric import checked_period, moment, valid_statistic
from skylift.cloud.services.cloudwatch.operation import DIMENSIONS, below, reads
from skylift.cloud.store.database import Tx
from skylift.cloud.store.metric import summaries

if TYPE_CHECKING:
    from aws_shapes import cloudwatch

MOST_QUERIES = 500
MOST_POINTS = 100_800
_ID = re.compile("[a-z][a-zA-Z0-9_]*")
_UNITS = {
    unit: place
    for place, unit in enumerate(
        "Megabits Terabits Gigabits Count Bytes Gigabytes Gigabytes/Second Kilobytes Kilobits/Second Terabytes "
        "Terabits/Second Bytes/Second Percent Megabytes Megabits/Second Milliseconds Microseconds Kilobytes/Second "
        "Gigabits/Second Megabytes/Second Bits Bits/Second Count/Second Seconds Kilobits Terabytes/Second None".split()
    )
}
"""CloudWatch's order: of a metric that was published in several units, the first of these is answered."""


def get(tx: Tx, _caller: Caller, params: cloudwatch.GetMetricDataInput) -> cloudwatch.GetMetricDataOutput:
    queries = params["MetricDataQueries"]
    if not 0 < len(queries) <= MOST_QUERIES:
        raise _invalid(f"The collection MetricDataQueries must have a size between 1 and {MOST_QUERIES}.")
    ids = [query["Id"] for query in queries]
    for name in ids:
        if not _ID.fullmatch(name):
            raise _invalid(
                f"The value {name} for parameter MetricDataQueries.member.Id is not matching the expected pattern"
            )
    if len(set(ids)) != len(ids):
        raise _invalid("The parameter MetricDataQueries.member.Id must be unique.")
    start, end = params["StartTime"].timestamp(), params["EndTime"].timestamp()
    if start >= end:
        raise _invalid("The parameter StartTime must be less than the parameter EndTime.")
    descending = params.get("ScanBy", "TimestampDescending") == "TimestampDescending"
    results: list[cloudwatch.MetricDataResult] = []
    apart = _told_apart_by(queries)
    for number, query in enumerate(queries, 1):
        found = _series(tx, query, f"MetricDataQueries.member.{number}", start, end, apart)
        if query.get("ReturnData", True):
            results.append(_ordered(found, descending))
    return _page(results, params)


def _told_apart_by(queries: list[cloudwatch.MetricDataQuery]) -> list[Literal["Stat", "Period"]]:
    """What a label has beside the name of its metric, where the queries that bring no label are of one metric's name:
    each of these in which they differ."""
    asked = [query["MetricStat"] for query in queries if "MetricStat" in query and not query.get("Label")]
    if len({each["Metric"].get("MetricName") for each in asked}) != 1:
        return []
    members: tuple[Literal["Stat", "Period"], ...] = ("Stat", "Period")
    return [member for member in members if len({each[member] for each in asked}) > 1]


def _series(
    tx: Tx,
    query: cloudwatch.MetricDataQuery,
    place: str,
    start: float,
    end: float,
    apart: Iterable[Literal["Stat", "Period"]],
) -> cloudwatch.MetricDataResult:
    """The result of a query: a series of one unit. A metric with several, of which none is asked for, is told so."""
    if "MetricStat" not in query:
        raise _invalid(f"The parameter {place}.MetricStat is required: this cloud evaluates no expressions.")
    asked, place = query["MetricStat"], f"{place}.MetricStat"
    for member in ("Namespace", "MetricName"):
        if member not in asked["Metric"]:
            raise _invalid(f"The parameter {place}.Metric.{member} is required.")
    metric = Metric(asked["Metric"]["Namespace"], asked["Metric"]["MetricName"], dimensions(asked["Metric"], place))
    statistic = valid_statistic(asked["Stat"], f"{place}.Stat")
    period = checked_period(asked["Period"], f"{place}.Period")
    first = math.floor(start / period) * period
    by_unit: dict[str, list[Point]] = defaultdict(list)
    for point in summaries(tx, Wanted(metric, first, math.ceil(end), period, asked.get("Unit"))):
        by_unit[point.unit].append(point)
    label = query.get("Label") or " ".join([metric.name, *(str(asked[member]) for member in apart)])
    units = sorted(by_unit, key=lambda unit: (_UNITS.get(unit, len(_UNITS)), unit))
    points = by_unit[units[0]] if units else []
    result: cloudwatch.MetricDataResult = {
        "Id": query["Id"],
        "Label": label,
        "Timestamps": [moment(point.at) for point in points],
        "Values": [point.summary.statistic(statistic) for point in points],
        "StatusCode": "Complete",
    }
    if len(units) > 1:
        result["Messages"] = [{"Code": "MultipleUnits", "Value": f"Multiple units returned: '[{', '.join(units)}]'"}]
    return result


def _ordered(series: cloudwatch.MetricDataResult, descending: bool) -> cloudwatch.MetricDataResult:
    if not descending:
        return series
    return {**series, "Timestamps": series["Timestamps"][::-1], "Values": series["Values"][::-1]}


def _page(
    results: list[cloudwatch.MetricDataResult], params: cloudwatch.GetMetricDataInput
) -> cloudwatch.GetMetricDataOutput:
    """As many data points as are asked for; the token counts those that there were before."""
    most = params.get("MaxDatapoints", MOST_POINTS)
    if not 0 < most <= MOST_POINTS:
        raise _invalid(f"The parameter MaxDatapoints must be between 1 and {MOST_POINTS}.")
    text = after(params) or "0"
    if not re.fullmatch("[0-9]{1,9}", text):
        raise ServiceError("InvalidNextToken", "The specified next token is of another operation.")
    skipped, end = int(text), int(text) + most
    chosen: list[cloudwatch.MetricDataResult] = []
    before = 0
    for series in results:
        last = before + len(series["Values"])
        part = slice(max(0, skipped - before), max(0, end - before))
        taken: cloudwatch.MetricDataResult = {
            **series,
            "Timestamps": series["Timestamps"][part],
            "Values": series["Values"][part],
        }
        if last > end:
            taken["StatusCode"] = "PartialData"
        if taken["Values"] or not skipped:
            chosen.append(taken)
        before = last
    return {"MetricDataResults": chosen, "Messages": [], **(leads_to(str(end)) if before > end else {})}


def _invalid(message: str) -> ServiceError:
    return ServiceError("ValidationError", message)


_METRIC = f"Namespace MetricName {DIMENSIONS}".split()

_STAT = " ".join([*(f"Metric.{member}" for member in _METRIC), "Period", "Stat", "Unit"])


OPERATIONS = (
    reads(
        "GetMetricData",
        get,
        f"StartTime EndTime ScanBy MaxDatapoints NextToken "
        f"{below('MetricDataQueries', 'Id Label ReturnData ' + below('MetricStat', _STAT))}",
    ),
)
