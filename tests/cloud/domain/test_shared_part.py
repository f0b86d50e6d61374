"""Parts of answers that are made once for many."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from skylift.cloud.domain.shared_part import KEPT, SharedPart, shared


@shared
def made(number: int) -> dict[str, Any]:
    return {"Number": number, "Within": {"Even": number % 2 == 0}}


def test_the_same_arguments_make_the_same_part() -> None:
    assert made(1) is made(1)
    assert made(1) == {"Number": 1, "Within": {"Even": False}}
    assert made(2) == {"Number": 2, "Within": {"Even": True}}


def test_more_than_are_kept_are_made_again() -> None:
    for _ in range(2):
        assert [made(number)["Number"] for number in range(KEPT + 10)] == list(range(KEPT + 10))


@pytest.mark.parametrize(
    "change",
    [
        lambda part: part.update(Number=2),
        lambda part: part.pop("Number"),
        lambda part: part.setdefault("Other", 1),
        lambda part: part.popitem(),
        lambda part: part.clear(),
        lambda part: part.__setitem__("Number", 2),
        lambda part: part.__delitem__("Number"),
        lambda part: part.__ior__({"Number": 2}),
        lambda part: part["Within"].update(Even=True),
    ],
)
def test_nobody_changes_it(change: Callable[[Any], None]) -> None:
    part = SharedPart({"Number": 1, "Within": {"Even": False}})
    with pytest.raises(TypeError, match="does not change"):
        change(part)
    assert part == {"Number": 1, "Within": {"Even": False}}


def test_it_has_no_lists() -> None:
    with pytest.raises(TypeError, match="Groups is one"):
        SharedPart({"Number": 1, "Within": {"Groups": ["a"]}})


def test_what_is_made_of_it_is_whoever_makes_it() -> None:
    assert {**made(1), "Number": 2} == {"Number": 2, "Within": {"Even": False}}
    changed = made(1) | {"Number": 3}
    changed["Number"] = 4
    assert made(1)["Number"] == 1
