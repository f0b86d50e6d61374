"""Cron expressions, in time zones whose clocks change."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from skylift.cloud.cron import CronError, parse


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "zone", "after", "then"),
    [
        ("0 20 * * *", "", "2026-11-25T12:00", "2026-11-25T20:00"),
        ("0 20 * * *", "", "2026-11-25T20:00", "2026-11-26T20:00"),
        ("0 20 * * *", "Europe/Berlin", "2026-11-25T12:00", "2026-11-25T19:00"),
        ("0 20 * * *", "Europe/Berlin", "2026-07-25T12:00", "2026-07-25T18:00"),
        ("*/15 9-17 * * MON-FRI", "", "2026-11-27T17:45", "2026-11-30T09:00"),
        ("0 0 1 jan *", "Asia/Tokyo", "2026-11-25T12:00", "2026-12-31T15:00"),
        ("0 0 29 2 *", "", "2026-11-25T12:00", "2028-02-29T00:00"),
        ("0 0 13 * 5", "", "2026-11-11T00:00", "2026-11-13T00:00"),
        ("0 0 13 * 5", "", "2026-11-13T00:00", "2026-11-20T00:00"),
        ("0 0 * * 7", "", "2026-11-25T12:00", "2026-11-29T00:00"),
        ("5/20 * * * *", "", "2026-11-25T12:06", "2026-11-25T12:25"),
        # 2:30 is not there on 29 March, and there twice on 25 October.
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00", "2026-03-29T01:30"),
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00", "2026-10-25T00:30"),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T00:30", "2026-10-26T01:30"),
        ("0 12 * * *", "Pacific/Kiritimati", "2026-11-25T12:00", "2026-11-25T22:00"),
    ],
)
def test_the_next_time(expression: str, zone: str, after: str, then: str) -> None:
    assert parse(expression, zone).after(at(after)) == at(then)


def test_a_day_that_never_comes() -> None:
    assert parse("0 0 30 2 *").after(at("2026-11-25T12:00")) is None


@pytest.mark.parametrize(
    "expression",
    [
        *("", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8"),
        *("a * * * *", "5-1 * * * *", "*/0 * * * *", "1,,2 * * * *", "- * * * *", "٣ * * * *", "1-2-3 * * * *"),
        *("* * * * mon-", "²  * * * *"),
    ],
)
def test_what_is_no_expression(expression: str) -> None:
    with pytest.raises(CronError):
        parse(expression)


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../etc/passwd", "/etc/localtime", "Europe"])
def test_what_is_no_time_zone(zone: str) -> None:
    with pytest.raises(CronError, match="not a time zone"):
        parse("0 0 * * *", zone)
