"""Tags that are edited on a page: what is different becomes calls, and what cannot be is said."""

from __future__ import annotations

import json
from typing import Any

import pytest
from test_call import HOSTILE, made_by_the_cli

from skylift.client.errors import UsageError
from skylift.console.tags import change_tags, read_tags, specification

BEFORE = {"Name": "web", "team": "c4", "aws:autoscaling:groupName": "g"}


def test_only_what_is_different_is_changed() -> None:
    assert change_tags(["i-1"], BEFORE, [("Name", "web"), ("team", "c4")]) == []
    created, deleted = change_tags(["i-1"], BEFORE, [("Name", "db"), ("stage", ""), ("", "")])
    assert created.operation == "create_tags"
    assert created.params["Tags"] == [{"Key": "Name", "Value": "db"}, {"Key": "stage", "Value": ""}]
    assert deleted.operation == "delete_tags"
    # AWS's own is nobody's to take away.
    assert deleted.params["Tags"] == [{"Key": "team"}]


def test_keys_and_values_that_nobody_has_touched_stay_as_they_are() -> None:
    before = {" spaced ": " a ", " ": "", "spaced": "b"}
    assert change_tags(["i-1"], before, list(before.items())) == []
    (call,) = change_tags(["i-1"], before, [*before.items(), (" new ", " c ")])
    assert call.params["Tags"] == [{"Key": "new", "Value": " c "}]
    (call,) = change_tags(["i-1"], before, [(" ", ""), ("spaced", "b")])
    assert (call.operation, call.params["Tags"]) == ("delete_tags", [{"Key": " spaced "}])


def test_a_key_is_renamed_where_there_is_no_room_for_one_more() -> None:
    before = {str(number): "" for number in range(50)}
    typed = [("new", ""), *list(before.items())[1:]]
    assert [call.operation for call in change_tags(["i-1"], before, typed)] == ["delete_tags", "create_tags"]
    # AWS's own are not counted there.
    (reserved, *_) = before = {"aws:a": "", **{str(number): "" for number in range(49)}}
    calls = change_tags(["i-1"], before, [("new", ""), *((key, "") for key in list(before)[2:])])
    assert [call.operation for call in calls] == ["create_tags", "delete_tags"]
    assert reserved not in str(calls)


@pytest.mark.parametrize("name", HOSTILE)
def test_the_cli_makes_the_same_change(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {name.strip(): "x", f"{name.strip()}-": "gone"}
    for call in change_tags(["i-1", "vol-1"], before, [(name, name)]):
        assert made_by_the_cli(call.command, monkeypatch) == json.loads(json.dumps(call.params))


@pytest.mark.parametrize(
    "typed",
    [
        [("", "value")],
        [("aws:mine", "")],
        [("AWS:mine", "")],
        [("team", "a"), (" team ", "b")],
        [("k" * 129, "")],
        [("k", "v" * 257)],
        [(str(number), "") for number in range(51)],
    ],
)
def test_a_tag_that_cannot_be_is_refused_in_words(typed: Any) -> None:
    with pytest.raises(UsageError) as refused:
        read_tags(typed)
    assert refused.value.message


def test_what_is_made_without_tags_is_made_with_none() -> None:
    assert specification("volume", [("", "")]) == []
    assert specification("volume", [("a", "")]) == [{"ResourceType": "volume", "Tags": [{"Key": "a", "Value": ""}]}]
