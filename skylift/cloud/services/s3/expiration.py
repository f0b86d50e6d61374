"""When objects and versions expire by their bucket's rules, and the header that says so.

Source: the S3 user guide's "Lifecycle configuration elements", which counts days from an object's creation to the next
midnight UTC after them. Who has the header was recorded on AWS in `TestS3BucketLifecycle` of LocalStack's
tests/aws/services/s3/test_s3.snapshot.json.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, time, timedelta
from email.utils import format_datetime
from typing import NotRequired, TypedDict
from urllib.parse import quote

from skylift.cloud.domain.bucket import Bucket, LifecycleRule, ObjectVersion


class Expiring(TypedDict):
    Expiration: NotRequired[str]


def expiring(bucket: Bucket, found: ObjectVersion) -> Expiring:
    """The member that answers about the current version of a key have: when it expires first, and by which rule."""
    times = [(when, rule) for rule in enabled(bucket) if (when := expires(rule, found)) is not None]
    if not times:
        return {}
    when, rule = min(times, key=lambda each: each[0])
    date = format_datetime(when.astimezone(UTC), usegmt=True)
    return {"Expiration": f'expiry-date="{date}", rule-id="{quote(rule.id)}"'}


def enabled(bucket: Bucket) -> Iterable[LifecycleRule]:
    return (rule for rule in bucket.lifecycle if rule.enabled)


def expires(rule: LifecycleRule, found: ObjectVersion) -> datetime | None:
    """When the rule expires an object, if it is the current version."""
    if found.delete_marker or not applies(rule, found):
        return None
    return rule.date if rule.days is None else midnight_after(found.modified, rule.days)


Newer = Sequence[datetime]
"""When the newer versions of a key came, the next one first: none of the current version."""


def due(bucket: Bucket, found: ObjectVersion, newer: Newer, now: datetime) -> bool:
    """Whether a version expires now, or a delete marker goes if nothing is behind it."""
    if newer:
        # It ceased to be current when the next one came.
        return any(_removes_noncurrent(rule, found, newer[0], len(newer) - 1, now) for rule in enabled(bucket))
    if found.delete_marker:
        return any(_removes_marker(rule, found, now) for rule in enabled(bucket))
    return any(when is not None and when <= now for when in (expires(rule, found) for rule in enabled(bucket)))


def abandoned(rule: LifecycleRule, key: str, started: datetime, now: datetime) -> bool:
    """Whether an upload to this key has been in progress for too long."""
    if rule.abort_days is None or not key.startswith(rule.prefix or ""):
        return False
    return midnight_after(started, rule.abort_days) <= now


def midnight_after(moment: datetime, days: int) -> datetime:
    day = (moment.astimezone(UTC) + timedelta(days=days + 1)).date()
    return datetime.combine(day, time(), UTC)


def _removes_marker(rule: LifecycleRule, marker: ObjectVersion, now: datetime) -> bool:
    if not marker.key.startswith(rule.prefix or "") or rule.filters_content:
        return False
    if rule.expire_markers:
        return True
    when = rule.date if rule.days is None else midnight_after(marker.modified, rule.days)
    return when is not None and when <= now


def _removes_noncurrent(rule: LifecycleRule, found: ObjectVersion, since: datetime, newer: int, now: datetime) -> bool:
    """`since` is when it ceased to be current, `newer` how many noncurrent versions are newer."""
    if rule.noncurrent_days is None or newer < (rule.newer_noncurrent or 0) or not applies(rule, found):
        return False
    return midnight_after(since, rule.noncurrent_days) <= now


def applies(rule: LifecycleRule, found: ObjectVersion) -> bool:
    return (
        found.key.startswith(rule.prefix or "")
        and rule.tags.items() <= found.tags.items()
        and (rule.larger_than is None or found.size > rule.larger_than)
        and (rule.smaller_than is None or found.size < rule.smaller_than)
    )
