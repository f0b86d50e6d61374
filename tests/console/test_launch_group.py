"""What the page of a launch says of the security group that is chosen."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import cast

import pytest
from fastapi import Request
from nicegui import Client, core, ui
from nicegui.elements.mixins.text_element import TextElement

from skylift.client.errors import Unreachable
from skylift.console.cloud_view import CloudView
from skylift.console.pages.launch import LaunchPage
from skylift.console.port import Choices
from skylift.console.rows import RuleRow
from skylift.console.widgets.element import Element


class Groups:
    """Each group's rules come when they are let go."""

    def __init__(self) -> None:
        self.answers = {group: threading.Event() for group in ("sg-open", "sg-closed", "sg-failed")}

    def rules(self, groups: list[str]) -> list[RuleRow]:
        (group,) = groups
        assert self.answers[group].wait(30)
        if group == "sg-failed":
            raise Unreachable("The cloud does not answer.", "Start it.")
        return [RuleRow("sgr-1", "in", "tcp 22", "0.0.0.0/0", "", "tcp", 22, 22)] if group == "sg-open" else []


def texts(place: Element) -> list[str]:
    return [each.text for each in place.descendants() if isinstance(each, TextElement) and each.text]


async def test_what_is_said_is_of_the_group_that_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "loop", asyncio.get_running_loop())
    request = Request({"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []})
    groups = Groups()
    page = LaunchPage(cast(CloudView, SimpleNamespace(port=groups)))
    chosen = dict.fromkeys(groups.answers, "a group")
    page._choices = Choices({}, {}, {}, {}, {}, (), {}, chosen, (), {})
    page._vpcs = {}
    with Client(ui.page("/"), request=request) as client:
        page._build(page._choices)

        async def choose(group: str) -> None:
            with client.layout:
                page._group.value = group
                await page._group_chosen(group)

        groups.answers["sg-open"].set()
        await asyncio.wait_for(choose("sg-open"), 30)
        assert texts(page._rules) == ["Lets in tcp 22 from 0.0.0.0/0."]
        failing = asyncio.create_task(choose("sg-failed"))
        await asyncio.sleep(0)
        assert texts(page._rules) == [], "it was of the group before"
        groups.answers["sg-closed"].set()
        await asyncio.wait_for(choose("sg-closed"), 30)
        groups.answers["sg-failed"].set()
        await asyncio.wait_for(failing, 30)
        assert texts(page._rules) == ["Lets nothing in."], "the error is of another group"
        await asyncio.wait_for(choose("sg-failed"), 30)
        assert texts(page._rules) == ["The cloud does not answer.", "Start it."]
        await asyncio.wait_for(choose(""), 30)
        assert texts(page._rules) == []
        client.delete()
