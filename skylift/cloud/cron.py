"""Cron expressions: five fields of minute, hour, day of month, month and day of week, in a time zone.

As in the Unix tool, a day fits by either of its two fields where both say something. A time that a clock skips when it
is put forward is an hour later, one that it shows twice is the first of the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

YEARS = 9
"""How far ahead a moment is looked for: 29 February may be eight years away."""

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


class CronError(ValueError):
    """Not an expression, or not a time zone."""


@dataclass(frozen=True)
class Cron:
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    any_day: bool
    any_weekday: bool
    zone: ZoneInfo

    def after(self, moment: datetime) -> datetime | None:
        """The first time after a moment, in UTC; None where there is none."""
        local = moment.astimezone(self.zone)
        # A day before: what the clock shows twice may be earlier by the calendar than what comes after it.
        day = local.date() - timedelta(days=1)
        for _ in range(YEARS * 366):
            if self._falls_on(day):
                for hour in sorted(self.hours):
                    for minute in sorted(self.minutes):
                        found = datetime.combine(day, time(hour, minute), self.zone).astimezone(UTC)
                        if found > moment:
                            return found
            day += timedelta(days=1)
        return None

    def _falls_on(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        by_month, by_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        if self.any_day or self.any_weekday:
            return by_month and by_week
        return by_month or by_week


def parse(expression: str, zone: str = "") -> Cron:
    """Raises CronError."""
    fields = expression.split()
    if len(fields) != 5:
        raise CronError(f"'{expression}' has {len(fields)} fields, not five")
    try:
        where = ZoneInfo(zone or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise CronError(f"'{zone}' is not a time zone of the IANA's") from error
    minute, hour, day, month, weekday = fields
    return Cron(
        minutes=_values(minute, 0, 59),
        hours=_values(hour, 0, 23),
        days=_values(day, 1, 31),
        months=_values(month, 1, 12, {name: number for number, name in enumerate(_MONTHS, start=1)}),
        weekdays=frozenset(
            number % 7 for number in _values(weekday, 0, 7, {name: number for number, name in enumerate(_DAYS)})
        ),
        any_day=day.startswith("*"),
        any_weekday=weekday.startswith("*"),
        zone=where,
    )


def _values(field: str, least: int, most: int, names: dict[str, int] | None = None) -> frozenset[int]:
    found: set[int] = set()
    for part in field.split(","):
        span, slash, step = part.partition("/")
        first, dash, last = span.partition("-")
        if span == "*":
            low, high = least, most
        else:
            low = _number(first, least, most, names)
            high = _number(last, least, most, names) if dash else most if slash else low
        if low > high:
            raise CronError(f"'{part}' ends before it begins")
        found.update(range(low, high + 1, _number(step, 1, most, None) if slash else 1))
    return frozenset(found)


def _number(text: str, least: int, most: int, names: dict[str, int] | None) -> int:
    known = (names or {}).get(text.lower())
    if known is not None:
        return known
    # No more than two digits, and of our own script's: int() takes others, too.
    if not (text.isascii() and text.isdigit() and len(text) <= 2) or not least <= int(text) <= most:
        raise CronError(f"'{text}' is not a number from {least} to {most}")
    return int(text)
