"""When a schedule is due: what cannot be is said before anything is made."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from skylift.client.errors import UsageError
from skylift.client.schedule.recurrence import Recurrence, read_recurrence
from skylift.client.schedule.schedules import next_run

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "expression",
    [
        "cron(0 2 * * ? *)",
        "cron(0 8 ? * MON-FRI *)",
        "cron(30 6 L * ? *)",
        "cron(0 9 ? * 2#1 *)",
        "cron(0/15 9 15W * ? 2026-2030)",
        "rate(6 hours)",
        "rate(1 day)",
        "at(2026-11-28T12:00:01)",
    ],
)
def test_what_is_taken(expression: str) -> None:
    assert read_recurrence(expression, "UTC", NOW) == Recurrence(expression, "UTC")


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("", "does not say when"),
        ("0 2 * * *", "does not say when"),
        ("cron(0 2 * * *)", "does not say when"),
        ("cron(0 2 * * ? *) ", "does not say when"),
        ("cron(0 2 * * ? *)\n", "does not say when"),
        ("cron(0 2 * * ? $(id))", "does not say when"),
        ("cron(0  2 * * ?)", "does not say when"),
        ("rate(0 minutes)", "does not say when"),
        ("rate(5 seconds)", "does not say when"),
        ("every(1 day)", "does not say when"),
        ("cron(0 2 * * * *)", "one of its two day fields"),
        ("cron(0 2 ? * ? *)", "one of its two day fields"),
        ("at(2026-02-30T00:00:00)", "no such time"),
        ("at(2026-11-28T12:00:00)", "in the past"),
        ("\x1b[31mrate(1 day)", r"does not say when"),
    ],
)
def test_what_is_refused(expression: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        read_recurrence(expression, "UTC", NOW)
    assert "\x1b" not in caught.value.message


@pytest.mark.parametrize(
    "zone", ["", "Mars/Olympus", "../../etc/passwd", "/etc/localtime", "Europe/Berlin\n", "Europe/", "$(id)", "A" * 99]
)
def test_no_time_zone(zone: str) -> None:
    with pytest.raises(UsageError, match="no such time zone"):
        read_recurrence("rate(1 day)", zone, NOW)


def test_a_time_of_a_zone_is_that_zones() -> None:
    assert read_recurrence("at(2026-11-28T13:30:00)", "Europe/Berlin", NOW).is_over(NOW) is False
    with pytest.raises(UsageError, match=r"in the past \(Asia/Tokyo\)"):
        read_recurrence("at(2026-11-28T13:30:00)", "Asia/Tokyo", NOW)
    assert Recurrence("rate(1 day)").is_over(NOW) is False


@pytest.mark.parametrize(
    ("more", "due"),
    [
        ({}, "2026-11-28T12:30:00Z"),
        ({"StartDate": NOW + timedelta(days=2)}, "2026-11-30T12:00:00Z"),
        ({"StartDate": NOW - timedelta(hours=1)}, "2026-11-28T17:00:00Z"),
        ({"EndDate": NOW + timedelta(minutes=20)}, None),
        ({"EndDate": NOW + timedelta(hours=7)}, "2026-11-28T12:30:00Z"),
        ({"ScheduleExpression": "at(2026-11-29T00:00:00)"}, "2026-11-28T23:00:00Z"),
        ({"ScheduleExpression": "at(2026-11-28T00:00:00)"}, None),
        ({"ScheduleExpression": "cron(0 2 * * ? *)"}, "2026-11-29T01:00:00Z"),
        ({"ScheduleExpression": "cron(0 2 * * ? 2025)"}, None),
        ({"ScheduleExpression": "moon(full)"}, None),
        ({"ScheduleExpression": "cron(\x1b[2J)"}, None),
        ({"ScheduleExpressionTimezone": "../../etc/passwd", "ScheduleExpression": "cron(0 2 * * ? *)"}, None),
    ],
)
def test_the_next_run(more: dict[str, Any], due: str | None) -> None:
    """As EventBridge describes the schedule, or whatever else answers in its place."""
    found = {
        "ScheduleExpression": "rate(6 hours)",
        "ScheduleExpressionTimezone": "Europe/Berlin",
        "LastModificationDate": NOW - timedelta(hours=5, minutes=30),
        **more,
    }
    assert next_run(found, NOW) == due
