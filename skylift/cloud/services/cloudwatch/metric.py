"""Metrics: putting their values, listing them, and asking for statistics.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_Operations.html
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from operator import mul
from typing import TYPE_CHECKING, cast

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.metric import STATISTICS, Filter, Metric, Point, Summary, WantedSummaries
from skylift.cloud.services.api.dimension import dimensions
from skylift.cloud.services.api.operation import Check, Handler, Nothing, Params, below, unprepared
from skylift.cloud.services.api.page_token import after, leads_to
from skylift.cloud.services.cloudwatch.operation import DIMENSIONS, reads, writes
from skylift.cloud.store.database import Tx
from skylift.cloud.store.metric import LISTED, metrics, record, summaries

if TYPE_CHECKING:
    from aws_shapes import cloudwatch

MOST_METRICS = 1000
MOST_VALUES = 150
PAGE = 500
MOST_POINTS = 1440
PAST = timedelta(days=14)
FUTURE = timedelta(hours=2)
FINE_PERIODS = (1, 5, 10, 20, 30)
RECENTLY = 3 * 3600
LARGEST = 2.0**360


def prepare_put(tx: Tx, _caller: Caller, params: cloudwatch.PutMetricDataInput) -> Handler:
    """Sums up the values of each datum, which may be 150 of 1,000; see Operation.prepare."""
    namespace = params["Namespace"]
    if namespace.startswith("AWS/"):
        raise invalid("The value AWS/ for parameter Namespace is invalid.")
    data = params.get("MetricData", [])
    if not data:
        raise ServiceError("MissingParameter", "The parameter MetricData is required.")
    if len(data) > MOST_METRICS:
        raise invalid(f"The collection MetricData must not have a size greater than {MOST_METRICS}.")
    points = [_point(tx, namespace, number, datum) for number, datum in enumerate(data, 1)]

    def put(tx: Tx, _caller: Caller, _params: Params) -> Nothing:
        record(tx, points)
        return {}

    return put


def _point(tx: Tx, namespace: str, number: int, datum: cloudwatch.MetricDatum) -> Point:
    place = f"MetricData.member.{number}"
    at = datum.get("Timestamp", tx.now)
    if not tx.now - PAST <= at <= tx.now + FUTURE:
        raise invalid(
            f"The parameter {place}.Timestamp must specify a time within the past two weeks and no more than two hours "
            "in the future."
        )
    resolution = datum.get("StorageResolution", 60)
    if resolution not in (1, 60):
        raise invalid(f"The parameter {place}.StorageResolution must be 1 or 60.")
    second = int(at.timestamp())
    metric = Metric(namespace, datum["MetricName"], dimensions(datum, place))
    return Point(metric, second - second % resolution, _summary(datum, place), datum.get("Unit", "None"))


def _summary(datum: cloudwatch.MetricDatum, place: str) -> Summary:
    """AWS takes `Values` beside `StatisticValues`; they describe the same data, so that one of them counts.

    https://github.com/localstack/localstack/blob/main/tests/aws/services/cloudwatch/test_cloudwatch.py
    (test_put_metric_data_validation)
    """
    given = [name for name in ("Value", "Values", "StatisticValues") if name in datum]
    if given == ["Values", "StatisticValues"]:
        del given[0]
    if len(given) > 1:
        raise ServiceError(
            "InvalidParameterCombination",
            f"The parameters {place}.{given[0]} and {place}.{given[1]} are mutually exclusive and you have specified "
            "both.",
        )
    match given:
        case ["Value"]:
            return Summary.of(_finite(datum["Value"], f"{place}.Value"))
        case ["StatisticValues"]:
            return _statistic_set(datum["StatisticValues"], f"{place}.StatisticValues")
        case ["Values"]:
            return _counted(datum, place)
    raise ServiceError(
        "MissingParameter",
        f"At least one of the parameters must be specified: {place}.Value, {place}.Values, {place}.StatisticValues",
    )


def _counted(datum: cloudwatch.MetricDatum, place: str) -> Summary:
    values = datum["Values"]
    counts = datum.get("Counts", [1.0] * len(values))
    if not 0 < len(values) <= MOST_VALUES:
        raise invalid(f"The collection {place}.Values must have a size between 1 and {MOST_VALUES}.")
    if len(values) != len(counts):
        raise invalid(f"The parameters {place}.Values and {place}.Counts must be of the same size.")
    for value, count in zip(values, counts, strict=True):
        _finite(value, f"{place}.Values")
        _positive(count, f"{place}.Counts")
    return Summary(sum(counts), sum(map(mul, values, counts)), min(values), max(values))


def _statistic_set(given: cloudwatch.StatisticSet, place: str) -> Summary:
    total = _finite(given["Sum"], f"{place}.Sum")
    least, most = _finite(given["Minimum"], f"{place}.Minimum"), _finite(given["Maximum"], f"{place}.Maximum")
    if least > most:
        raise invalid(f"The parameter {place}.Maximum must be at least as large as {place}.Minimum.")
    return Summary(_positive(given["SampleCount"], f"{place}.SampleCount"), total, least, most)


def _finite(value: float, place: str) -> float:
    if not math.isfinite(value) or abs(value) > LARGEST:
        raise invalid(f"The value {value} for parameter {place} is invalid.")
    return value


def _positive(value: float, place: str) -> float:
    if _finite(value, place) <= 0:
        raise invalid(f"The parameter {place} must be greater than 0.")
    return value


def list_metrics(tx: Tx, _caller: Caller, params: cloudwatch.ListMetricsInput) -> cloudwatch.ListMetricsOutput:
    wanted = Filter(
        params.get("Namespace"),
        params.get("MetricName"),
        tuple((each["Name"], each.get("Value")) for each in params.get("Dimensions", [])),
    )
    age = RECENTLY if params.get("RecentlyActive") else LISTED
    found = list(islice(metrics(tx, wanted, int(tx.now.timestamp()) - age, after(params)), PAGE + 1))
    return {
        "Metrics": [metric_view(metric) for _, metric in found[:PAGE]],
        **(leads_to(found[PAGE - 1][0]) if len(found) > PAGE else {}),
    }


def statistics(
    tx: Tx, _caller: Caller, params: cloudwatch.GetMetricStatisticsInput
) -> cloudwatch.GetMetricStatisticsOutput:
    period = checked_period(params["Period"], "Period")
    names = params.get("Statistics", [])
    if not names:
        raise ServiceError("MissingParameter", "The request must contain the parameter Statistics")
    if params["StartTime"] >= params["EndTime"]:
        raise invalid("The parameter StartTime must be less than the parameter EndTime.")
    start, end = _rounded(tx, params["StartTime"], period), _seconds(params["EndTime"])
    # The requested times count: a day at 60 s is 1,440 points, wherever in a minute it begins.
    asked = math.ceil((params["EndTime"] - params["StartTime"]).total_seconds() / period)
    if asked > MOST_POINTS:
        raise ServiceError(
            "InvalidParameterCombination",
            f"You have requested up to {asked} datapoints, which exceeds the limit of {MOST_POINTS}. "
            "You may reduce the datapoints requested by increasing Period, or decreasing the time range.",
        )
    metric = Metric(params["Namespace"], params["MetricName"], dimensions(params, ""))
    points = summaries(tx, WantedSummaries(metric, start, end, period, params.get("Unit")))
    return {"Label": metric.name, "Datapoints": [_datapoint(point, names) for point in points]}


def _datapoint(point: Point, names: Iterable[str]) -> cloudwatch.Datapoint:
    # The members of a datapoint are called what the statistics are.
    statistics = cast("cloudwatch.Datapoint", {name: point.summary.statistic(name) for name in names})
    return {"Timestamp": moment(point.at), **statistics, "Unit": point.unit}


def _rounded(tx: Tx, start: datetime, period: int) -> int:
    """The beginning of the first period: on a whole minute, and on a coarser boundary for old data."""
    age = tx.now - start
    coarse = 3600 if age > timedelta(days=63) else 300 if age > timedelta(days=15) else 60
    second = _seconds(start)
    return second - second % (period if period in FINE_PERIODS else coarse)


def checked_period(period: int, parameter: str) -> int:
    if period in FINE_PERIODS or period % 60 == 0:
        return period
    raise invalid(f"The parameter {parameter} must be 1, 5, 10, 20, 30 or a multiple of 60.")


def metric_view(metric: Metric) -> cloudwatch.Metric:
    named: list[cloudwatch.Dimension] = [{"Name": name, "Value": value} for name, value in metric.dimensions]
    return {"Namespace": metric.namespace, "MetricName": metric.name, "Dimensions": named}


def moment(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC)


def _seconds(at: datetime) -> int:
    return math.floor(at.timestamp())


def invalid(message: str) -> ServiceError:
    return ServiceError("InvalidParameterValue", message)


def valid_statistic(name: str, place: str) -> str:
    if name not in STATISTICS:
        raise ServiceError(
            "ValidationError",
            f"The value {name} for parameter {place} is not a valid statistic. "
            f"This cloud keeps no single values: it has {', '.join(STATISTICS)}.",
        )
    return name


# What a caller must be allowed to do.
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoncloudwatch.html


def on_namespace(_tx: Tx, _caller: Caller, params: cloudwatch.PutMetricDataInput) -> Iterator[Check]:
    yield Check("cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": params["Namespace"]})


_DATUM = "MetricName Timestamp Value Values Counts Unit StorageResolution StatisticValues " + DIMENSIONS


OPERATIONS = (
    writes("PutMetricData", unprepared, f"Namespace {below('MetricData', _DATUM)}", on_namespace, prepare=prepare_put),
    reads("ListMetrics", list_metrics, f"Namespace MetricName {DIMENSIONS} NextToken RecentlyActive"),
    reads(
        "GetMetricStatistics", statistics, f"Namespace MetricName {DIMENSIONS} StartTime EndTime Period Statistics Unit"
    ),
)
