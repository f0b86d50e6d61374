"""The inputs that a schedule's map looks up: what a place names, and what a list that a server wrote may say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylift.client.map.looked_up import complete, encode_found
from skylift.client.map.spec import admits, encode_spec, parse_spec
from skylift.client.map.spec import chosen as chosen_of
from skylift.contract.document import Malformed
from skylift.contract.map_spec import InputPlace, MapInput, MapSpec

LOGS = InputPlace("logs", "eu-west-1", "2026-*/*.gz")
SPEC = MapSpec(("python", "job.py"), True, (), (MapInput(0, "a.csv", "a.csv"),), total=1, places=(LOGS,))


def test_places_are_part_of_the_spec() -> None:
    assert parse_spec(encode_spec(SPEC)) == SPEC


def test_whether_the_number_of_servers_goes_by_work_is_part_of_the_spec() -> None:
    counted = SPEC._replace(servers=8, by_work=True)
    assert parse_spec(encode_spec(counted)) == counted


def test_inputs_that_are_found_come_after_the_others() -> None:
    whole = complete(SPEC, encode_found([["2026-11-28/a.gz", "2026-11-29/b.gz"]]))
    assert [(each.index, each.text, each.name) for each in whole.inputs] == [
        (0, "a.csv", "a.csv"),
        (1, "s3://logs/2026-11-28/a.gz", "a.gz"),
        (2, "s3://logs/2026-11-29/b.gz", "b.gz"),
    ]
    assert (whole.total, whole.places) == (3, ())


def test_an_object_that_two_places_name_is_one_input() -> None:
    spec = SPEC._replace(places=(LOGS, InputPlace("logs", "eu-west-1", "2026-11-28/a.gz")))
    whole = complete(spec, encode_found([["2026-11-28/a.gz"], ["2026-11-28/a.gz"]]))
    assert [each.text for each in whole.inputs] == ["a.csv", "s3://logs/2026-11-28/a.gz"]


def test_nothing_found_is_no_error() -> None:
    assert complete(SPEC, encode_found([[]])).inputs == SPEC.inputs


@pytest.mark.parametrize(
    ("place", "keys", "chosen"),
    [
        ("2026-*/*.gz", ["2026-1/a.gz", "2026-1/b/c.gz", "2026-1/a.txt", "2026-1/d.gz/"], ["2026-1/a.gz"]),
        ("**/*.gz", ["a.gz", "x/y/b.gz", "x/y/"], ["a.gz", "x/y/b.gz"]),
        ("day", ["day", "day/a", "days/b"], ["day"]),
        ("day", ["day/a", "days/b", "day/b/c"], ["day/a", "day/b/c"]),
        ("day/", ["day/", "day/a"], ["day/a"]),
        ("", ["a", "b/c"], ["a", "b/c"]),
        ("*", ["a", "with\0null", "\ud800"], ["a"]),
        ("*", ["k" * 1025, "k" * 1024], ["k" * 1024]),
    ],
)
def test_what_a_place_names(place: str, keys: list[str], chosen: list[str]) -> None:
    assert chosen_of(InputPlace("logs", "eu-west-1", place), keys) == chosen


@pytest.mark.parametrize(
    "found",
    [
        b"",
        b"[]",
        b"{}",
        b'{"found": []}',
        b'{"found": [[], []]}',
        b'{"found": ["2026-1/a.gz"]}',
        b'{"found": [[1]]}',
        b'{"found": [[null]]}',
        b'{"found": [["secrets/key.gz"]]}',
        b'{"found": [["2026-1/../../x.gz"]]}',
        b'{"found": [["2026-1/\\u0000.gz"]]}',
        b'{"found": [["2026-1/\\ud800.gz"]]}',
        b"\xff",
        b'{"found": ' + b"[" * 100_000,
    ],
)
def test_what_no_server_of_ours_writes_is_refused(found: bytes) -> None:
    with pytest.raises(Malformed):
        complete(SPEC, found)


@given(
    st.recursive(st.none() | st.text() | st.integers(), lambda each: st.lists(each) | st.dictionaries(st.text(), each))
)
def test_whatever_it_says_inputs_are_of_the_places_or_it_is_refused(found: Any) -> None:
    try:
        whole = complete(SPEC, json.dumps({"found": found}).encode())
    except Malformed:
        return
    assert all(admits(LOGS, each.text.removeprefix("s3://logs/")) for each in whole.inputs[1:])


def test_more_inputs_than_a_map_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skylift.client.map.looked_up.MOST_INPUTS", 3)
    with pytest.raises(Malformed, match="more than 3 inputs"):
        complete(SPEC, encode_found([[f"2026-1/{number}.gz" for number in range(3)]]))
