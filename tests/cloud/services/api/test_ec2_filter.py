from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.services.api.filter import exact_values, matching

ITEMS: list[dict[str, Any]] = [
    {"Id": "a", "On": True, "Many": [{"N": 1}, {"N": 2}], "At": datetime(2026, 1, 2, 3, 4, 5, 678900, UTC)},
    {"Id": "b", "On": False, "Many": [], "Tags": [{"Key": "a*b", "Value": "1"}]},
    {"Id": "a*", "Many": [{"N": 2}]},
]
PATHS = {"id": "Id", "on": "On", "many.n": "Many.N", "at": "At"}


def found(*filters: tuple[str, list[str]]) -> str:
    given_ = [{"Name": name, "Values": values} for name, values in filters]
    return ",".join(item["Id"] for item in matching(ITEMS, given_, PATHS, tags="Tags"))


@pytest.mark.parametrize(
    ("name", "values", "ids"),
    [
        ("id", ["a", "b"], "a,b"),
        ("id", ["a*"], "a,a*"),
        ("id", ["a\\*"], "a*"),
        ("id", ["?"], "a,b"),
        ("id", ["A"], ""),
        ("on", ["true"], "a"),
        ("many.n", ["2"], "a,a*"),
        ("at", ["2026-01-02T03:04:05.678Z"], "a"),
        ("at", ["2026-01-02T*"], "a"),
        ("tag-key", ["a\\*b"], "b"),
        ("tag:a*b", ["1"], "b"),
        ("tag:other", ["*"], ""),
    ],
)
def test_one_filter(name: str, values: list[str], ids: str) -> None:
    assert found((name, values)) == ids


def test_filters_must_all_match() -> None:
    assert found(("id", ["a*"]), ("many.n", ["1"])) == "a"
    assert matching(ITEMS, [], PATHS) is ITEMS


@pytest.mark.parametrize(
    ("filters", "code", "message"),
    [
        ([{"Name": "nothing", "Values": ["x"]}], "InvalidParameterValue", "The filter 'nothing' is invalid"),
        ([{"Values": ["x"]}], "InvalidParameterValue", "The filter 'null' is invalid"),
        ([{"Name": "id", "Values": []}], "MissingParameter", "Filter.1.Value"),
        ([{"Name": "id", "Values": ["x"] * 201}], "FilterLimitExceeded", "200"),
        (
            [{"Name": "id", "Values": ["none"]}, {"Name": "nothing", "Values": ["x"]}],
            "InvalidParameterValue",
            "nothing",
        ),
    ],
)
def test_filters_that_cannot_be(filters: list[dict[str, Any]], code: str, message: str) -> None:
    for items in (ITEMS, []):
        with pytest.raises(ServiceError) as caught:
            matching(items, filters, PATHS)
        assert caught.value.code == code
        assert message in caught.value.message


@given(st.text())
def test_a_value_with_every_special_character_escaped_matches_itself_only(text: str) -> None:
    escaped = "".join(f"\\{letter}" if letter in "*?\\" else letter for letter in text)
    items = [{"Id": text}, {"Id": text + "x"}]
    assert matching(items, [{"Name": "id", "Values": [escaped]}], PATHS) == items[:1]


@pytest.mark.parametrize("value", ["*?" * 100 + "b", "*a" * 100 + "b", "?*" * 100 + "b"])
def test_no_value_makes_matching_slow(value: str) -> None:
    """A test that hangs has failed: while an expression backtracks, nobody else is answered."""
    items = [{"Id": "a" * 2000}]
    assert matching(items, [{"Name": "id", "Values": [value]}], PATHS) == []


def test_a_filter_without_wildcards_names_what_a_column_must_hold() -> None:
    columns = {"id": "id", "state": "state"}
    filters: Any = [
        {"Name": "id", "Values": ["a", "b"]},
        {"Name": "id", "Values": ["b"]},
        {"Name": "state", "Values": ["run*"]},
        {"Name": "other", "Values": ["x"]},
        {"Values": ["x"]},
    ]
    assert exact_values(filters, columns) == {"id": ["a", "b"]}
    for special in ("a?", "a\\*", "*"):
        assert exact_values([{"Name": "id", "Values": ["a", special]}], columns) == {}
    for wrong in ([], ["x"] * 201):
        assert exact_values([{"Name": "id", "Values": wrong}], columns) == {}
    assert exact_values(None, columns) == {}
