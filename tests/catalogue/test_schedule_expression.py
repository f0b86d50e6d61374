"""AWS's at, rate and cron expressions, held against calendars written out by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from skylift.catalogue.schedule_expression import ExpressionError, next_time, parse


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def times(expression: str, after: str, count: int, zone: str = "", anchor: str | None = None) -> list[str]:
    """The next ones, each after the last, in UTC."""
    found, at = [], moment(after)
    for _ in range(count):
        following = next_time(expression, zone, at, moment(anchor or after))
        if following is None:
            found.append("never")
            break
        at = following
        found.append(f"{at:%Y-%m-%dT%H:%M}")
    return found


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        ("cron(0 2 * * ? *)", "2026-11-28T01:59:59", ["2026-11-28T02:00", "2026-11-29T02:00"]),
        ("cron(0 2 * * ? *)", "2026-11-28T02:00:00", ["2026-11-29T02:00"]),
        ("cron(15 10 ? * 6L 2022-2023)", "2022-11-30T00:00", ["2022-12-30T10:15", "2023-01-27T10:15"]),
        ("cron(0/20 9-10 ? * MON-FRI *)", "2026-11-27T10:30", ["2026-11-27T10:40", "2026-11-30T09:00"]),
        ("cron(0 8 1 * ? *)", "2026-11-28T00:00", ["2026-12-01T08:00", "2027-01-01T08:00"]),
        ("cron(0 0 L * ? *)", "2027-02-01T00:00", ["2027-02-28T00:00", "2027-03-31T00:00"]),
        ("cron(0 0 L FEB ? *)", "2027-03-01T00:00", ["2028-02-29T00:00"]),
        ("cron(0 0 31 * ? *)", "2027-01-31T00:00", ["2027-03-31T00:00", "2027-05-31T00:00"]),
        # The 1st of August 2026 is a Saturday, the 31st of May a Sunday: neither leaves its month.
        ("cron(0 0 1W 8 ? 2026)", "2026-07-01T00:00", ["2026-08-03T00:00", "never"]),
        ("cron(0 0 31W 5 ? 2026)", "2026-05-01T00:00", ["2026-05-29T00:00", "never"]),
        ("cron(0 0 15W * ? *)", "2026-08-01T00:00", ["2026-08-14T00:00", "2026-09-15T00:00"]),
        ("cron(0 0 ? * 2#1 *)", "2026-11-01T00:00", ["2026-11-02T00:00", "2026-12-07T00:00"]),
        ("cron(0 0 ? * FRI#5 *)", "2026-11-01T00:00", ["2027-01-29T00:00", "2027-04-30T00:00"]),
        ("cron(0 0 ? * L *)", "2026-11-27T00:00", ["2026-11-28T00:00", "2026-12-05T00:00"]),
        ("cron(0 0 ? * 1 *)", "2026-11-28T00:00", ["2026-11-29T00:00"]),
        ("cron(5,35 14 ? jan-mar/2 sun *)", "2027-01-31T14:05", ["2027-01-31T14:35", "2027-03-07T14:05"]),
        ("cron(0 0 29 2 ? *)", "2026-11-28T00:00", ["2028-02-29T00:00", "2032-02-29T00:00"]),
        ("cron(0 0 30 2 ? *)", "2026-11-28T00:00", ["never"]),
        ("cron(0 0 1 1 ? 2199)", "2026-11-28T00:00", ["2199-01-01T00:00", "never"]),
        ("cron(0 0 1 1 ? 2026)", "2026-11-28T00:00", ["never"]),
        ("at(2026-11-28T02:00:00)", "2026-11-28T01:00", ["2026-11-28T02:00", "never"]),
        ("at(2026-11-28T02:00:00)", "2026-11-28T02:00", ["never"]),
    ],
)
def test_it_is_due(expression: str, after: str, expected: list[str]) -> None:
    assert times(expression, after, len(expected)) == expected


@pytest.mark.parametrize(
    ("expression", "zone", "after", "expected"),
    [
        # Berlin is at UTC+1, and at UTC+2 from 29 March to 25 October 2026.
        ("cron(0 2 * * ? *)", "Europe/Berlin", "2026-11-28T00:00", ["2026-11-28T01:00", "2026-11-29T01:00"]),
        ("cron(0 9 * * ? *)", "Europe/Berlin", "2026-03-28T00:00", ["2026-03-28T08:00", "2026-03-29T07:00"]),
        # 02:30 is not there on the 29th of March: that day is left out.
        ("cron(30 2 * * ? *)", "Europe/Berlin", "2026-03-28T00:00", ["2026-03-28T01:30", "2026-03-30T00:30"]),
        # 02:30 is there twice on the 25th of October: the first counts.
        ("cron(30 2 * * ? *)", "Europe/Berlin", "2026-10-25T00:00", ["2026-10-25T00:30", "2026-10-26T01:30"]),
        ("cron(30 2 * * ? *)", "Europe/Berlin", "2026-10-25T00:45", ["2026-10-26T01:30"]),
        ("cron(0/30 2-3 * * ? *)", "Europe/Berlin", "2026-10-25T00:30", ["2026-10-25T02:00", "2026-10-25T02:30"]),
        ("at(2026-07-01T12:00:00)", "America/New_York", "2026-06-01T00:00", ["2026-07-01T16:00", "never"]),
        ("at(2026-03-08T02:30:00)", "America/New_York", "2026-01-01T00:00", ["never"]),
        ("cron(0 0 * * ? *)", "Pacific/Kiritimati", "2026-11-28T09:00", ["2026-11-28T10:00"]),
        # A day of a rate is 24 hours, whatever the clocks do.
        ("rate(1 day)", "Europe/Berlin", "2026-03-28T12:00", ["2026-03-29T12:00", "2026-03-30T12:00"]),
    ],
)
def test_it_follows_the_clocks_of_its_zone(expression: str, zone: str, after: str, expected: list[str]) -> None:
    assert times(expression, after, len(expected), zone) == expected


def test_a_rate_counts_from_its_anchor() -> None:
    assert times("rate(5 minutes)", "2026-11-28T00:12", 2, anchor="2026-11-28T00:00") == [
        "2026-11-28T00:15",
        "2026-11-28T00:20",
    ]
    assert times("rate(36 hours)", "2026-11-28T00:00", 1, anchor="2026-12-01T00:00") == ["2026-12-01T00:00"]


def test_a_year_of_days_is_as_the_calendar_has_it() -> None:
    at, start = moment("2026-01-01T00:00") - timedelta(seconds=1), datetime(2026, 1, 1, 6, tzinfo=UTC)
    for day in range(365):
        found = next_time("cron(0 6 * * ? *)", "", at, at)
        assert found == start + timedelta(days=day)
        at = found


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("0 2 * * ? *", "it has to be at"),
        ("cron(0 2 * * *)", "six fields"),
        ("cron(0 2 * * * *)", "exactly one"),
        ("cron(0 2 ? * ? *)", "exactly one"),
        ("cron(60 2 * * ? *)", "'60' of minutes"),
        ("cron(0 24 * * ? *)", "'24' of hours"),
        ("cron(0 2 0 * ? *)", "'0' of day of month"),
        ("cron(0 2 32W * ? *)", "'32' of day of month"),
        ("cron(0 2 ? * 8 *)", "'8' of day of week"),
        ("cron(0 2 ? * 0 *)", "'0' of day of week"),
        ("cron(0 2 ? * 2#6 *)", "of day of week"),
        ("cron(0 2 ? 13 2 *)", "'13' of month"),
        ("cron(0 2 ? * 2 1969)", "'1969' of year"),
        ("cron(0 2 ? * 2 2200)", "'2200' of year"),
        ("cron(5-1 2 * * ? *)", "'5-1' of minutes"),
        ("cron(*/0 2 * * ? *)", "'*/0' of minutes"),
        ("cron(*-5 2 * * ? *)", "'*-5' of minutes"),
        ("cron(0 2 LW * ? *)", "'LW' of day of month"),
        ("cron(0 2 ? * FOO *)", "'FOO' of day of week"),
        ("cron(\u0665 2 * * ? *)", "of minutes"),
        ("cron(, 2 * * ? *)", "of minutes"),
        ("rate(0 minutes)", "a whole number"),
        ("rate(1.5 hours)", "a whole number"),
        ("rate(30 seconds)", "a whole number"),
        ("rate(999999999 days)", "a hundred years"),
        ("at(2026-11-28)", "yyyy-mm-ddThh:mm:ss"),
        ("at(2026-11-28T02:00:00Z)", "yyyy-mm-ddThh:mm:ss"),
        ("at(2026-02-30T02:00:00)", "is not a time"),
        ("at(0001-01-01T00:00:00)", "is not a time"),
    ],
)
def test_what_is_no_expression_is_refused_with_why(expression: str, why: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(expression, "Asia/Tokyo")
    assert why in str(caught.value)


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../../etc/passwd", "/etc/passwd", "a\0b"])
def test_what_is_no_time_zone_is_refused(zone: str) -> None:
    with pytest.raises(ExpressionError, match="not a time zone"):
        parse("rate(1 hour)", zone)
