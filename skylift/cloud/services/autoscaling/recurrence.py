"""When something recurs: a cron expression of five fields, in a time zone.

AWS says that a schedule follows its time zone's daylight saving time, and not how; so this is as in Debian's cron(8).
An expression of a fixed minute and hour runs once a day: what falls into an hour that is skipped runs right after it,
what falls into an hour that comes twice runs the first time. Where minute or hour begins with `*`, the clock counts:
what falls into a skipped hour does not run, and into a doubled one it runs twice.

https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-scheduled-scaling.html
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_FIELDS = re.compile(
    r"""
    [\d*,/-]+ \s+ [\d*,/-]+ \s+ [\d*,/-]+ \s+
    (?: [\d*,/-] | jan | feb | mar | apr | may | jun | jul | aug | sep | oct | nov | dec )+ \s+
    (?: [\d*,/-] | sun | mon | tue | wed | thu | fri | sat )+
    """,
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)
"""The fields that Unix's cron knows. cronsim takes more: seconds, and days such as `L` and `5#2`."""
_LONGEST_STEP = timedelta(hours=2)
_LONG_NUMBER = re.compile(r"\d{3}", re.ASCII)


class RecurrenceError(ValueError):
    """Not an expression, or not a time zone."""


def next_time(expression: str, zone: str, after: datetime) -> datetime | None:
    """The first time after a moment, in UTC; None where there is none in fifty years. Raises RecurrenceError.

    `zone` is a name of the IANA's; UTC where it is empty.
    """
    # 4 ms that the start of the cloud does not have to take.
    from cronsim import CronSim, CronSimError  # noqa: PLC0415

    expression = expression.strip()
    if not _FIELDS.fullmatch(expression) or _LONG_NUMBER.search(expression):
        raise RecurrenceError(f"'{expression}' is not five fields of minute, hour, day, month and day of week")
    try:
        where = ZoneInfo(zone or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise RecurrenceError(f"'{zone}' is not a time zone of the IANA's") from error
    try:
        for found in CronSim(expression, after.astimezone(where)):
            # The clock may show a time again that was before.
            if (moment := found.astimezone(UTC)) > after:
                return _shown_again(expression, where, after, moment) or moment
    except CronSimError as error:
        raise RecurrenceError(f"{str(error).lower()} in '{expression}'") from error
    return None


def _shown_again(expression: str, where: ZoneInfo, after: datetime, moment: datetime) -> datetime | None:
    """A time between two others at which the clock, put back by less than an hour, shows a minute that matches again.

    cronsim goes from one hour's minute to the next hour's and misses the times between them, as on Lord Howe Island.
    """
    from cronsim import CronSim  # noqa: PLC0415

    shown = moment.astimezone(where).utcoffset()
    before = max(after, moment - _LONGEST_STEP)
    if expression.split()[1][0] != "*" or before.astimezone(where).utcoffset() == shown:
        return None
    begin, end = int(before.timestamp()), int(moment.timestamp())
    while end - begin > 1:
        middle = (begin + end) // 2
        is_changed = datetime.fromtimestamp(middle, where).utcoffset() == shown
        begin, end = (begin, middle) if is_changed else (middle, end)
    found: datetime = next(CronSim(expression, datetime.fromtimestamp(begin, where))).astimezone(UTC)
    return found if after < found < moment else None
