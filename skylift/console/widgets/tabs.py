"""Tabs of a page. A tab is made when it is opened."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, ParamSpec, TypeVar

from nicegui import background_tasks

from skylift.client.errors import SkyliftError
from skylift.console.widgets.element import Element, box, finish, set_attribute, tag
from skylift.console.widgets.open_tab import TabList, word_of
from skylift.console.widgets.trouble import say_trouble

Given = ParamSpec("Given")
Answer = TypeVar("Answer")


class Tabs:
    """`fills` says for each title what puts the content there, which may be awaited. The page's address names the tab
    that is open."""

    def __init__(self, fills: Mapping[str, Callable[[], object]]) -> None:
        self._fills = fills
        self._words = {word_of(title): title for title in fills}
        self._first = next(iter(fills))
        self._shown = ""
        self._asked = 0
        self._buttons = {}
        self._list = TabList(self._follow)
        with self._list:
            for title in fills:
                self._buttons[title] = tag("button", title, "tab", type="button", role="tab")
                self._buttons[title].on("click", lambda _, title=title: self.open(title))
        self._panel = box("panel", role="tabpanel")
        for element in self._buttons.values():
            set_attribute(element, "aria-controls", self._panel.html_id)

    def begin(self) -> None:
        """With the tab that the address names."""
        self._follow(self._list.asked)

    def _follow(self, word: str) -> None:
        """What is no word of a tab is of the first one."""
        title = self._words.get(word, self._first)
        if title != self._shown:
            self._begin(title)

    def open(self, title: str) -> None:
        self._list.say("" if title == self._first else word_of(title))
        self._begin(title)

    def refresh(self) -> None:
        self._begin(self._shown)

    def _begin(self, title: str) -> None:
        self._shown = title
        background_tasks.create(self._show(title))

    async def _show(self, title: str) -> None:
        self._asked += 1
        asked = self._asked
        for each, element in self._buttons.items():
            set_attribute(element, "aria-selected", "true" if each == title else "false")
        set_attribute(self._panel, "aria-labelledby", self._buttons[title].html_id)
        with self._panel:
            made = box("panel")
        try:
            with made:
                await finish(self._fills[title])
        except SkyliftError as error:
            with made:
                say_trouble(error)
        # The old content goes when the new one is there. Of two that were asked for, the last one stays.
        if asked != self._asked:
            made.delete()
            return
        for child in list(self._panel.default_slot.children):
            if child is not made:
                child.delete()


async def in_thread(work: Callable[Given, Answer], *arguments: Given.args, **named: Given.kwargs) -> Answer:
    """A call of the cloud's takes its time."""
    return await asyncio.to_thread(work, *arguments, **named)


def in_background(work: Coroutine[Any, Any, None]) -> None:
    """It goes on when its page is gone."""
    background_tasks.create(work)


class WhenGone(Element):
    """Without a look. It calls `work` once what it stands in is on no page any more."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        super().__init__("span")
        self.set_visibility(False)

    def _handle_delete(self) -> None:
        self._work()
        super()._handle_delete()
