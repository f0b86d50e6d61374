"""AWS's timestamp formats, as each protocol writes and reads them.

Source: Smithy's `timestampFormat` trait (date-time, http-date, epoch-seconds), which botocore's models call `iso8601`,
`rfc822` and `unixtimestamp`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from functools import lru_cache


def iso_milliseconds(moment: datetime) -> str:
    """`2026-11-25T08:30:00.123Z`: EC2's documents."""
    return _iso(moment, "milliseconds") + "Z"


def iso_whole_seconds(moment: datetime) -> str:
    """`2026-11-25T08:30:00.000Z`: S3's documents, which have the form with milliseconds and no milliseconds."""
    return _iso(moment, "seconds") + ".000Z"


def iso_seconds(moment: datetime) -> str:
    """`2026-11-25T08:30:00Z`: IAM and STS."""
    return _iso(moment, "seconds") + "Z"


def _iso(moment: datetime, precision: str) -> str:
    """In UTC, cut rather than rounded. `strftime` takes four times as long, and a describe call writes hundreds."""
    in_utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return in_utc.isoformat(timespec=precision)[: -len("+00:00")]


@lru_cache(maxsize=256)
def http_date(moment: datetime) -> str:
    """`Wed, 25 Nov 2026 08:30:00 GMT`: headers. An object that is read again was changed when it was."""
    return format_datetime(moment.astimezone(UTC), usegmt=True)


FORMATS: dict[str, Callable[[datetime], str]] = {"iso8601": iso_milliseconds, "rfc822": http_date}


def parse(text: str) -> datetime:
    """An aware datetime from ISO 8601 or an HTTP date; without an offset it is UTC. ValueError for anything else."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = parsedate_to_datetime(text)
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
