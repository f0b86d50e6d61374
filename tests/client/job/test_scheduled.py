"""Runs of a schedule, by their names and by their servers' tags: whoever writes these, nothing else comes out."""

from __future__ import annotations

from datetime import UTC, datetime
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylift.agent.boot import run_of
from skylift.client.job.job import NAME_FORM, Program
from skylift.client.job.scheduled import (
    RUN_PATTERNS,
    SCHEDULE_FORM,
    default_schedule,
    parse_run,
    run_name,
    run_of_tag,
    run_tag,
    tag_values,
)
from skylift.client.job.tags import TAG_JOB, job_of

NAMES = st.from_regex(SCHEDULE_FORM, fullmatch=True)
TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31)).map(
    lambda each: each.replace(microsecond=0, tzinfo=UTC)
)


def test_as_people_see_it() -> None:
    due = datetime(2026, 11, 28, 2, 0, tzinfo=UTC)
    assert run_name("nightly", due) == "nightly-20261128-0200"
    assert run_name("nightly", due.replace(second=7)) == "nightly-20261128-020007"
    assert run_tag("nightly", due) == "nightly/2026-11-28T02:00:00Z"


@given(NAMES, TIMES)
def test_name_and_tag_are_one_run_for_client_and_server(schedule: str, due: datetime) -> None:
    name, tag = run_name(schedule, due), run_tag(schedule, due)
    assert NAME_FORM.fullmatch(name)
    assert parse_run(name) == (schedule, due)
    assert run_of_tag(tag) == run_of(schedule, tag) == name
    assert job_of([{"Key": TAG_JOB, "Value": tag}]) == name
    assert tag_values(name) == [name, tag]


@given(NAMES, NAMES, TIMES)
def test_a_policy_of_one_schedule_names_no_run_of_another(one: str, other: str, due: datetime) -> None:
    name = run_name(other, due)
    matches = any(fnmatchcase(name, f"{one}-{pattern}") for pattern in RUN_PATTERNS)
    assert matches == (one == other)


@pytest.mark.parametrize("one", ["a", "a-b"])
def test_not_even_where_a_name_begins_with_the_other(one: str) -> None:
    due = datetime(2026, 11, 28, 2, 0, 7, tzinfo=UTC)
    for other in ("a", "a-b", "a-20261128", "a-b-20261128", "a-20261128-0200"):
        for when in (due, due.replace(second=0)):
            matches = any(fnmatchcase(run_name(other, when), f"{one}-{pattern}") for pattern in RUN_PATTERNS)
            assert matches == (one == other), other


@pytest.mark.parametrize(
    "tag",
    [
        "",
        "nightly",
        "nightly/",
        "/2026-11-28T02:00:00Z",
        "nightly/2026-02-30T02:00:00Z",
        "nightly/2026-11-28T02:00:00Z\n",
        "nightly/2026-11-28T02:00:00+01:00",
        "nightly/<aws.scheduler.scheduled-time>",
        "nightly/../../jobs/other",
        "../nightly/2026-11-28T02:00:00Z",
        "Nightly/2026-11-28T02:00:00Z",
        "nightly-/2026-11-28T02:00:00Z",
        "nightly/٢٠٢٦-11-28T02:00:00Z",
        f"{'n' * 25}/2026-11-28T02:00:00Z",
    ],
)
def test_a_tag_that_is_no_runs_is_nobodys(tag: str) -> None:
    assert run_of_tag(tag) == ""
    if "/" in tag:
        assert job_of([{"Key": TAG_JOB, "Value": tag}]) == ""


@pytest.mark.parametrize(
    "tag", ["other/2026-11-28T02:00:00Z", "nightly/2026-11-28", "nightly", "", "nightly/../../other", "%/x"]
)
def test_a_server_takes_no_tag_of_another_schedule(tag: str) -> None:
    with pytest.raises(ValueError, match="time data"):
        run_of("nightly", tag)


@pytest.mark.parametrize(
    "name",
    [
        "nightly",
        "nightly-20261128",
        "nightly-20261328-0200",
        "nightly-20261128-2460",
        "nightly-20261128-020000",
        "x-1-2",
    ],
)
def test_a_jobs_name_that_is_no_runs(name: str) -> None:
    assert parse_run(name) is None
    assert tag_values(name) == [name]


@pytest.mark.parametrize(
    ("program", "name"),
    [
        (Program("script", "jobs/Nightly Report.py"), "nightly-report"),
        (Program("module", "reports.daily"), "reports-daily"),
        (Program("command", "/usr/bin/make"), "make"),
        (Program("script", "a-name-that-is-longer-than-may-be.py"), "a-name-that-is-longer-th"),
        (Program("command", "***"), "job"),
    ],
)
def test_a_schedule_is_called_after_its_program(program: Program, name: str) -> None:
    assert default_schedule(program) == name
    assert SCHEDULE_FORM.fullmatch(name)
