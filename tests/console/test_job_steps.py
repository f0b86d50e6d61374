"""A job's steps, of what its client and its server wrote."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from skylift.client.jobs.listing import Listed
from skylift.console.job_steps import job_steps
from skylift.console.rows import as_moment
from skylift.contract.states import State
from skylift.contract.status import ProgramTry, Status

WAITING = Listed(
    "job-1", State.STARTING, None, None, None, None, None, None, None, None, created="2026-01-01T12:00:00.000Z"
)
ENDED = replace(
    WAITING,
    state=State.FAILED,
    instance="i-0123456789abcdef0",
    type="t3.micro",
    launched="2026-01-01T12:00:02+00:00",
    exit_code=3,
    started="2026-01-01T12:00:09.500Z",
    ended="2026-01-01T12:01:09.500Z",
    program="python <b>job</b>.py",
    attempt=2,
)
STATUS = Status(
    State.FAILED,
    final=True,
    booted="2026-01-01T12:00:03.000Z",
    environment="built",
    environment_seconds=4.25,
    tries=(ProgramTry(9, 1, reason="it failed", ended="2026-01-01T12:00:08.000Z", pause=1.5),),
)


def test_a_job_that_has_no_server_yet_was_submitted() -> None:
    (step,) = job_steps(WAITING, None)
    assert (step.what, step.after) == ("Submitted", "")


def test_each_step_says_how_long_after_the_one_before_it() -> None:
    steps = job_steps(ENDED, STATUS)
    assert [(each.what, each.after) for each in steps] == [
        ("Submitted", ""),
        ("Server launched", "2.00 s later"),
        ("Server is up", "1.00 s later"),
        ("Try 1 ended", "5.00 s later"),
        ("Program started", "1.50 s later"),
        ("Program ended: failed", "1m later"),
    ]
    assert steps[0].detail == "python <b>job</b>.py"
    assert steps[1].detail.startswith("i-0123456789abcdef0, t3.micro. It is server 2")
    assert steps[2].detail == "The environment was built, in 4.2 s."
    assert steps[3].detail == "it failed. Again after 1.5 s."
    assert steps[-1].detail == "Exit code 3."
    assert steps[-1].state == "failed"


@pytest.fixture
def in_tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as changed:
        changed.setenv("TZ", "JST-9")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("in_tokyo")
def test_the_last_time_that_a_program_can_write_is_a_time() -> None:
    """There is none in Tokyo for it."""
    last = "9999-12-31T23:59:59Z"
    assert as_moment("9999-12-31T14:59:59Z") == "9999-12-31 23:59:59"
    assert as_moment(last) == "9999-12-31 23:59:59"
    assert job_steps(replace(ENDED, ended=last), STATUS)[-1].when == "9999-12-31 23:59:59"
