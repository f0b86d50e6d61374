"""Questions of a page."""

from __future__ import annotations

import asyncio

import pytest
from fastapi import Request
from nicegui import Client, core, ui

from skylift.console.widgets.dialog import Dialog
from skylift.console.widgets.element import box
from skylift.console.widgets.routes import Routes


@pytest.mark.parametrize("routed", [False, True])
async def test_a_question_stays_when_the_row_goes_that_asks_and_ends_with_its_page(
    routed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core, "loop", asyncio.get_running_loop())
    request = Request({"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []})
    with Client(ui.page("/"), request=request) as client:
        page = Routes({"/": lambda: None}) if routed else box()
        with page:
            table = box()
            with table:
                row = box()
        with row:
            Dialog("Tags of igw-1")
        (question,) = (each for each in client.layout.descendants() if each.tag == "dialog")
        table.clear()
        assert row.is_deleted
        assert not question.is_deleted
        page.clear()
        assert question.is_deleted == routed
        client.delete()
