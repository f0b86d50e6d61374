"""The lifecycle configuration of a bucket: rules by which objects, versions, delete markers and uploads expire, and
versions change their storage class.

Sources: PutBucketLifecycleConfiguration in S3's API reference; refusals as recorded on AWS in
`test_put_bucket_lifecycle_conf_exc` of LocalStack's tests/aws/services/s3/test_s3.snapshot.json.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, time
from typing import TYPE_CHECKING

from skylift.cloud.domain.bucket import FilterForm, LifecycleRule
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.services.api.operation import Nothing
from skylift.cloud.services.s3 import transition
from skylift.cloud.services.s3.error import invalid_argument, invalid_request, malformed_xml
from skylift.cloud.services.s3.operation import check_bucket, on_bucket, sets
from skylift.cloud.services.s3.rules import bucket_of
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import s3

MOST_RULES = 1000
MOST_DAYS = 365_000
"""Days are added to dates, which end."""
NEVER_SMALL, ARCHIVES_SMALL = "all_storage_classes_128K", "varies_by_storage_class"
"""Which small objects transitions leave where they are."""


def put(
    tx: Tx, caller: Caller, params: s3.PutBucketLifecycleConfigurationRequest
) -> s3.PutBucketLifecycleConfigurationOutput:
    bucket = bucket_of(tx, caller, params)
    listed = params.get("LifecycleConfiguration", {"Rules": []})["Rules"]
    if not 1 <= len(listed) <= MOST_RULES:
        raise malformed_xml()
    rules = tuple(map(_checked, listed))
    if len({rule.id for rule in rules}) < len(rules):
        raise invalid_argument("ID", "", "Rule ID must be unique. Found same ID for more than one rule")
    smallest = params.get("TransitionDefaultMinimumObjectSize", NEVER_SMALL)
    if smallest not in (NEVER_SMALL, ARCHIVES_SMALL):
        raise invalid_request(f"Invalid TransitionDefaultMinimumObjectSize found: {smallest}")
    tx.save(replace(bucket, lifecycle=rules, archives_small=smallest == ARCHIVES_SMALL))
    return {"TransitionDefaultMinimumObjectSize": smallest}


def get(
    tx: Tx, caller: Caller, params: s3.GetBucketLifecycleConfigurationRequest
) -> s3.GetBucketLifecycleConfigurationOutput:
    bucket = bucket_of(tx, caller, params)
    if not bucket.lifecycle:
        raise ServiceError(
            "NoSuchLifecycleConfiguration",
            "The lifecycle configuration does not exist",
            status=404,
            BucketName=bucket.name,
        )
    return {
        "Rules": [_described(rule) for rule in bucket.lifecycle],
        "TransitionDefaultMinimumObjectSize": ARCHIVES_SMALL if bucket.archives_small else NEVER_SMALL,
    }


def delete(tx: Tx, caller: Caller, params: s3.DeleteBucketLifecycleRequest) -> Nothing:
    tx.save(replace(bucket_of(tx, caller, params), lifecycle=(), archives_small=False))
    return {}


def _checked(rule: s3.LifecycleRule) -> LifecycleRule:
    if rule["Status"] not in ("Enabled", "Disabled"):
        raise malformed_xml()
    if len(rule.get("ID", "")) > 255:
        raise invalid_argument("ID", rule.get("ID"), "ID length should not exceed allowed limit of 255")
    found = _expiring(_filtered(rule), rule)
    acts = (found.days, found.date, found.noncurrent_days, found.abort_days)
    moves = found.transitions or found.noncurrent_transitions
    if not found.expire_markers and not moves and all(each is None for each in acts) and "Expiration" not in rule:
        raise invalid_request("At least one action needs to be specified in a rule.")
    if found.filters_content and (found.abort_days is not None or found.expire_markers):
        action = "AbortIncompleteMultipartUpload" if found.abort_days is not None else "ExpiredObjectDeleteMarker"
        raise invalid_request(f"{action} cannot be specified with Tags or object sizes.")
    return found


def _filtered(rule: s3.LifecycleRule) -> LifecycleRule:
    """The rule with what it is about: the older `Prefix` of its own, or a filter of one condition or of `And`."""
    made = LifecycleRule(id=rule.get("ID") or secrets.token_urlsafe(36), enabled=rule["Status"] == "Enabled")
    if ("Prefix" in rule) == ("Filter" in rule):
        raise malformed_xml()
    if "Prefix" in rule:
        return replace(made, form="rule", prefix=rule["Prefix"])
    given: Mapping[str, object] = rule["Filter"]
    if len(given) > 1:
        raise malformed_xml()
    if "And" not in given:
        tag = rule["Filter"].get("Tag")
        return _conditioned(made, "filter", rule["Filter"], [tag] if tag is not None else [])
    both = rule["Filter"]["And"]
    if len(both.get("Tags", [])) + sum(name != "Tags" for name in both) < 2:
        raise malformed_xml()
    return _conditioned(made, "and", both, both.get("Tags", []))


def _conditioned(
    made: LifecycleRule,
    form: FilterForm,
    given: s3.LifecycleRuleFilter | s3.LifecycleRuleAndOperator,
    tags: list[s3.Tag],
) -> LifecycleRule:
    if len({tag["Key"] for tag in tags}) < len(tags):
        raise invalid_request("Duplicate Tag Keys are not allowed.")
    larger, smaller = given.get("ObjectSizeGreaterThan"), given.get("ObjectSizeLessThan")
    if any(size is not None and size < 0 for size in (larger, smaller)):
        raise invalid_request("The size of an object must not be negative.")
    if larger is not None and smaller is not None and larger >= smaller:
        raise invalid_request("'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'.")
    return replace(
        made,
        form=form,
        prefix=given.get("Prefix"),
        tags={tag["Key"]: tag["Value"] for tag in tags},
        larger_than=larger,
        smaller_than=smaller,
    )


def _expiring(made: LifecycleRule, rule: s3.LifecycleRule) -> LifecycleRule:
    expiration = rule.get("Expiration", {})
    if "Expiration" in rule and len(expiration) != 1:
        raise malformed_xml()
    date = expiration.get("Date")
    if date is not None and date.astimezone(UTC).time() != time():
        raise invalid_argument("Date", date.astimezone(UTC).isoformat(), "'Date' must be at midnight GMT")
    noncurrent = rule.get("NoncurrentVersionExpiration", {})
    if "NoncurrentVersionExpiration" in rule and "NoncurrentDays" not in noncurrent:
        raise malformed_xml()
    abort = rule.get("AbortIncompleteMultipartUpload", {})
    if "AbortIncompleteMultipartUpload" in rule and "DaysAfterInitiation" not in abort:
        raise malformed_xml()
    return replace(
        made,
        days=_positive("Days", expiration.get("Days"), "Expiration", MOST_DAYS),
        date=date,
        expire_markers=expiration.get("ExpiredObjectDeleteMarker"),
        noncurrent_days=_positive(
            "NoncurrentDays", noncurrent.get("NoncurrentDays"), "NoncurrentVersionExpiration", MOST_DAYS
        ),
        newer_noncurrent=_positive(
            "NewerNoncurrentVersions", noncurrent.get("NewerNoncurrentVersions"), "NoncurrentVersionExpiration", 100
        ),
        transitions=transition.checked(rule),
        noncurrent_transitions=transition.checked_noncurrent(rule),
        abort_days=_positive(
            "DaysAfterInitiation", abort.get("DaysAfterInitiation"), "AbortIncompleteMultipartUpload", MOST_DAYS
        ),
    )


def _positive(name: str, given: int | None, action: str, most: int) -> int | None:
    if given is not None and given <= 0:
        raise invalid_argument(name, given, f"'{name}' for {action} action must be a positive integer")
    if given is not None and given > most:
        raise invalid_argument(name, given, f"'{name}' for {action} action must be at most {most}")
    return given


def _described(rule: LifecycleRule) -> s3.LifecycleRule:
    answer: s3.LifecycleRule = {"ID": rule.id, "Status": "Enabled" if rule.enabled else "Disabled"}
    if rule.form == "rule":
        answer["Prefix"] = rule.prefix or ""
    else:
        answer["Filter"] = _described_filter(rule)
    if rule.days is not None:
        answer["Expiration"] = {"Days": rule.days}
    elif rule.date is not None:
        answer["Expiration"] = {"Date": rule.date}
    elif rule.expire_markers is not None:
        answer["Expiration"] = {"ExpiredObjectDeleteMarker": rule.expire_markers}
    if rule.noncurrent_days is not None:
        answer["NoncurrentVersionExpiration"] = {"NoncurrentDays": rule.noncurrent_days}
        if rule.newer_noncurrent is not None:
            answer["NoncurrentVersionExpiration"]["NewerNoncurrentVersions"] = rule.newer_noncurrent
    if rule.transitions:
        answer["Transitions"] = [transition.described(one) for one in rule.transitions]
    if rule.noncurrent_transitions:
        answer["NoncurrentVersionTransitions"] = [
            transition.described_noncurrent(one) for one in rule.noncurrent_transitions
        ]
    if rule.abort_days is not None:
        answer["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": rule.abort_days}
    return answer


def _described_filter(rule: LifecycleRule) -> s3.LifecycleRuleFilter:
    both: s3.LifecycleRuleAndOperator = {}
    if rule.prefix is not None:
        both["Prefix"] = rule.prefix
    if rule.larger_than is not None:
        both["ObjectSizeGreaterThan"] = rule.larger_than
    if rule.smaller_than is not None:
        both["ObjectSizeLessThan"] = rule.smaller_than
    tags: list[s3.Tag] = [{"Key": key, "Value": value} for key, value in rule.tags.items()]
    if rule.form == "and":
        return {"And": {**both, "Tags": tags} if tags else both}
    if tags:
        return {"Tag": tags[0]}
    only: s3.LifecycleRuleFilter = {}
    if "Prefix" in both:
        only["Prefix"] = both["Prefix"]
    if "ObjectSizeGreaterThan" in both:
        only["ObjectSizeGreaterThan"] = both["ObjectSizeGreaterThan"]
    if "ObjectSizeLessThan" in both:
        only["ObjectSizeLessThan"] = both["ObjectSizeLessThan"]
    return only


_RULE = "LifecycleConfiguration.Rules"

OPERATIONS = (
    on_bucket(
        "PutBucketLifecycleConfiguration",
        put,
        check_bucket("PutLifecycleConfiguration"),
        f"{_RULE}.ID {_RULE}.Status {_RULE}.Prefix {_RULE}.Filter {_RULE}.Expiration "
        f"{_RULE}.NoncurrentVersionExpiration {_RULE}.AbortIncompleteMultipartUpload {_RULE}.Transitions "
        f"{_RULE}.NoncurrentVersionTransitions TransitionDefaultMinimumObjectSize ChecksumAlgorithm",
        writes=True,
    ),
    on_bucket("GetBucketLifecycleConfiguration", get, check_bucket("GetLifecycleConfiguration")),
    sets("DeleteBucketLifecycle", delete, "", "PutLifecycleConfiguration"),
)
