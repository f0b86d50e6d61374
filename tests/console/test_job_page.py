"""The page of a job: whether it can be cancelled."""

from __future__ import annotations

from typing import Any, cast

import pytest
from shown_page import Page, shown_page

from skylift.console.cloud_view import CloudView
from skylift.console.pages.job import JobPage
from skylift.console.poller import Change
from skylift.runner.errors import Unreachable
from skylift.runner.job.states import State
from skylift.runner.jobs.listing import Listed


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

    @property
    def account(self) -> None:
        raise Unreachable("nobody is there")


def can_cancel(page: Page) -> bool:
    (button,) = (each for each in page.client.layout.descendants() if getattr(each, "text", "") == "Cancel job")
    return "disabled" not in button.props


@pytest.mark.parametrize(
    ("state", "server", "can"),
    [
        (State.STARTING, "", True),
        (State.STARTING, "i-1", True),
        (State.RUNNING, "i-1", True),
        (State.WAITING, "", True),
        (State.STRANDED, "i-1", True),
        (State.SUCCEEDED, "i-1", False),
        (State.FAILED, "i-1", False),
        (State.SUCCEEDED, "", False),
        (State.LOST, "", False),
    ],
)
async def test_a_job_that_has_ended_cannot_be_cancelled_while_its_server_is_there(
    state: State, server: str, can: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with shown_page(monkeypatch) as page:
        view = View(state, server)
        await JobPage(cast(CloudView, view), "j").show()
        assert can_cancel(page) == can
    with shown_page(monkeypatch) as page:
        view = View(State.WAITING if not can else State.SUCCEEDED, "")
        await JobPage(cast(CloudView, view), "j").show()
        assert can_cancel(page) != can
        view.hear(Change((), ({"id": "j", "state": str(state), "server": server},), ()))
        assert can_cancel(page) == can
