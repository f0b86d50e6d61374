"""The page of a job: whether it can be cancelled, or its server turned off."""

from __future__ import annotations

from typing import Any, cast

import pytest
from shown_page import Page, shown_page

from skylift.client.errors import Unreachable
from skylift.client.jobs.listing import Listed
from skylift.console.cloud_view import CloudView
from skylift.console.pages.job import JobPage
from skylift.console.poller import Change
from skylift.contract.states import State


class View:
    """Of one job, whose log cannot be had."""

    def __init__(self, state: State, server: str) -> None:
        instance_state = "running" if server else None
        self._job = Listed("j", state, server or None, instance_state, None, None, None, None, None, None)
        self.job_port = self.jobs = self.port = self

    def job(self, name: str) -> Listed:
        return self._job

    def listen(self, hear: Any) -> None:
        self.hear = hear

    def look_soon(self) -> None:
        pass

    @property
    def account(self) -> None:
        raise Unreachable("nobody is there")


CANCEL, TURN_OFF = "Cancel job", "Turn its server off"


def offered(page: Page) -> str:
    """What the button says; empty while it is off."""
    (button,) = (each for each in page.client.layout.descendants() if getattr(each, "text", "") in (CANCEL, TURN_OFF))
    return "" if "disabled" in button.props else str(getattr(button, "text", ""))


@pytest.mark.parametrize(
    ("state", "server", "offer"),
    [
        (State.STARTING, "", CANCEL),
        (State.STARTING, "i-1", CANCEL),
        (State.RUNNING, "i-1", CANCEL),
        (State.WAITING, "", CANCEL),
        (State.STRANDED, "i-1", CANCEL),
        (State.SUCCEEDED, "i-1", TURN_OFF),
        (State.FAILED, "i-1", TURN_OFF),
        (State.SUCCEEDED, "", ""),
        (State.LOST, "", ""),
    ],
)
async def test_a_job_is_cancelled_and_a_server_that_it_has_left_is_turned_off(
    state: State, server: str, offer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with shown_page(monkeypatch) as page:
        view = View(state, server)
        await JobPage(cast(CloudView, view), "j").show()
        assert offered(page) == offer
    with shown_page(monkeypatch) as page:
        view = View(State.WAITING if offer != CANCEL else State.SUCCEEDED, "")
        await JobPage(cast(CloudView, view), "j").show()
        assert offered(page) != offer
        view.hear(Change((), ({"id": "j", "state": str(state), "server": server},), ()))
        assert offered(page) == offer


async def test_who_turns_a_server_off_is_told_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr("skylift.console.pages.job.confirm", lambda *words, **_: asked.append(words))
    with shown_page(monkeypatch):
        page = JobPage(cast(CloudView, View(State.SUCCEEDED, "i-1")), "j")
        await page.show()
        page._ask()
    ((question, lines, command, press, _),) = asked
    assert (question, lines[0], command, press) == ("Turn its server off?", "j", "skylift cancel j", TURN_OFF)
    assert "SIGTERM" not in lines[1]
