"""When a schedule is due: `at(...)`, `rate(...)` and `cron(...)`, in a time zone.

AWS says what happens when clocks change: a time that does not exist is skipped, one that comes twice counts once, and a
day of a rate is 24 hours. Its cron has six fields and words of its own (`?`, `L`, `W`, `#`, Sunday is 1), which no
library of Unix's cron reads.

https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_EXPRESSION = re.compile(r"(at|rate|cron)\((.*)\)", re.ASCII)
_AT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", re.ASCII)
_RATE = re.compile(r"([1-9]\d{0,8}) (minute|hour|day)s?", re.ASCII)
_PART = re.compile(r"(\*|\w+)(?:-(\w+))?(?:/(\d{1,4}))?", re.ASCII)
_NEAREST = re.compile(r"(\d{1,2})W", re.ASCII)
_LAST = re.compile(r"(\w+)L", re.ASCII)
_NTH = re.compile(r"(\w+)#([1-5])", re.ASCII)

_MONTHS = {name: number for number, name in enumerate("JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC".split(), 1)}
_WEEKDAYS = {name: number for number, name in enumerate("SUN MON TUE WED THU FRI SAT".split(), 1)}

FIRST_YEAR, LAST_YEAR = 1970, 2199
LONGEST_RATE = timedelta(days=36500)

Days = Callable[[int, int], set[int]]
"""(year, month) -> the days of the month that a field allows."""


class ExpressionError(ValueError):
    """Not an expression, or not a time zone."""


@dataclass(frozen=True)
class Once:
    """A moment; None where the zone's clocks skip it."""

    moment: datetime | None

    def after(self, moment: datetime, _anchor: datetime) -> datetime | None:
        return self.moment if self.moment is not None and self.moment > moment else None


@dataclass(frozen=True)
class Rate:
    """At the anchor, and every so often from there."""

    every: timedelta

    def after(self, moment: datetime, anchor: datetime) -> datetime | None:
        if anchor > moment:
            return anchor
        try:
            return anchor + ((moment - anchor) // self.every + 1) * self.every
        except OverflowError:
            return None


@dataclass(frozen=True)
class Cron:
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    months: frozenset[int]
    years: tuple[int, ...]
    days: Days
    zone: ZoneInfo

    def after(self, moment: datetime, _anchor: datetime) -> datetime | None:
        # Where clocks show less than now, it was earlier, or comes for the second time.
        shown = moment.astimezone(self.zone).replace(tzinfo=None)
        for day in self._days_from(shown.date()):
            today = day == shown.date()
            for hour in self.hours:
                if today and hour < shown.hour:
                    continue
                for minute in self.minutes:
                    if today and (hour, minute) < (shown.hour, shown.minute):
                        continue
                    found = _existing(datetime(day.year, day.month, day.day, hour, minute), self.zone)
                    if found is not None and found > moment:
                        return found
        return None

    def _days_from(self, first: date) -> Iterator[date]:
        for year in self.years:
            if year < first.year:
                continue
            for month in sorted(self.months):
                if (year, month) >= (first.year, first.month):
                    for day in sorted(self.days(year, month)):
                        if (found := date(year, month, day)) >= first:
                            yield found


Expression = Once | Rate | Cron


@lru_cache(maxsize=256)
def parse(text: str, zone_name: str) -> Expression:
    """Raises ExpressionError, with why."""
    zone = _zone(zone_name)
    match = _EXPRESSION.fullmatch(text)
    if match is None:
        raise ExpressionError("it has to be at(...), rate(...) or cron(...)")
    kind, inner = match[1], match[2].strip()
    if kind == "at":
        return Once(_at(inner, zone))
    return Rate(_rate(inner)) if kind == "rate" else _cron(inner, zone)


def next_time(text: str, zone_name: str, after: datetime, anchor: datetime) -> datetime | None:
    """The first time after a moment, in UTC, of an expression that was parsed before; None where there is none.

    `anchor` is the first time of a rate.
    """
    return parse(text, zone_name).after(after, anchor)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ExpressionError(f"'{name}' is not a time zone of the IANA's") from error


def _existing(wall: datetime, zone: ZoneInfo) -> datetime | None:
    """The first time at which a zone's clocks show this, in UTC; None if they skip it."""
    moment = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    return moment if moment.astimezone(zone).replace(tzinfo=None) == wall else None


def _at(text: str, zone: ZoneInfo) -> datetime | None:
    if not _AT.fullmatch(text):
        raise ExpressionError("a time is written yyyy-mm-ddThh:mm:ss, without a zone")
    try:
        return _existing(datetime.fromisoformat(text), zone)
    except (ValueError, OverflowError) as error:
        raise ExpressionError(f"'{text}' is not a time") from error


def _rate(text: str) -> timedelta:
    match = _RATE.fullmatch(text)
    if match is None:
        raise ExpressionError("a rate is a whole number and minutes, hours or days")
    try:
        every = timedelta(**{f"{match[2]}s": int(match[1])})
    except OverflowError:
        every = LONGEST_RATE
    if every >= LONGEST_RATE:
        raise ExpressionError("a rate is shorter than a hundred years")
    return every


def _cron(text: str, zone: ZoneInfo) -> Cron:
    fields = text.upper().split()
    if len(fields) != 6:
        raise ExpressionError("cron has six fields: minutes, hours, day of month, month, day of week, year")
    minute, hour, of_month, month, of_week, year = fields
    if (of_month == "?") == (of_week == "?"):
        raise ExpressionError("exactly one of day of month and day of week has to be ?")
    return Cron(
        minutes=tuple(sorted(_numbers(minute, "minutes", 0, 59))),
        hours=tuple(sorted(_numbers(hour, "hours", 0, 23))),
        months=frozenset(_numbers(month, "month", 1, 12, _MONTHS)),
        years=tuple(sorted(_numbers(year, "year", FIRST_YEAR, LAST_YEAR))),
        days=_days_of_month(of_month) if of_week == "?" else _days_of_week(of_week),
        zone=zone,
    )


def _numbers(text: str, field: str, least: int, most: int, names: Mapping[str, int] | None = None) -> set[int]:
    """The numbers of a field that is a list of numbers, ranges and steps."""

    def number(word: str) -> int:
        found = (names or {}).get(word, int(word) if word.isdecimal() and len(word) <= 4 else -1)
        if not least <= found <= most:
            raise ExpressionError(f"'{word}' of {field} is not within {least} to {most}")
        return found

    found: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None or (match[1] == "*" and match[2]):
            raise ExpressionError(f"'{part}' of {field} is none of *, a number, a range and a step")
        step = int(match[3]) if match[3] else 1
        if match[1] == "*":
            first, last = least, most
        else:
            first = number(match[1])
            last = number(match[2]) if match[2] else most if match[3] else first
        if not step or last < first:
            raise ExpressionError(f"'{part}' of {field} is empty")
        found.update(range(first, last + 1, step))
    return found


def _days_of_month(text: str) -> Days:
    if text == "L":
        return lambda year, month: {_length(year, month)}
    if nearest := _NEAREST.fullmatch(text):
        (wanted,) = _numbers(nearest[1], "day of month", 1, 31)
        return lambda year, month: _nearest_weekday(year, month, wanted)
    numbers = _numbers(text, "day of month", 1, 31)
    return lambda year, month: {day for day in numbers if day <= _length(year, month)}


def _nearest_weekday(year: int, month: int, wanted: int) -> set[int]:
    """The working day of this month that is nearest to a day of it."""
    length = _length(year, month)
    if wanted > length:
        return set()
    weekday = calendar.weekday(year, month, wanted)
    if weekday == calendar.SATURDAY:
        return {wanted - 1 if wanted > 1 else wanted + 2}
    if weekday == calendar.SUNDAY:
        return {wanted + 1 if wanted < length else wanted - 2}
    return {wanted}


def _days_of_week(text: str) -> Days:
    if text == "L":
        text = "SAT"
    if nth := _NTH.fullmatch(text):
        (wanted,) = _numbers(nth[1], "day of week", 1, 7, _WEEKDAYS)
        return lambda year, month: set(_on(year, month, {wanted})[int(nth[2]) - 1 : int(nth[2])])
    if last := _LAST.fullmatch(text):
        (wanted,) = _numbers(last[1], "day of week", 1, 7, _WEEKDAYS)
        return lambda year, month: set(_on(year, month, {wanted})[-1:])
    numbers = _numbers(text, "day of week", 1, 7, _WEEKDAYS)
    return lambda year, month: set(_on(year, month, numbers))


def _on(year: int, month: int, weekdays: set[int]) -> list[int]:
    """The days of a month that are these days of the week; Sunday is 1."""
    first = calendar.weekday(year, month, 1)
    return [day for day in range(1, _length(year, month) + 1) if (first + day) % 7 + 1 in weekdays]


def _length(year: int, month: int) -> int:
    return calendar.monthrange(year, month)[1]
