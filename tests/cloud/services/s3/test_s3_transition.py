"""Lifecycle transitions: versions go to other storage classes.

What S3 does: "Transitioning objects using Amazon S3 Lifecycle",
https://docs.aws.amazon.com/AmazonS3/latest/userguide/lifecycle-transition-general-considerations.html
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from identity_fixtures import (
    START,
    Account,
    refused,
    storing_account_fixture,  # noqa: F401
)

from skylift.cloud.loops.s3.lifecycle import LifecycleLoop
from skylift.cloud.services.s3 import lifecycle_upkeep

LARGE = b"x" * 128 * 1024
MIDNIGHT = datetime(START.year, START.month, START.day, tzinfo=UTC)
ANY_SIZE = {"ObjectSizeGreaterThan": 0}


@pytest.fixture(autouse=True, name="bucket")
def bucket_fixture(account: Account) -> str:
    account.s3("CreateBucket", Bucket="bucket")
    return "bucket"


def to(storage_class: str, days: int = 1) -> dict[str, Any]:
    return {"StorageClass": storage_class, "Days": days}


def configure(account: Account, *transitions: dict[str, Any], small: str | None = None, **parts: Any) -> None:
    rule: dict[str, Any] = {"ID": "rule", "Status": "Enabled", "Filter": ANY_SIZE, **parts}
    if transitions:
        rule["Transitions"] = list(transitions)
    more = {"TransitionDefaultMinimumObjectSize": small} if small else {}
    rules = {"Rules": [rule]}
    account.s3("PutBucketLifecycleConfiguration", Bucket="bucket", LifecycleConfiguration=rules, **more)


def look(account: Account) -> None:
    again: list[float] = []
    loop = LifecycleLoop(account.database, lifecycle_upkeep, again.append)
    loop.step()
    while again:
        again.pop()
        loop.step()


def classes(account: Account) -> list[str]:
    """Of all versions, by key, newest first."""
    return [one["StorageClass"] for one in account.s3("ListObjectVersions", Bucket="bucket").get("Versions", [])]


def test_objects_move_at_the_midnight_after_their_days(account: Account) -> None:
    configure(account, to("STANDARD_IA", 2), to("GLACIER", 5))
    account.put("bucket", "key", b"data")
    before = account.s3("HeadObject", Bucket="bucket", Key="key")
    account.now = MIDNIGHT + timedelta(days=3, seconds=-1)
    look(account)
    assert classes(account) == ["STANDARD"]
    account.now = MIDNIGHT + timedelta(days=3)
    look(account)
    after = account.s3("HeadObject", Bucket="bucket", Key="key")
    assert after.pop("StorageClass") == "STANDARD_IA" and after == before, "nothing else of it is other than it was"
    account.now = MIDNIGHT + timedelta(days=6)
    look(account)
    assert classes(account) == ["GLACIER"]
    with refused("InvalidObjectState"):
        account.s3("GetObject", Bucket="bucket", Key="key")


def test_what_is_late_goes_to_the_last_class_at_once(account: Account) -> None:
    configure(account, to("STANDARD_IA", 1), to("DEEP_ARCHIVE", 2))
    account.put("bucket", "key", b"data")
    account.pass_time(days=9)
    look(account)
    assert classes(account) == ["DEEP_ARCHIVE"]


def test_a_date_moves_all_that_is_there(account: Account) -> None:
    configure(account, {"StorageClass": "GLACIER_IR", "Date": MIDNIGHT + timedelta(days=1)})
    account.put("bucket", "key", b"data")
    look(account)
    assert classes(account) == ["STANDARD"]
    account.pass_time(days=1)
    look(account)
    assert classes(account) == ["GLACIER_IR"]


@pytest.mark.parametrize(
    ("before", "asked", "after"),
    [
        ("GLACIER", "STANDARD_IA", "GLACIER"),
        ("GLACIER", "DEEP_ARCHIVE", "DEEP_ARCHIVE"),
        ("ONEZONE_IA", "GLACIER_IR", "ONEZONE_IA"),
        ("ONEZONE_IA", "GLACIER", "GLACIER"),
        ("INTELLIGENT_TIERING", "STANDARD_IA", "INTELLIGENT_TIERING"),
    ],
)
def test_objects_go_to_colder_classes_only(account: Account, before: str, asked: str, after: str) -> None:
    configure(account, to(asked))
    account.put("bucket", "key", b"data", StorageClass=before)
    account.pass_time(days=9)
    look(account)
    assert classes(account) == [after]


@pytest.mark.parametrize(
    ("small", "asked", "expected"),
    [
        (None, "GLACIER", ["STANDARD", "GLACIER"]),
        ("varies_by_storage_class", "GLACIER", ["GLACIER", "GLACIER"]),
        ("varies_by_storage_class", "GLACIER_IR", ["STANDARD", "GLACIER_IR"]),
    ],
)
def test_small_objects_stay_unless_they_are_asked_for(
    account: Account, small: str | None, asked: str, expected: list[str]
) -> None:
    configure(account, to(asked), small=small, Filter={})
    account.put("bucket", "a", LARGE[1:])
    account.put("bucket", "b", LARGE)
    account.pass_time(days=9)
    look(account)
    assert classes(account) == expected


def test_versions_that_are_not_current_have_transitions_of_their_own(account: Account) -> None:
    account.s3("PutBucketVersioning", Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
    moved = {"StorageClass": "GLACIER", "NoncurrentDays": 1, "NewerNoncurrentVersions": 1}
    configure(account, NoncurrentVersionTransitions=[moved])
    for number in range(4):
        account.put("bucket", "key", b"%d" % number)
    account.pass_time(days=9)
    look(account)
    assert classes(account) == ["STANDARD", "STANDARD", "GLACIER", "GLACIER"]
    account.s3("DeleteObject", Bucket="bucket", Key="key")
    account.pass_time(days=9)
    look(account)
    assert classes(account) == ["STANDARD", "GLACIER", "GLACIER", "GLACIER"]


def test_what_expires_does_not_move(account: Account) -> None:
    account.s3("PutBucketVersioning", Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
    configure(account, to("GLACIER", 1), Expiration={"Days": 2})
    account.put("bucket", "key", b"data")
    account.pass_time(days=9)
    look(account)
    assert classes(account) == ["STANDARD"]


def test_a_restored_copy_ends_with_its_archive(account: Account) -> None:
    configure(account, to("DEEP_ARCHIVE", 1))
    account.put("bucket", "key", b"data", StorageClass="GLACIER")
    account.s3("RestoreObject", Bucket="bucket", Key="key", RestoreRequest={"Days": 90})
    account.pass_time(days=9)
    look(account)
    assert "Restore" not in account.s3("HeadObject", Bucket="bucket", Key="key")


@pytest.mark.parametrize(
    ("parts", "code", "word"),
    [
        ({"Transitions": [to("STANDARD")]}, "MalformedXML", ""),
        ({"Transitions": [to("OUTPOSTS")]}, "MalformedXML", ""),
        ({"Transitions": [{"StorageClass": "GLACIER"}]}, "MalformedXML", ""),
        ({"Transitions": [{**to("GLACIER"), "Date": MIDNIGHT}]}, "MalformedXML", ""),
        ({"Transitions": [{"Days": 1}]}, "MalformedXML", ""),
        ({"Transitions": [to("GLACIER", -1)]}, "InvalidArgument", "Days"),
        ({"Transitions": [to("GLACIER", 2**31 - 1)]}, "InvalidArgument", "Days"),
        ({"Transitions": [to("GLACIER"), to("GLACIER", 2)]}, "InvalidRequest", "StorageClass"),
        (
            {"Transitions": [{"StorageClass": "GLACIER", "Date": MIDNIGHT + timedelta(hours=1)}]},
            "InvalidArgument",
            "midnight",
        ),
        ({"Transitions": [to("GLACIER", 5)], "Expiration": {"Days": 5}}, "InvalidArgument", "greater"),
        ({"Transitions": [to("GLACIER", 5)], "Expiration": {"Date": MIDNIGHT}}, "InvalidRequest", "mixed"),
        ({"NoncurrentVersionTransitions": [{"StorageClass": "GLACIER"}]}, "MalformedXML", ""),
        (
            {
                "NoncurrentVersionTransitions": [{"StorageClass": "GLACIER", "NoncurrentDays": 5}],
                "NoncurrentVersionExpiration": {"NoncurrentDays": 5},
            },
            "InvalidArgument",
            "greater",
        ),
        (
            {
                "NoncurrentVersionTransitions": [
                    {"StorageClass": "GLACIER", "NoncurrentDays": 5, "NewerNoncurrentVersions": 101}
                ]
            },
            "InvalidArgument",
            "NewerNoncurrentVersions",
        ),
    ],
)
def test_rules_that_cannot_be(account: Account, parts: dict[str, Any], code: str, word: str) -> None:
    with refused(code, word, status=400):
        configure(account, **parts)
    with refused("InvalidRequest", "TransitionDefaultMinimumObjectSize"):
        configure(account, to("GLACIER"), small="none")
