"""What `skylift.schedule` refuses names the function and the parameter, as Python spells them."""

from __future__ import annotations

from typing import Any

import pytest

import skylift


@pytest.mark.parametrize(
    ("when", "more", "message"),
    [
        (5, {}, "skylift.schedule(): when must be str, not int"),
        ("rate(1 hour)", {"timezone": 5}, "skylift.schedule(): timezone must be str, not int"),
        ("rate(1 hour)", {"overlap": None}, "skylift.schedule(): overlap must be str, not NoneType"),
    ],
)
def test_a_parameter_of_another_type(when: Any, more: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError) as caught:
        skylift.schedule(when, "x.py", **more)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"overlap": "no"}, "skylift.schedule(): overlap no is none of skip, queue, allow."),
        ({"timezone": "Mars/Base"}, "skylift.schedule(): timezone Mars/Base: there is no such time zone."),
    ],
)
def test_a_parameter_that_cannot_be(more: dict[str, Any], message: str) -> None:
    with pytest.raises(skylift.UsageError) as caught:
        skylift.schedule("rate(1 hour)", "x.py", **more)
    assert str(caught.value) == message
