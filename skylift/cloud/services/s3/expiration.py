"""When objects and versions expire by their bucket's rules, and the header that says so.

Source: the S3 user guide's "Lifecycle configuration elements", which counts days from an object's creation to the next
midnight UTC after them. Who has the header was recorded on AWS in `TestS3BucketLifecycle` of LocalStack's
tests/aws/services/s3/test_s3.snapshot.json.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, time, timedelta
from email.utils import format_datetime
from typing import NotRequired, TypedDict
from urllib.parse import quote

from skylift.cloud.domain.bucket import Bucket, LifecycleRule, Object


class Expiring(TypedDict):
    Expiration: NotRequired[str]


def expiring(bucket: Bucket, found: Object) -> Expiring:
    """The member that answers about the current version of a key have: when it expires first, and by which rule."""
    times = [(when, rule) for rule in enabled(bucket) if (when := expires(rule, found)) is not None]
    if not times:
        return {}
    when, rule = min(times, key=lambda each: each[0])
    date = format_datetime(when.astimezone(UTC), usegmt=True)
    return {"Expiration": f'expiry-date="{date}", rule-id="{quote(rule.id)}"'}


def enabled(bucket: Bucket) -> Iterable[LifecycleRule]:
    return (rule for rule in bucket.lifecycle if rule.enabled)


def expires(rule: LifecycleRule, found: Object) -> datetime | None:
    """When the rule expires an object, if it is the current version."""
    if found.delete_marker or not applies(rule, found):
        return None
    return rule.date if rule.days is None else midnight_after(found.modified, rule.days)


def due(bucket: Bucket, versions: list[Object], now: datetime) -> tuple[bool, list[Object]]:
    """Whether the current version of a key expires, and which of its versions go for good.

    `versions` are all that the key has, newest first. A delete marker goes once it is alone: no bytes are behind it.
    """
    rules, current = tuple(enabled(bucket)), versions[0]
    if current.delete_marker:
        alone = len(versions) == 1 and any(_removes_marker(rule, current, now) for rule in rules)
        ends = False
    else:
        alone = False
        ends = any(when is not None and when <= now for when in (expires(rule, current) for rule in rules))
    gone = [current] if alone else []
    since = current.modified
    for place, version in enumerate(versions[1:]):
        if any(_removes_noncurrent(rule, version, since, place, now) for rule in rules):
            gone.append(version)
        since = version.modified
    return ends, gone


def abandoned(rule: LifecycleRule, key: str, started: datetime, now: datetime) -> bool:
    """Whether an upload to this key has been in progress for too long."""
    if rule.abort_days is None or not key.startswith(rule.prefix or ""):
        return False
    return midnight_after(started, rule.abort_days) <= now


def midnight_after(moment: datetime, days: int) -> datetime:
    day = (moment.astimezone(UTC) + timedelta(days=days + 1)).date()
    return datetime.combine(day, time(), UTC)


def _removes_marker(rule: LifecycleRule, marker: Object, now: datetime) -> bool:
    if not marker.key.startswith(rule.prefix or "") or rule.filters_content:
        return False
    if rule.expire_markers:
        return True
    when = rule.date if rule.days is None else midnight_after(marker.modified, rule.days)
    return when is not None and when <= now


def _removes_noncurrent(rule: LifecycleRule, version: Object, since: datetime, newer: int, now: datetime) -> bool:
    """`since` is when it ceased to be current, `newer` how many noncurrent versions are newer."""
    if rule.noncurrent_days is None or newer < (rule.newer_noncurrent or 0) or not applies(rule, version):
        return False
    return midnight_after(since, rule.noncurrent_days) <= now


def applies(rule: LifecycleRule, found: Object) -> bool:
    return (
        found.key.startswith(rule.prefix or "")
        and rule.tags.items() <= found.tags.items()
        and (rule.larger_than is None or found.size > rule.larger_than)
        and (rule.smaller_than is None or found.size < rule.smaller_than)
    )
