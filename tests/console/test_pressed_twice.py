"""A button that is pressed again while it works, or before the browser has closed its question."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, cast

import pytest
from shown_page import shown_page

from skylift.client.errors import RunError, SkyliftError
from skylift.console.call import Call, list_vpcs
from skylift.console.cloud_view import CloudView
from skylift.console.networks import Networks
from skylift.console.pages.vpc_tab import VpcTab
from skylift.console.widgets.dialog import Dialog
from skylift.console.widgets.element import Element, button, tag
from skylift.console.widgets.field import Field
from skylift.console.widgets.row_edit import EditedRow


class Work:
    """It goes on until it may end."""

    def __init__(self, *errors: SkyliftError) -> None:
        self.begun = 0
        self._errors = list(errors)
        self._began, self.may_end = threading.Event(), threading.Event()

    def do(self, *_: object) -> None:
        self.begun += 1
        self._began.set()
        assert self.may_end.wait(30)
        if self._errors:
            raise self._errors.pop(0)

    async def begins(self) -> None:
        assert await asyncio.to_thread(self._began.wait, 30)

    async def end(self, tasks: set[asyncio.Task[Any]]) -> None:
        self.may_end.set()
        await asyncio.wait_for(asyncio.gather(*tasks), 30)


FAILS = RunError("AWS says no.", "Ask again.")


def ask(work: Work, done: Callable[[], Any] = lambda: None) -> tuple[Dialog, Element]:
    dialog = Dialog("Allocate?")
    dialog.buttons("Allocate", work.do, done=done)
    dialog.open()
    return dialog, dialog._element


async def test_a_question_is_answered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with shown_page(monkeypatch) as page:
        work, done = Work(), Work()
        done.may_end.set()
        ask(work, done.do)
        first = page.press("Allocate")
        again = page.press("Allocate")
        await work.end(first | again)
        # The browser has not closed it yet.
        await work.end(page.press("Allocate"))
        assert (work.begun, done.begun) == (1, 1)


async def test_a_question_is_answered_again_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with shown_page(monkeypatch) as page:
        work = Work(FAILS)
        ask(work)
        await work.end(page.press("Allocate"))
        assert page.shows("AWS says no.")
        await work.end(page.press("Allocate"))
        assert work.begun == 2


async def test_a_question_that_is_said_to_be_closed_twice_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    with shown_page(monkeypatch) as page:
        dialog, element = ask(Work())
        dialog.close()
        listeners = dict(element._event_listeners)
        page.say(element, "close")
        assert element.is_deleted
        for each in listeners.values():
            if each.type == "close":
                each.handler()


async def test_what_a_closed_question_was_answered_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with shown_page(monkeypatch) as page:
        work = Work(FAILS)
        _, element = ask(work)
        tasks = page.press("Allocate")
        await work.begins()
        page.say(element, "close")
        await work.end(tasks)
        assert [each for each in page.scripts if "AWS says no." in each]


def edit(work: Work) -> list[str]:
    saved: list[str] = []

    def fields(changed: Callable[[str], None]) -> Callable[[], Call]:
        Field("Ports", changed, value="22")
        return list_vpcs

    with tag("table"), tag("tbody"):
        EditedRow(
            1,
            "rule",
            "rule",
            edits={},
            show=lambda row: row.button(),
            fields=fields,
            perform=work.do,
            done=lambda: saved.append("yes"),
        )
    return saved


async def test_a_row_is_saved_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with shown_page(monkeypatch) as page:
        work = Work()
        saved = edit(work)
        page.press("Edit")
        await work.end(page.press("Save") | page.press("Save"))
        assert (work.begun, saved) == (1, ["yes"])


async def test_what_a_row_was_answered_that_somebody_has_left_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with shown_page(monkeypatch) as page:
        work = Work(FAILS)
        edit(work)
        page.press("Edit")
        tasks = page.press("Save")
        await work.begins()
        page.press("Cancel")
        await work.end(tasks)
        assert [each for each in page.scripts if "AWS says no." in each]


async def test_a_line_is_added_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with shown_page(monkeypatch) as page:
        work, refreshed = Work(), Work()
        refreshed.may_end.set()

        class View:
            perform = work.do

        tab = VpcTab(cast(CloudView, View), cast(Networks, None), "vpc-1", refreshed.do)
        tab.add("acl-1 new", "Add rule", lambda _: list_vpcs)
        await work.end(page.press("Add rule") | page.press("Add rule"))
        # The tab is made anew, and is not there yet.
        await work.end(page.press("Add rule"))
        assert (work.begun, refreshed.begun) == (1, 1)


async def test_a_button_that_has_done_its_work_may_be_pressed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with shown_page(monkeypatch) as page:
        work, pressed = Work(), []
        button("More", lambda: asyncio.to_thread(work.do))
        button("At once", lambda event: pressed.append(event.sender))
        tasks = page.press("More")
        assert not page.press("More")
        await work.end(tasks)
        await work.end(page.press("More"))
        assert work.begun == 2
        page.press("At once")
        page.press("At once")
        assert len(pressed) == 2


@pytest.mark.parametrize("stays", [True, False])
async def test_why_a_press_has_failed_is_told_also_when_its_button_is_gone(
    stays: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with shown_page(monkeypatch) as page:
        work = Work(FAILS)

        async def look_up() -> None:
            await asyncio.to_thread(work.do)

        made = button("Share", look_up)
        pressed = page.press("Share")
        await work.begins()
        if not stays:
            made.delete()
        await work.end(pressed)
        assert page.scripts == ['skyliftTellTrouble("AWS says no.", "Ask again.")']
