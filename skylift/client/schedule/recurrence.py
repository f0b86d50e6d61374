"""A schedule's recurrence, as EventBridge Scheduler takes it. EventBridge decides; what it would surely refuse is
refused here first, while there is nothing to undo."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from skylift.catalogue.schedule_expression import ExpressionError, next_time
from skylift.client.errors import UsageError
from skylift.client.job.record import OVERLAPS
from skylift.client.text.visible import shown
from skylift.contract.record import Overlap

_AT = re.compile(r"at\(([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})\)")
_RATE = re.compile(r"rate\([1-9][0-9]{0,8} (?:minute|hour|day)s?\)")
_CRON = re.compile(r"cron\(([A-Za-z0-9*?/,#-]+(?: [A-Za-z0-9*?/,#-]+){5})\)")
_ZONE = re.compile(r"[A-Za-z0-9_+-]{1,32}(?:/[A-Za-z0-9_+-]{1,32}){0,2}")
_EXAMPLES = "Like 'cron(0 2 * * ? *)', 'rate(6 hours)' or 'at(2026-12-24T18:00:00)': docs/schedule.md."


@dataclass(frozen=True)
class Recurrence:
    expression: str
    timezone: str = "UTC"

    def next_run(self, now: datetime, anchor: datetime) -> datetime | None:
        """When it is due next, in UTC. `anchor` is the first time of a rate. None when it is not, or nobody knows."""
        try:
            return next_time(self.expression, self.timezone, now, anchor)
        except ExpressionError:
            return None

    def is_over(self, now: datetime) -> bool:
        """Whether it was due once, and that was before."""
        at = _moment_of(self.expression, _zone(self.timezone) or UTC)
        return at is not None and at <= now


def read_recurrence(expression: str, timezone: str, now: datetime) -> Recurrence:
    """Raises UsageError."""
    if not _ZONE.fullmatch(timezone) or (_zone(timezone) is None and available_timezones()):
        raise UsageError(f"--timezone {shown(timezone)}: there is no such time zone.", "A name is like Europe/Berlin.")
    if _AT.fullmatch(expression):
        found = Recurrence(expression, timezone)
        if _moment_of(expression, UTC) is None:
            raise UsageError(f"{expression}: there is no such time.", _EXAMPLES)
        if found.is_over(now):
            raise UsageError(f"{expression} is in the past ({timezone}).", "For now: skylift run.")
        return found
    if not _RATE.fullmatch(expression):
        _check_cron(expression)
    return Recurrence(expression, timezone)


def read_overlap(text: str) -> Overlap:
    """Raises UsageError."""
    found = next((each for each in OVERLAPS if each == text), None)
    if found is None:
        raise UsageError(f"--overlap {shown(text)} is none of {', '.join(OVERLAPS)}.")
    return found


def _check_cron(expression: str) -> None:
    found = _CRON.fullmatch(expression)
    if found is None:
        raise UsageError(f"{shown(expression)} does not say when.", _EXAMPLES)
    _, _, day_of_month, _, day_of_week, _ = found[1].split(" ")
    if (day_of_month == "?") == (day_of_week == "?"):
        raise UsageError(
            f"{expression}: one of its two day fields must be `?`, and the other one not.",
            "The fields: minutes, hours, day of month, month, day of week, year.",
        )


def _moment_of(expression: str, zone: tzinfo) -> datetime | None:
    found = _AT.fullmatch(expression)
    try:
        return None if found is None else datetime.fromisoformat(found[1]).replace(tzinfo=zone)
    except ValueError:
        return None


def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
