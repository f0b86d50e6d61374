"""The page of one input of a map, while the map runs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest
from fastapi import Request
from nicegui import Client, core, ui
from nicegui.elements.mixins.text_element import TextElement

from skylift.client.errors import Unreachable
from skylift.console.cloud_view import CloudView
from skylift.console.map_inputs import InputRow, ShownInput
from skylift.console.pages.map_inputs import InputPage
from skylift.console.poller import Topic
from skylift.contract.map_spec import MapInput


class Record:
    """A map of one input, whose record can be read twice: the input runs, and is over."""

    def __init__(self) -> None:
        self.topic: Topic[InputRow] = Topic(self._rows, 0.005)
        self._states = ["running", "no outcome"]

    def map_inputs(self, job: str) -> tuple[Any, Topic[InputRow]]:
        return self, self.topic

    def _rows(self) -> Sequence[InputRow]:
        return ()

    def one(self, index: str) -> ShownInput:
        if not self._states:
            raise Unreachable("S3 does not answer.", "Try again.")
        row = InputRow(index, "a.csv", self._states.pop(0), None, None, 1, "", "")
        return ShownInput(MapInput(0, "a.csv", "a.csv"), row, None, 0)


async def test_an_input_that_has_ended_is_shown_though_nothing_answers_after_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(core, "loop", asyncio.get_running_loop())
    record = Record()
    request = Request({"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []})
    with Client(ui.page("/"), request=request) as client:
        await InputPage(cast(CloudView, record), "sums", "0").show()
        looking = record.topic.looking
        assert looking is not None
        await asyncio.wait_for(looking, 10)
        texts = [each.text for each in client.layout.descendants() if isinstance(each, TextElement)]
        client.delete()
    assert "no outcome" in texts
    assert "S3 does not answer." not in texts
