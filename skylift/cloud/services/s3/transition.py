"""Lifecycle transitions: to which storage class a version goes, and when.

Sources: "Transitioning objects using Amazon S3 Lifecycle" of S3's guide, with its list of supported transitions and its
rule for small objects, and Transition in the API reference, by which each class takes any number of days from 0.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/lifecycle-transition-general-considerations.html
"""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import TYPE_CHECKING

from skylift.cloud.domain.bucket import Bucket, LifecycleRule, ObjectVersion, Transition
from skylift.cloud.services.s3.error import invalid_argument, invalid_request, malformed_xml
from skylift.cloud.services.s3.expiration import Newer, applies, enabled, midnight_after

if TYPE_CHECKING:
    from aws_shapes import s3

WARMEST_FIRST = (
    "STANDARD",
    "REDUCED_REDUNDANCY",
    "STANDARD_IA",
    "INTELLIGENT_TIERING",
    "ONEZONE_IA",
    "GLACIER_IR",
    "GLACIER",
    "DEEP_ARCHIVE",
)
TARGETS = WARMEST_FIRST[2:]
ARCHIVES = ("GLACIER", "DEEP_ARCHIVE")
SMALLEST = 128 * 1024
MOST_DAYS = 365_000


def checked(rule: s3.LifecycleRule) -> tuple[Transition, ...]:
    """The transitions of current versions."""
    found = tuple(_checked(one) for one in rule.get("Transitions", []))
    expiration = rule.get("Expiration", {})
    dated = {one.date is not None for one in found}
    if "Date" in expiration or "Days" in expiration:
        dated.add("Date" in expiration)
    if found and len(dated) > 1:
        raise invalid_request(
            "Found mixed 'Date' and 'Days' based Expiration and Transition actions in lifecycle rule "
            f"'{rule.get('ID', '')}'"
        )
    _refuse_twice([one.storage_class for one in found], "Transition")
    for one in found:
        if one.days is not None and expiration.get("Days", one.days + 1) <= one.days:
            raise invalid_argument(
                "Days", expiration["Days"], "'Days' in the Expiration action must be greater than in Transition actions"
            )
        if one.date is not None and "Date" in expiration and expiration["Date"] <= one.date:
            raise invalid_argument(
                "Date", expiration["Date"], "'Date' in the Expiration action must be later than in Transition actions"
            )
    return found


def checked_noncurrent(rule: s3.LifecycleRule) -> tuple[Transition, ...]:
    found = tuple(_checked_noncurrent(one) for one in rule.get("NoncurrentVersionTransitions", []))
    _refuse_twice([one.storage_class for one in found], "NoncurrentVersionTransition")
    end = rule.get("NoncurrentVersionExpiration", {}).get("NoncurrentDays")
    if end is not None and any(one.days is not None and one.days >= end for one in found):
        raise invalid_argument(
            "NoncurrentDays", end, "'NoncurrentDays' of the expiration must be greater than that of transitions"
        )
    return found


def move(bucket: Bucket, found: ObjectVersion, newer: Newer, now: datetime) -> str | None:
    """The class that a version changes to now."""
    due = [
        one.storage_class
        for rule in enabled(bucket)
        if not found.delete_marker and applies(rule, found)
        for one in (rule.noncurrent_transitions if newer else rule.transitions)
        if _when(one, newer[0] if newer else found.modified) <= now
        and (not newer or len(newer) - 1 >= (one.newer or 0))
        and _is_large_enough(bucket, rule, found, one)
        and _leads(found.storage_class, one.storage_class)
    ]
    return max(due, key=WARMEST_FIRST.index) if due else None


def _when(one: Transition, since: datetime) -> datetime:
    if one.date is not None:
        return one.date
    assert one.days is not None, "a transition has a date or days"
    return midnight_after(since, one.days)


def _is_large_enough(bucket: Bucket, rule: LifecycleRule, version: ObjectVersion, one: Transition) -> bool:
    """Small ones stay where they are, unless the rule has a size of its own, or the bucket lets archives have them."""
    if rule.larger_than is not None or rule.smaller_than is not None:
        return True
    return version.size >= SMALLEST or (bucket.archives_small and one.storage_class in ARCHIVES)


def _leads(before: str, after: str) -> bool:
    """Whether S3 supports this transition: only to what is colder."""
    if (before, after) == ("ONEZONE_IA", "GLACIER_IR"):
        return False
    return WARMEST_FIRST.index(after) > WARMEST_FIRST.index(before)


def _checked(asked: s3.Transition) -> Transition:
    storage_class = asked.get("StorageClass", "")
    if storage_class not in TARGETS or ("Days" in asked) == ("Date" in asked):
        raise malformed_xml()
    date = asked.get("Date")
    if date is not None and date.astimezone(UTC).time() != time():
        raise invalid_argument("Date", date.astimezone(UTC).isoformat(), "'Date' must be at midnight GMT")
    return Transition(storage_class, days=_days("Days", asked.get("Days"), "Transition"), date=date)


def _checked_noncurrent(asked: s3.NoncurrentVersionTransition) -> Transition:
    storage_class, newer = asked.get("StorageClass", ""), asked.get("NewerNoncurrentVersions")
    if storage_class not in TARGETS or "NoncurrentDays" not in asked:
        raise malformed_xml()
    if newer is not None and not 1 <= newer <= 100:
        raise invalid_argument("NewerNoncurrentVersions", newer, "'NewerNoncurrentVersions' must be between 1 and 100")
    days = _days("NoncurrentDays", asked["NoncurrentDays"], "NoncurrentVersionTransition")
    return Transition(storage_class, days=days, newer=newer)


def _days(name: str, given: int | None, action: str) -> int | None:
    if given is not None and not 0 <= given <= MOST_DAYS:
        raise invalid_argument(name, given, f"'{name}' for {action} action must be between 0 and {MOST_DAYS}")
    return given


def _refuse_twice(classes: list[str], action: str) -> None:
    if len(set(classes)) < len(classes):
        raise invalid_request(f"'StorageClass' must be different for each {action} action of a rule")


def described(one: Transition) -> s3.Transition:
    answer: s3.Transition = {"StorageClass": one.storage_class}
    if one.days is not None:
        answer["Days"] = one.days
    if one.date is not None:
        answer["Date"] = one.date
    return answer


def described_noncurrent(one: Transition) -> s3.NoncurrentVersionTransition:
    answer: s3.NoncurrentVersionTransition = {"StorageClass": one.storage_class}
    if one.days is not None:
        answer["NoncurrentDays"] = one.days
    if one.newer is not None:
        answer["NewerNoncurrentVersions"] = one.newer
    return answer
