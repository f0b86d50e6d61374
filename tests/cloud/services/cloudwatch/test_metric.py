from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from identity_fixtures import Account, allow, refused

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.metric import Metric, Point, Summary, WantedSummaries
from skylift.cloud.services.cloudwatch import metric_data
from skylift.cloud.services.table import TABLE
from skylift.cloud.store import metric as store
from skylift.cloud.store.database import Tx

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
EAST = [{"Name": "Door", "Value": "east"}]


def put(account: Account, *values: float, name: str = "Orders", ago: float = 0, **more: Any) -> None:
    at = {"Timestamp": account.now - timedelta(seconds=ago)}
    data = [{"MetricName": name, "Value": value, **at, **more} for value in values]
    account.cloudwatch("PutMetricData", Namespace="Shop", MetricData=data)


def ask(account: Account, *statistics: str, period: int = 60, hours: float = 1, **more: Any) -> list[dict[str, Any]]:
    """What the metric came to, from some hours ago to a minute from now."""
    params = {
        "Namespace": "Shop",
        "MetricName": "Orders",
        "StartTime": account.now - timedelta(hours=hours),
        "EndTime": account.now + timedelta(minutes=1),
        "Period": period,
        "Statistics": list(statistics),
        **more,
    }
    found: list[dict[str, Any]] = account.cloudwatch("GetMetricStatistics", **params)["Datapoints"]
    return found


def test_values_of_a_minute_are_summed_up(account: Account) -> None:
    put(account, 1, 4, 7)
    assert ask(account, "SampleCount", "Average", "Sum", "Minimum", "Maximum") == [
        {
            "Timestamp": NOON,
            "SampleCount": 3.0,
            "Average": 4.0,
            "Sum": 12.0,
            "Minimum": 1.0,
            "Maximum": 7.0,
            "Unit": "None",
        }
    ]


def test_values_are_told_in_three_ways(account: Account) -> None:
    data = [
        {"MetricName": "Orders", "Value": 10.0},
        {"MetricName": "Orders", "Values": [1.0, 2.0], "Counts": [3.0, 1.0]},
        {"MetricName": "Orders", "StatisticValues": {"SampleCount": 5.0, "Sum": 25.0, "Minimum": 0.5, "Maximum": 20.0}},
    ]
    account.cloudwatch("PutMetricData", Namespace="Shop", MetricData=data)
    (found,) = ask(account, "SampleCount", "Sum", "Minimum", "Maximum")
    assert (found["SampleCount"], found["Sum"], found["Minimum"], found["Maximum"]) == (10.0, 40.0, 0.5, 20.0)


def test_only_high_resolution_is_finer_than_a_minute(account: Account) -> None:
    account.pass_time(seconds=30)
    put(account, 1)
    put(account, 2, name="Fine", StorageResolution=1)
    assert [point["Timestamp"] for point in ask(account, "Sum", period=10, hours=0.1)] == [NOON]
    assert [point["Timestamp"] for point in ask(account, "Sum", period=10, hours=0.1, MetricName="Fine")] == [
        NOON + timedelta(seconds=30)
    ]


def test_a_metric_is_its_dimensions_in_any_order_and_nothing_less(account: Account) -> None:
    both = [{"Name": "Floor", "Value": "1"}, *EAST]
    put(account, 5, Dimensions=both)
    assert ask(account, "Sum", Dimensions=both[::-1])[0]["Sum"] == 5.0
    assert ask(account, "Sum", Dimensions=EAST) == []
    assert ask(account, "Sum") == []


def test_units_are_apart(account: Account) -> None:
    put(account, 1, Unit="Count")
    put(account, 2, Unit="Bytes")
    assert [(point["Sum"], point["Unit"]) for point in ask(account, "Sum")] == [(2.0, "Bytes"), (1.0, "Count")]
    assert [point["Sum"] for point in ask(account, "Sum", Unit="Count")] == [1.0]
    assert ask(account, "Sum", Unit="Seconds") == []


def test_data_of_several_units_are_those_of_one(account: Account) -> None:
    """LocalStack's test_get_metric_data_different_units_no_unit_in_query, recorded on AWS in September 2025.

    Its comment has the order of the units.
    """
    put(account, 60, Unit="Seconds")
    put(account, 60000, Unit="Milliseconds")
    plain = {"Id": "a", "Label": "Orders", "Timestamps": [NOON], "StatusCode": "Complete"}
    message = "Multiple units returned: '[Milliseconds, Seconds]'"
    (found,) = data(account, query("a"))["MetricDataResults"]
    assert found == {**plain, "Values": [60000.0], "Messages": [{"Code": "MultipleUnits", "Value": message}]}
    put(account, 5, Unit="Count")
    put(account, 7)
    message = "Multiple units returned: '[Count, Milliseconds, Seconds, None]'"
    (found,) = data(account, query("a"))["MetricDataResults"]
    assert found == {**plain, "Values": [5.0], "Messages": [{"Code": "MultipleUnits", "Value": message}]}


def test_periods_begin_where_the_time_asked_for_begins(account: Account) -> None:
    for minutes in range(10):
        put(account, 1, ago=60 * minutes)
    found = ask(account, "Sum", period=300, StartTime=NOON - timedelta(minutes=7, seconds=30))
    assert [(point["Timestamp"], point["Sum"]) for point in found] == [
        (NOON - timedelta(minutes=8), 5.0),
        (NOON - timedelta(minutes=3), 4.0),
    ]


def test_metrics_are_listed(account: Account) -> None:
    put(account, 1)
    put(account, 1, Dimensions=EAST)
    put(account, 1, name="Doors")

    def listed(**params: Any) -> list[tuple[str, int]]:
        found = account.cloudwatch("ListMetrics", **params)["Metrics"]
        return [(metric["MetricName"], len(metric["Dimensions"])) for metric in found]

    assert listed() == [("Doors", 0), ("Orders", 1), ("Orders", 0)]
    assert listed(MetricName="Orders") == [("Orders", 1), ("Orders", 0)]
    assert listed(Dimensions=[{"Name": "Door"}]) == [("Orders", 1)]
    assert listed(Dimensions=[{"Name": "Door", "Value": "west"}]) == []
    assert listed(Namespace="Other") == []
    account.pass_time(hours=4)
    put(account, 1, name="Doors")
    assert listed(RecentlyActive="PT3H") == [("Doors", 0)]
    account.pass_time(days=15)
    assert listed() == []


def test_many_metrics_are_listed_in_pages(account: Account) -> None:
    with account.database.write() as tx:
        store.record(tx, [Point(Metric("Shop", f"m{number:04}"), 0, Summary.of(1.0)) for number in range(1100)])
    names: list[str] = []
    more: dict[str, Any] = {}
    for _ in range(3):
        answer = account.cloudwatch("ListMetrics", **more)
        names += [metric["MetricName"] for metric in answer["Metrics"]]
        more = {"NextToken": answer.get("NextToken")}
    assert names == [f"m{number:04}" for number in range(1100)]
    assert more == {"NextToken": None}
    with refused("InvalidNextToken"):
        account.cloudwatch("ListMetrics", NextToken="no")


def query(name: str, stat: str = "Sum", period: int = 60, **more: Any) -> dict[str, Any]:
    metric = {"Namespace": "Shop", "MetricName": "Orders"}
    return {"Id": name, "MetricStat": {"Metric": metric, "Period": period, "Stat": stat}, **more}


def data(account: Account, *queries: dict[str, Any], **more: Any) -> dict[str, Any]:
    params = {"StartTime": account.now - timedelta(minutes=10), "EndTime": account.now + timedelta(minutes=1), **more}
    return account.cloudwatch("GetMetricData", MetricDataQueries=list(queries), **params)


@pytest.mark.parametrize(
    ("stats", "periods", "labels"),
    [
        (("Sum", "Minimum"), (60, 30), ["Orders Sum 60", "Orders Minimum 30"]),
        (("Sum", "Minimum"), (60, 60), ["Orders Sum", "Orders Minimum"]),
        (("Sum", "Sum"), (60, 30), ["Orders 60", "Orders 30"]),
        (("Sum", "Sum"), (60, 60), ["Orders", "Orders"]),
    ],
)
def test_labels_tell_queries_of_one_metric_apart(
    account: Account, stats: tuple[str, str], periods: tuple[int, int], labels: list[str]
) -> None:
    """LocalStack's test_label_generation, recorded on AWS in September 2025."""
    queries = [query("a", stats[0]), query("b", stats[1])]
    for each, period in zip(queries, periods, strict=True):
        each["MetricStat"]["Period"] = period
    assert [each["Label"] for each in data(account, *queries)["MetricDataResults"]] == labels


def test_metrics_of_other_names_are_told_apart_by_those(account: Account) -> None:
    """LocalStack's test_get_metric_data_for_multiple_metrics, recorded on AWS in September 2025."""
    queries = [query("a", "Sum"), query("b", "Average")]
    queries[1]["MetricStat"]["Metric"]["MetricName"] = "Doors"
    assert [each["Label"] for each in data(account, *queries)["MetricDataResults"]] == ["Orders", "Doors"]


def test_several_series_at_once(account: Account) -> None:
    put(account, 3, 5)
    put(account, 1, ago=60)
    answer = data(account, query("a"), query("b", "Average", Label="mean"), query("c", ReturnData=False))
    assert answer["MetricDataResults"] == [
        {
            "Id": "a",
            "Label": "Orders",
            "Timestamps": [NOON, NOON - timedelta(minutes=1)],
            "Values": [8.0, 1.0],
            "StatusCode": "Complete",
        },
        {
            "Id": "b",
            "Label": "mean",
            "Timestamps": [NOON, NOON - timedelta(minutes=1)],
            "Values": [4.0, 1.0],
            "StatusCode": "Complete",
        },
    ]
    (ascending,) = data(account, query("a"), ScanBy="TimestampAscending")["MetricDataResults"]
    assert ascending["Values"] == [1.0, 8.0]


def test_what_nobody_told_of_is_an_empty_series(account: Account) -> None:
    (found,) = data(account, query("a"))["MetricDataResults"]
    assert (found["Values"], found["StatusCode"]) == ([], "Complete")


def test_data_comes_in_pages(account: Account) -> None:
    for minutes in range(5):
        put(account, minutes, ago=60 * minutes)
    first = data(account, query("a"), query("b"), MaxDatapoints=7)
    assert [(one["Id"], one["Values"], one["StatusCode"]) for one in first["MetricDataResults"]] == [
        ("a", [0.0, 1.0, 2.0, 3.0, 4.0], "Complete"),
        ("b", [0.0, 1.0], "PartialData"),
    ]
    second = data(account, query("a"), query("b"), MaxDatapoints=7, NextToken=first["NextToken"])
    assert [(one["Id"], one["Values"]) for one in second["MetricDataResults"]] == [("b", [2.0, 3.0, 4.0])]
    assert "NextToken" not in second


@pytest.mark.parametrize(
    ("datum", "code", "word"),
    [
        ({}, "MissingParameter", "StatisticValues"),
        ({"Value": math.nan}, "InvalidParameterValue", "nan"),
        ({"Value": math.inf}, "InvalidParameterValue", "inf"),
        ({"Value": 1.0, "Values": [1.0]}, "InvalidParameterCombination", "mutually exclusive"),
        ({"Values": [1.0], "Counts": [1.0, 2.0]}, "InvalidParameterValue", "same size"),
        ({"Values": [1.0], "Counts": [0.0]}, "InvalidParameterValue", "greater than 0"),
        ({"Values": []}, "InvalidParameterValue", "between 1 and 150"),
        ({"Value": 1.0, "StorageResolution": 30}, "InvalidParameterValue", "StorageResolution"),
        ({"Value": 1.0, "Timestamp": NOON - timedelta(days=15)}, "InvalidParameterValue", "two weeks"),
        ({"Value": 1.0, "Timestamp": NOON + timedelta(hours=3)}, "InvalidParameterValue", "two hours"),
        ({"Value": 1.0, "Dimensions": EAST * 2}, "InvalidParameterValue", "Dimensions"),
        (
            {"StatisticValues": {"SampleCount": 1.0, "Sum": 1.0, "Minimum": 2.0, "Maximum": 1.0}},
            "InvalidParameterValue",
            "Maximum",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_whole(account: Account, datum: dict[str, Any], code: str, word: str) -> None:
    good = {"MetricName": "Orders", "Value": 1.0}
    with refused(code, word):
        account.cloudwatch("PutMetricData", Namespace="Shop", MetricData=[good, {"MetricName": "Bad", **datum}])
    assert account.cloudwatch("ListMetrics")["Metrics"] == []


def test_values_beside_a_statistic_set_count_once(account: Account) -> None:
    """AWS takes both: https://github.com/localstack/localstack/blob/main/tests/aws/services/cloudwatch/test_cloudwatch.py
    (test_put_metric_data_validation)"""
    both = {
        "Values": [1.0, 10.0],
        "StatisticValues": {"SampleCount": 2.0, "Sum": 11.0, "Minimum": 1.0, "Maximum": 10.0},
    }
    account.cloudwatch(
        "PutMetricData", Namespace="Shop", MetricData=[{"MetricName": "Orders", "Timestamp": NOON, **both}]
    )
    (point,) = account.cloudwatch(
        "GetMetricStatistics",
        Namespace="Shop",
        MetricName="Orders",
        StartTime=NOON,
        EndTime=NOON + timedelta(minutes=1),
        Period=60,
        Statistics=["SampleCount", "Sum"],
    )["Datapoints"]
    assert (point["SampleCount"], point["Sum"]) == (2.0, 11.0)


def test_amazons_namespaces_are_amazons(account: Account) -> None:
    with refused("InvalidParameterValue", "AWS/"):
        account.cloudwatch(
            "PutMetricData", Namespace="AWS/EC2", MetricData=[{"MetricName": "CPUUtilization", "Value": 1.0}]
        )


@pytest.mark.parametrize("second", [0, 29])
def test_a_day_can_be_asked_for_minute_by_minute(account: Account, second: int) -> None:
    """`The maximum number of data points returned from a single call is 1,440.` (API_GetMetricStatistics)"""
    end = account.now.replace(second=second)
    assert ask(account, "Sum", StartTime=end - timedelta(days=1), EndTime=end) == []
    with refused("InvalidParameterCombination", "up to 1441 datapoints"):
        ask(account, "Sum", StartTime=end - timedelta(days=1, seconds=60), EndTime=end)


@pytest.mark.parametrize(
    ("params", "code", "word"),
    [
        ({"Period": 45}, "InvalidParameterValue", "multiple of 60"),
        ({"StartTime": NOON - timedelta(days=2)}, "InvalidParameterCombination", "limit of 1440."),
        ({"EndTime": NOON - timedelta(days=3)}, "InvalidParameterValue", "StartTime"),
        (
            {"StartTime": NOON + timedelta(seconds=40), "EndTime": NOON + timedelta(seconds=20)},
            "InvalidParameterValue",
            "The parameter StartTime must be less than the parameter EndTime.",
        ),
    ],
)
def test_questions_that_make_no_sense(account: Account, params: dict[str, Any], code: str, word: str) -> None:
    with refused(code, word):
        ask(account, "Sum", **params)


@pytest.mark.parametrize(
    ("query_", "code", "word"),
    [
        (query("A"), "ValidationError", "Id"),
        (query("a", "p99"), "ValidationError", "p99"),
        (query("a", period=7), "InvalidParameterValue", "Period"),
        ({"Id": "a"}, "ValidationError", "expressions"),
    ],
)
def test_series_that_there_are_not(account: Account, query_: dict[str, Any], code: str, word: str) -> None:
    with refused(code, word):
        data(account, query_)


def test_a_role_may_tell_values_of_one_namespace(account: Account) -> None:
    condition = {"StringEquals": {"cloudwatch:namespace": "Shop"}}
    caller = account.role("teller", allow("cloudwatch:PutMetricData", Condition=condition))
    datum = [{"MetricName": "a", "Value": 1.0}]
    account.cloudwatch("PutMetricData", caller=caller, Namespace="Shop", MetricData=datum)
    for name, params in (("PutMetricData", {"Namespace": "Other", "MetricData": datum}), ("ListMetrics", {})):
        with refused("AccessDenied", f"cloudwatch:{name}"):
            account.cloudwatch(name, caller=caller, **params)


def test_expressions_are_refused_by_name() -> None:
    params = {"MetricDataQueries": [{"Id": "a", "Expression": "b * 2"}]}
    assert TABLE["cloudwatch", "GetMetricData"].unsupported(params) == ["MetricDataQueries.Expression"]


def points(account: Account) -> list[tuple[int, float]]:
    with account.database.read() as tx:
        return [(at, count) for at, count in tx.execute("SELECT at, count FROM metric_points ORDER BY at")]


def forget(account: Account) -> None:
    store.forget(account.database, int(account.now.timestamp()))


def test_what_is_old_is_made_coarser_and_at_last_dropped(account: Account) -> None:
    for second in range(60):
        put(account, 1, ago=second, StorageResolution=1)
    assert len(points(account)) == 60
    forget(account)
    assert len(points(account)) == 60
    for age, many in ((timedelta(hours=4), 2), (timedelta(days=16), 2), (timedelta(days=64), 2)):
        account.now = NOON + age
        forget(account)
        assert (len(points(account)), sum(count for _, count in points(account))) == (many, 60.0)
    account.now = NOON + timedelta(days=460)
    forget(account)
    assert points(account) == []
    assert account.cloudwatch("ListMetrics")["Metrics"] == []


def test_of_too_many_points_the_oldest_go(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MOST", 10)
    for minutes in range(15):
        put(account, 1, ago=60 * minutes)
    forget(account)
    assert [at for at, _ in points(account)] == [int(NOON.timestamp()) - 60 * ago for ago in range(9, -1, -1)]


@given(
    told=st.lists(st.tuples(st.integers(0, 3599), st.floats(-1e6, 1e6)), max_size=30),
    period=st.sampled_from([60, 120, 300, 3600]),
)
@settings(max_examples=25, suppress_health_check=[*HealthCheck])
def test_however_it_is_divided_nothing_is_lost_or_doubled(
    account: Account, told: list[tuple[int, float]], period: int
) -> None:
    name = f"m{abs(hash((tuple(told), period)))}"
    for ago, value in told:
        put(account, value, name=name, ago=ago)
    found = ask(account, "SampleCount", "Minimum", "Maximum", period=period, hours=2, MetricName=name)
    assert sum(point["SampleCount"] for point in found) == len(told)
    if told:
        values = [value for _, value in told]
        assert min(point["Minimum"] for point in found) == min(values)
        assert max(point["Maximum"] for point in found) == max(values)


def test_an_unlikely_number_of_metrics_is_refused(account: Account) -> None:
    with pytest.raises(ServiceError):
        put(account, *range(1001))


def many_points(account: Account, count: int) -> None:
    now = int(account.now.timestamp())
    with account.database.write() as tx:
        points = [Point(Metric("Shop", "Orders"), now - number, Summary.of(1.0)) for number in range(count)]
        store.record(tx, points)


def pages_of(account: Account, *queries: dict[str, Any], **more: Any) -> Iterator[list[dict[str, Any]]]:
    answer = data(account, *queries, **more)
    yield answer["MetricDataResults"]
    while "NextToken" in answer:
        answer = data(account, *queries, **more, NextToken=answer["NextToken"])
        yield answer["MetricDataResults"]


def test_no_series_is_read_that_a_page_has_nothing_of(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    many_points(account, 200)
    read: list[int] = []

    def counted(tx: Tx, wanted: WantedSummaries) -> tuple[list[Point], int]:
        found, rows = store.counted_summaries(tx, wanted)
        read.append(rows)
        return found, rows

    monkeypatch.setattr(metric_data, "counted_summaries", counted)
    queries = [query(f"q{number}", period=1) for number in range(500)]
    first = data(account, *queries, MaxDatapoints=250)
    assert read == [200, 200]
    assert [(one["Id"], one["StatusCode"]) for one in first["MetricDataResults"]] == [
        ("q0", "Complete"),
        ("q1", "PartialData"),
    ]


@pytest.mark.parametrize("most", [7, 50, 100_000])
def test_a_page_reads_so_many_stored_points_and_the_next_goes_on(
    account: Account, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """A point of a day sums up many; so all pages come to the same, however much one may read."""
    many_points(account, 50)
    monkeypatch.setattr(metric_data, "MOST_READ", most)
    queries = [query(f"q{number}", period=86400) for number in range(20)]
    pages = list(pages_of(account, *queries))
    assert [one["Id"] for page in pages for one in page] == [each["Id"] for each in queries]
    assert sum(value for page in pages for one in page for value in one["Values"]) == 20 * 50
    assert len(pages) == (1 if most == 100_000 else 20)
