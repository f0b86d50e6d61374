"""Cron expressions, in time zones whose clocks change."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from skylift.cloud.services.autoscaling.recurrence import RecurrenceError, next_time


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
        ("0 12 * * *", "Pacific/Kiritimati", "2026-11-25T12:00", "2026-11-25T22:00"),
        ("0 12 * * *", "", "2026-11-25T11:59:59.999999", "2026-11-25T12:00"),
        ("0 12 * * *", "", "2026-11-25T12:00:00.000001", "2026-11-26T12:00"),
    ],
)
def test_the_next_time(expression: str, zone: str, after: str, then: str) -> None:
    assert next_time(expression, zone, at(after)) == at(then)


# In Berlin 29 March 2026 has no time from 2:00 to 3:00 (1:00 UTC is 3:00), and 25 October has it twice (from 0:00 and
# from 1:00 UTC). In New York the clock goes from 2:00 to 3:00 on 8 March (7:00 UTC), and back on 1 November (6:00 UTC).
@pytest.mark.parametrize(
    ("expression", "zone", "after", "times"),
    [
        # Skipped: right after, once, and from the next day on as ever.
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00", ["2026-03-29T01:00", "2026-03-30T00:30"]),
        ("0,30 2 * * *", "Europe/Berlin", "2026-03-28T12:00", ["2026-03-29T01:00", "2026-03-30T00:00"]),
        ("30 2 8 3 *", "America/New_York", "2026-03-01T12:00", ["2026-03-08T07:00", "2027-03-08T07:30"]),
        # Not skipped: as the clock says, before and after.
        ("30 1,3 * * *", "Europe/Berlin", "2026-03-28T12:00", ["2026-03-29T00:30", "2026-03-29T01:30"]),
        # Twice: the first time.
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00", ["2026-10-25T00:30", "2026-10-26T01:30"]),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T00:30", ["2026-10-26T01:30"]),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T01:15", ["2026-10-26T01:30"]),
        ("0 1 * * *", "America/New_York", "2026-10-31T12:00", ["2026-11-01T05:00", "2026-11-02T06:00"]),
        # By the clock: each hour that there is.
        ("0 * * * *", "Europe/Berlin", "2026-03-28T23:30", [f"2026-03-29T0{hour}:00" for hour in range(4)]),
        (
            "0 * * * *",
            "Europe/Berlin",
            "2026-10-24T22:30",
            ["2026-10-24T23:00", *(f"2026-10-25T0{h}:00" for h in range(4))],
        ),
        ("*/30 2 * * *", "Europe/Berlin", "2026-03-28T12:00", ["2026-03-30T00:00", "2026-03-30T00:30"]),
        (
            "*/30 2 * * *",
            "Europe/Berlin",
            "2026-10-24T12:00",
            ["2026-10-25T00:00", "2026-10-25T00:30", "2026-10-25T01:00", "2026-10-25T01:30", "2026-10-26T01:00"],
        ),
        # On Lord Howe Island the clock goes back by half an hour, from 2:00 (15:00 UTC) to 1:30.
        (
            "30 * * * *",
            "Australia/Lord_Howe",
            "2026-04-04T14:00",
            ["2026-04-04T14:30", "2026-04-04T15:00", "2026-04-04T16:00"],
        ),
        ("45 * * * *", "Australia/Lord_Howe", "2026-04-04T14:00", ["2026-04-04T14:45", "2026-04-04T15:15"]),
        ("0 * * * *", "Australia/Lord_Howe", "2026-04-04T13:30", ["2026-04-04T14:00", "2026-04-04T15:30"]),
        ("30 1 * * *", "Australia/Lord_Howe", "2026-04-04T14:00", ["2026-04-04T14:30", "2026-04-05T15:00"]),
        ("*/30 * * * *", "Australia/Lord_Howe", "2026-04-04T14:00", [f"2026-04-04T1{at}" for at in ("4:30", "5:00")]),
        # Without a zone there is no such time.
        ("30 2 * * *", "", "2026-03-28T12:00", ["2026-03-29T02:30", "2026-03-30T02:30"]),
    ],
)
def test_where_the_clock_is_changed(expression: str, zone: str, after: str, times: list[str]) -> None:
    found, moment = [], at(after)
    for _ in times:
        following = next_time(expression, zone, moment)
        assert following is not None
        found.append(following)
        moment = following
    assert found == [at(time) for time in times]


@pytest.mark.parametrize(
    "expression",
    [
        *("", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8"),
        *("a * * * *", "5-1 * * * *", "*/0 * * * *", "1,,2 * * * *", "- * * * *", "٣ * * * *", "1-2-3 * * * *"),
        *("* * * * mon-", "²  * * * *", "0 0 30 2 *", "* * L * *", "* * LW * *", "* * * * 5L", "* * * * 5#2", "@daily"),
        *("*/100 * * * *", "099 * * * *", "* * * mon *", "* * * * jan", "0 0 * * * 2026", "? * * * *"),
    ],
)
def test_what_is_no_expression(expression: str) -> None:
    with pytest.raises(RecurrenceError):
        next_time(expression, "", at("2026-11-25T12:00"))


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../etc/passwd", "/etc/localtime", "Europe"])
def test_what_is_no_time_zone(zone: str) -> None:
    with pytest.raises(RecurrenceError, match="not a time zone"):
        next_time("0 0 * * *", zone, at("2026-11-25T12:00"))
