"""The tables of the user guide, and the words for what is found."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylift.cloud.domain.alarm import Alarm
from skylift.cloud.domain.metric import Metric, Point, Summary
from skylift.cloud.loops.cloudwatch.evaluation import evaluate, evaluation_range

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
ALARM = Alarm(
    name="a",
    namespace="Shop",
    metric_name="Orders",
    dimensions=(),
    statistic="Average",
    unit=None,
    period=60,
    periods=3,
    datapoints=3,
    threshold=10.0,
    comparison="GreaterThanThreshold",
    missing=None,
    configured=NOON,
    updated=NOON,
    transitioned=NOON,
)
TREATMENTS: tuple[Any, ...] = ("missing", "ignore", "breaching", "notBreaching")
TABLE = [
    (3, "0-X-X", "OK OK OK OK"),
    (3, "0----", "OK OK OK OK"),
    (3, "-----", "INSUFFICIENT_DATA - ALARM OK"),
    (3, "0XX-X", "ALARM ALARM ALARM ALARM"),
    (3, "--X--", "ALARM - ALARM OK"),
    (3, "----X", "INSUFFICIENT_DATA - ALARM OK"),
    (2, "0-X-X", "ALARM ALARM ALARM ALARM"),
    (2, "00X0X", "ALARM ALARM ALARM ALARM"),
    (2, "0-X--", "OK OK ALARM OK"),
    (2, "----0", "OK OK ALARM OK"),
    (2, "---X-", "ALARM - ALARM OK"),
]


def points(text: str) -> list[Point | None]:
    """A breach is 20, what is none is 0."""
    start = int(NOON.timestamp()) - 60 * len(text)
    values = {"0": 0.0, "X": 20.0}
    return [
        Point(Metric("Shop", "Orders"), start + 60 * number, Summary.of(values[one])) if one in values else None
        for number, one in enumerate(text)
    ]


@pytest.mark.parametrize(("datapoints", "text", "states"), TABLE)
def test_what_is_missing_is_treated_as_asked(datapoints: int, text: str, states: str) -> None:
    found = [
        evaluate(replace(ALARM, datapoints=datapoints, missing=missing), points(text), NOON).state or "-"
        for missing in TREATMENTS
    ]
    assert found == states.split()


@pytest.mark.parametrize(
    ("comparison", "value", "state"),
    [
        ("GreaterThanThreshold", 10.0, "OK"),
        ("GreaterThanThreshold", 10.1, "ALARM"),
        ("GreaterThanOrEqualToThreshold", 10.0, "ALARM"),
        ("LessThanThreshold", 10.0, "OK"),
        ("LessThanThreshold", 9.9, "ALARM"),
        ("LessThanOrEqualToThreshold", 10.0, "ALARM"),
    ],
)
def test_comparisons(comparison: str, value: float, state: str) -> None:
    alarm = replace(ALARM, periods=1, datapoints=None, comparison=comparison)
    told = [None, None, Point(Metric("Shop", "Orders"), 0, Summary.of(value))]
    assert evaluate(alarm, told, NOON).state == state


def test_words_of_an_alarm() -> None:
    verdict = evaluate(replace(ALARM, datapoints=2), points("00X0X"), NOON)
    assert verdict.reason == (
        "Threshold Crossed: 2 out of the last 3 datapoints "
        "[20.0 (25/11/26 11:59:00), 0.0 (25/11/26 11:58:00), 20.0 (25/11/26 11:57:00)] were greater than the threshold "
        "(10.0) (minimum 2 datapoints for OK -> ALARM transition)."
    )
    assert verdict.value == 20.0
    data = json.loads(verdict.data)
    assert (data["recentDatapoints"], data["threshold"], data["period"]) == ([20.0, 0.0, 20.0], 10.0, 60)


def test_words_of_an_alarm_that_says_nothing_of_its_datapoints() -> None:
    """Recorded on AWS: `test_put_metric_alarm` in LocalStack's
    test_cloudwatch.snapshot.json."""
    one = replace(ALARM, periods=1, datapoints=None, unit="Seconds")
    verdict = evaluate(one, points("--X"), NOON)
    assert verdict.reason == (
        "Threshold Crossed: 1 datapoint [20.0 (25/11/26 11:59:00)] was greater than the threshold (10.0)."
    )
    data = json.loads(verdict.data)
    assert list(data)[:5] == ["version", "queryDate", "startDate", "unit", "statistic"] and data["unit"] == "Seconds"
    assert evaluate(replace(one, periods=2), points("-XX"), NOON).reason == (
        "Threshold Crossed: 2 datapoints [20.0 (25/11/26 11:59:00), 20.0 (25/11/26 11:58:00)] were greater than the "
        "threshold (10.0)."
    )


def test_words_where_nothing_is_wrong_or_known() -> None:
    one = replace(ALARM, periods=1, datapoints=None)
    assert evaluate(one, points("--0"), NOON).reason == (
        "Threshold Crossed: 1 datapoint [0.0 (25/11/26 11:59:00)] was not greater than the threshold (10.0)."
    )
    assert evaluate(one, points("---"), NOON).reason == "Insufficient Data: 1 datapoint was unknown."
    assert evaluate(replace(one, missing="breaching"), points("---"), NOON).reason == (
        "Threshold Crossed: no datapoints were received for 1 period and 1 missing datapoint was treated as "
        "[Breaching]."
    )


@given(
    periods=st.integers(1, 5), data=st.data(), missing=st.sampled_from([None, *TREATMENTS]), wanted=st.integers(1, 5)
)
def test_any_data_has_a_state_and_short_words(periods: int, data: st.DataObject, missing: Any, wanted: int) -> None:
    alarm = replace(ALARM, periods=periods, datapoints=min(wanted, periods), missing=missing)
    size = evaluation_range(alarm)
    text = "".join(data.draw(st.lists(st.sampled_from("0X-"), min_size=size, max_size=size)))
    verdict = evaluate(alarm, points(text), NOON)
    assert verdict.state is not None or missing == "ignore"
    assert len(verdict.reason) <= 1023
    assert len(verdict.data) <= 4000
    if "-" not in text:
        assert verdict.state == ("ALARM" if text[-periods:].count("X") >= min(wanted, periods) else "OK")
