"""A page of the console without a browser."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest
from fastapi import Request
from nicegui import Client, background_tasks, core, ui
from nicegui.elements.mixins.text_element import TextElement

from skylift.console.widgets.element import Element


class Page:
    """What a browser would say of it, and what it is told to do."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.scripts: list[str] = []

    def press(self, text: str) -> set[asyncio.Task[Any]]:
        """What goes on after it."""
        return self.say(self._find(text, "button"), "click")

    def answer(self, text: str) -> set[asyncio.Task[Any]]:
        """The same in the question that was asked last."""
        found = [each for each in self.client.layout.descendants() if each.tag == "dialog"]
        (pressed,) = (each for each in _texts(found[-1]) if each.text == text and each.tag == "button")
        return self.say(pressed, "click")

    def type(self, label: str, text: str) -> None:
        """Into the first field of that label."""
        slot = self._find(label, "label").parent_slot
        assert slot is not None
        self.say(next(each for each in slot.children if each.tag in ("input", "textarea")), "input", {"value": text})

    def say(self, element: Element, event: str, *arguments: object) -> set[asyncio.Task[Any]]:
        before = set(background_tasks.running_tasks)
        for each in list(element._event_listeners.values()):
            if each.type == event:
                self.client.handle_event(
                    {"id": element.id, "listener_id": each.id, "args": [json.dumps(each) for each in arguments]}
                )
        return cast(set[asyncio.Task[Any]], background_tasks.running_tasks - before)

    def _find(self, text: str, tag: str) -> Element:
        return next(each for each in _texts(self.client.layout) if each.text == text and each.tag == tag)

    def shows(self, text: str) -> bool:
        return any(text in each.text for each in _texts(self.client.layout))


def _texts(within: Element) -> Iterator[TextElement]:
    return (each for each in within.descendants() if isinstance(each, TextElement))


@contextmanager
def shown_page(monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    """In the loop that runs; what is made within it stands there."""
    monkeypatch.setattr(core, "loop", asyncio.get_running_loop())
    request = Request({"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []})
    with Client(ui.page("/"), request=request) as client:
        made = Page(client)
        monkeypatch.setattr(client, "run_javascript", lambda code, **_: made.scripts.append(code))
        yield made
        client.delete()
