"""GetMetricData: several metrics at once, each by its own statistic and period."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.metric import Metric, Point, WantedSummaries
from skylift.cloud.services.api.dimension import dimensions
from skylift.cloud.services.api.operation import below
from skylift.cloud.services.api.page_token import after, leads_to
from skylift.cloud.services.cloudwatch.metric import checked_period, moment, valid_statistic
from skylift.cloud.services.cloudwatch.operation import DIMENSIONS, reads
from skylift.cloud.store.database import Tx
from skylift.cloud.store.metric import counted_summaries

if TYPE_CHECKING:
    from aws_shapes import cloudwatch

MOST_QUERIES = 500
MOST_POINTS = 100_800
MOST_READ = 500_000
"""A page ends after so many stored points: a period may sum up many of them, and all queries may ask for the same."""
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
    apart = _told_apart_by(queries)
    asked = [
        _asked(query, f"MetricDataQueries.member.{number}", start, end, apart)
        for number, query in enumerate(queries, 1)
    ]
    return _page(tx, [one for one in asked if one is not None], params)


@dataclass(frozen=True)
class _Asked:
    """A query, checked."""

    id: str
    label: str
    statistic: str
    wanted: WantedSummaries


def _told_apart_by(queries: list[cloudwatch.MetricDataQuery]) -> list[Literal["Stat", "Period"]]:
    """What a label has beside the name of its metric, where the queries that bring no label are of one metric's name:
    each of these in which they differ."""
    asked = [query["MetricStat"] for query in queries if "MetricStat" in query and not query.get("Label")]
    if len({each["Metric"].get("MetricName") for each in asked}) != 1:
        return []
    members: tuple[Literal["Stat", "Period"], ...] = ("Stat", "Period")
    return [member for member in members if len({each[member] for each in asked}) > 1]


def _asked(
    query: cloudwatch.MetricDataQuery, place: str, start: float, end: float, apart: Iterable[Literal["Stat", "Period"]]
) -> _Asked | None:
    """None for a query whose data nobody wants: it is no more than checked."""
    if "MetricStat" not in query:
        raise _invalid(f"The parameter {place}.MetricStat is required: this cloud evaluates no expressions.")
    asked, place = query["MetricStat"], f"{place}.MetricStat"
    for member in ("Namespace", "MetricName"):
        if member not in asked["Metric"]:
            raise _invalid(f"The parameter {place}.Metric.{member} is required.")
    metric = Metric(asked["Metric"]["Namespace"], asked["Metric"]["MetricName"], dimensions(asked["Metric"], place))
    statistic = valid_statistic(asked["Stat"], f"{place}.Stat")
    period = checked_period(asked["Period"], f"{place}.Period")
    if not query.get("ReturnData", True):
        return None
    first = math.floor(start / period) * period
    label = query.get("Label") or " ".join([metric.name, *(str(asked[member]) for member in apart)])
    return _Asked(
        query["Id"], label, statistic, WantedSummaries(metric, first, math.ceil(end), period, asked.get("Unit"))
    )


def _page(tx: Tx, asked: Sequence[_Asked], params: cloudwatch.GetMetricDataInput) -> cloudwatch.GetMetricDataOutput:
    """As many data points as are asked for. No series is read that has none of them; the token says which one goes on,
    and where."""
    left = params.get("MaxDatapoints", MOST_POINTS)
    if not 0 < left <= MOST_POINTS:
        raise _invalid(f"The parameter MaxDatapoints must be between 1 and {MOST_POINTS}.")
    token = after(params) or "0-0"
    if not re.fullmatch("[0-9]{1,3}-[0-9]{1,9}", token):
        raise ServiceError("InvalidNextToken", "The specified next token is of another operation.")
    place, skipped = map(int, token.split("-"))
    step = 1 if params.get("ScanBy") == "TimestampAscending" else -1
    chosen: list[cloudwatch.MetricDataResult] = []
    read = 0
    while place < len(asked) and left and read < MOST_READ:
        points, units, rows = _series(tx, asked[place])
        taken = points[::step][skipped : skipped + left]
        read, left, skipped = read + rows, left - len(taken), skipped + len(taken)
        whole = skipped >= len(points)
        chosen.append(_result(asked[place], taken, units, "Complete" if whole else "PartialData"))
        if whole:
            place, skipped = place + 1, 0
    more = leads_to(f"{place}-{skipped}") if place < len(asked) else {}
    return {"MetricDataResults": chosen, "Messages": [], **more}


def _series(tx: Tx, asked: _Asked) -> tuple[list[Point], list[str], int]:
    """A series of one unit, all units that there are, and how many stored points it took."""
    by_unit: dict[str, list[Point]] = defaultdict(list)
    found, rows = counted_summaries(tx, asked.wanted)
    for point in found:
        by_unit[point.unit].append(point)
    units = sorted(by_unit, key=lambda unit: (_UNITS.get(unit, len(_UNITS)), unit))
    return by_unit[units[0]] if units else [], units, rows


def _result(
    asked: _Asked, points: Sequence[Point], units: Sequence[str], status: Literal["Complete", "PartialData"]
) -> cloudwatch.MetricDataResult:
    """A metric with several units, of which none was asked for, is told so."""
    result: cloudwatch.MetricDataResult = {
        "Id": asked.id,
        "Label": asked.label,
        "Timestamps": [moment(point.at) for point in points],
        "Values": [point.summary.statistic(asked.statistic) for point in points],
        "StatusCode": status,
    }
    if len(units) > 1:
        result["Messages"] = [{"Code": "MultipleUnits", "Value": f"Multiple units returned: '[{', '.join(units)}]'"}]
    return result


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
