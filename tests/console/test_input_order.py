"""A field's events may come in another order than they were made."""

from __future__ import annotations

from typing import Any

import pytest
from shown_page import shown_page

from skylift.console.widgets.element import on_input, tag


async def test_what_was_typed_last_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    came: list[str] = []
    with shown_page(monkeypatch) as page:
        field = tag("input")
        on_input(field, came.append)
        for value, at in (("w", 10.5), ("walked", 30), ("walke", 20.25), ("walked!", 30), ("", 40)):
            page.say(field, "input", {"value": value, "at": at})
    assert came == ["w", "walked", "walked!", ""]


async def test_a_handler_that_waits_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    came: list[str] = []

    async def search(text: str) -> None:
        came.append(text)

    with shown_page(monkeypatch) as page:
        field = tag("input")
        on_input(field, search)
        for task in page.say(field, "input", {"value": "walked", "at": 2}):
            await task
        assert not page.say(field, "input", {"value": "walke", "at": 1})
    assert came == ["walked"]


@pytest.mark.parametrize("at", [None, "soon", [], {}])
async def test_a_browser_that_tells_no_time_is_believed(at: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    came: list[str] = []
    with shown_page(monkeypatch) as page:
        field = tag("input")
        on_input(field, came.append)
        page.say(field, "input", {"value": "a", "at": 5})
        page.say(field, "input", {"value": "b", "at": at})
    assert came == ["a", "b"]
