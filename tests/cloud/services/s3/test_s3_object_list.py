from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from identity_fixtures import START, Account, allow, refused

from skylift.cloud.domain.bucket import Bucket, Object
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.store.bucket import list_objects

# Few characters, so that prefixes and delimiters meet; the last ones test the order of UTF-8 and its gaps.
ALPHABET = "ab/-%\ud7ff\ue000\U0010ffff"
TEXT = st.text(ALPHABET, max_size=4)


def keep(account: Account, bucket: str, keys: Any) -> None:
    with account.database.write() as tx:
        tx.add(Bucket(name=bucket, region="us-east-1", created=tx.now, owner="123456789012"))
        for key in keys:
            tx.add(Object(bucket=bucket, key=key, size=0, etag="e", modified=tx.now, extents=()))


def naive(keys: set[str], prefix: str, delimiter: str, after: str, *, covers: bool) -> list[str]:
    """The whole listing at once: keys and common prefixes in order of their UTF-8 bytes. With `covers` a place within a
    common prefix is past all of it."""
    items: list[str] = []
    for key in sorted(keys, key=str.encode):
        if not key.startswith(prefix) or (after and key.encode() <= after.encode()):
            continue
        cut = key.find(delimiter, len(prefix)) if delimiter else -1
        item = key if cut < 0 else key[: cut + len(delimiter)]
        if cut >= 0 and (item == after or (covers and after.startswith(item))):
            continue
        if item not in items:
            items.append(item)
    return items


def items_of(answer: dict[str, Any]) -> list[str]:
    contents = [item["Key"] for item in answer.get("Contents", [])]
    prefixes = [item["Prefix"] for item in answer.get("CommonPrefixes", [])]
    return sorted([*contents, *prefixes], key=str.encode)


@pytest.fixture(name="numbered")
def numbered_fixture(account: Account) -> Any:
    """A fresh bucket for each example."""
    made = iter(range(1_000_000))

    def fresh(keys: Any) -> str:
        name = f"bucket-{next(made)}"
        keep(account, name, keys)
        return name

    return fresh


@settings(suppress_health_check=[*HealthCheck], max_examples=150)
@given(
    keys=st.sets(st.text(ALPHABET, min_size=1, max_size=5), max_size=12),
    prefix=TEXT,
    delimiter=st.sampled_from(["", "/", "a", "-/", "\U0010ffff"]),
    after=TEXT,
    size=st.integers(1, 5),
    version=st.sampled_from([1, 2]),
)
@example(keys={"a/b", "a/c", "b"}, prefix="", delimiter="/", after="a/b", size=1, version=2)
# `list-objects-manual-first-file`, as recorded on AWS in LocalStack's test_s3_list_operations.snapshot.json.
@example(keys={"a/b", "a/c", "b"}, prefix="", delimiter="/", after="a/b", size=1, version=1)
@example(keys={"a/b", "a/c", "b"}, prefix="", delimiter="/", after="a/", size=1, version=1)
@example(keys={"\ud7ff/a", "\ue000/a"}, prefix="", delimiter="/", after="", size=1, version=2)
@example(keys={"\U0010ffff/a", "\U0010ffffa"}, prefix="\U0010ffff", delimiter="/", after="", size=1, version=2)
def test_pages_together_are_the_whole_listing(
    account: Account, numbered: Any, keys: set[str], prefix: str, delimiter: str, after: str, size: int, version: int
) -> None:
    bucket = numbered(keys)
    params = {"Bucket": bucket, "Prefix": prefix, "Delimiter": delimiter, "MaxKeys": size}
    place: dict[str, str] = {"StartAfter": after} if version == 2 else {"Marker": after}
    found: list[str] = []
    while True:
        answer = account.s3("ListObjectsV2" if version == 2 else "ListObjects", **params, **place)
        page = items_of(answer)
        found += page
        assert len(page) <= size
        if version == 2:
            assert answer["KeyCount"] == len(page)
        if not answer["IsTruncated"]:
            break
        assert len(page) == size
        if version == 2:
            place = {"ContinuationToken": answer["NextContinuationToken"]}
        else:
            assert ("NextMarker" in answer) == bool(delimiter)
            place = {"Marker": answer.get("NextMarker", page[-1])}
    assert found == naive(keys, prefix, delimiter, after, covers=version == 1)


def test_a_token_goes_before_the_key_to_start_after(account: Account) -> None:
    """Recorded on AWS: `test_list_objects_v2_continuation_start_after` in LocalStack's
    test_s3_list_operations.snapshot.json, where an answer to both shows the token alone."""
    account.s3("CreateBucket", Bucket="bucket")
    for key in "abcd":
        account.s3("PutObject", Bucket="bucket", Key=key, Body=account.spool(b""))
    first = account.s3("ListObjectsV2", Bucket="bucket", MaxKeys=1, StartAfter="a")
    assert (first["StartAfter"], items_of(first)) == ("a", ["b"])
    token = first["NextContinuationToken"]
    second = account.s3("ListObjectsV2", Bucket="bucket", StartAfter="d", ContinuationToken=token)
    assert (second.get("StartAfter"), second["ContinuationToken"], items_of(second)) == (None, token, ["c", "d"])
    with pytest.raises(ServiceError) as raised:
        account.s3("ListObjectsV2", Bucket="bucket", ContinuationToken="")
    assert (raised.value.code, raised.value.detail) == ("InvalidArgument", {"ArgumentName": "continuation-token"})


def test_what_a_listing_says(account: Account) -> None:
    account.s3("CreateBucket", Bucket="bucket")
    account.s3("PutObject", Bucket="bucket", Key="a b", Body=account.spool(b"data", CRC32="AAAAAA=="))
    answer = account.s3("ListObjectsV2", Bucket="bucket", FetchOwner=True)
    (entry,) = answer["Contents"]
    assert len(entry.pop("Owner")["ID"]) == 64
    assert entry == {
        "Key": "a b",
        "LastModified": START,
        "ETag": '"8d777f385d3dfec8815d20f7496026dc"',
        "Size": 4,
        "StorageClass": "STANDARD",
        "ChecksumAlgorithm": ["CRC32"],
        "ChecksumType": "FULL_OBJECT",
    }
    assert (answer["Name"], answer["MaxKeys"], answer["IsTruncated"]) == ("bucket", 1000, False)
    assert "Owner" not in account.s3("ListObjectsV2", Bucket="bucket")["Contents"][0]
    assert "Owner" in account.s3("ListObjects", Bucket="bucket")["Contents"][0]


def test_url_encoding(account: Account) -> None:
    keep(account, "bucket", ["a b/é+", "a b/x/y"])
    answer = account.s3("ListObjectsV2", Bucket="bucket", Prefix="a b/", Delimiter="/", EncodingType="url")
    assert answer["Contents"][0]["Key"] == "a%20b/%C3%A9%2B"
    assert answer["CommonPrefixes"] == [{"Prefix": "a%20b/x/"}]
    assert (answer["Prefix"], answer["Delimiter"], answer["EncodingType"]) == ("a%20b/", "/", "url")


def test_sizes_of_pages(account: Account) -> None:
    keep(account, "bucket", [f"{number:05}" for number in range(1001)])
    assert account.s3("ListObjectsV2", Bucket="bucket")["KeyCount"] == 1000
    answer = account.s3("ListObjectsV2", Bucket="bucket", MaxKeys=5000)
    assert (answer["KeyCount"], answer["MaxKeys"], answer["IsTruncated"]) == (1000, 1000, True)
    answer = account.s3("ListObjectsV2", Bucket="bucket", MaxKeys=0)
    assert (answer["KeyCount"], answer["IsTruncated"]) == (0, False)
    with refused("InvalidArgument", "max-keys", status=400):
        account.s3("ListObjectsV2", Bucket="bucket", MaxKeys=-1)
    with refused("InvalidArgument", "continuation token", status=400):
        account.s3("ListObjectsV2", Bucket="bucket", ContinuationToken="x")
    with refused("NoSuchBucket", status=404):
        account.s3("ListObjectsV2", Bucket="absent")


def test_common_prefixes_are_stepped_over_not_read(account: Account) -> None:
    """What is read of the index grows with the answer, not with what is under the prefixes."""
    keep(account, "bucket", [f"{folder}/{number:04}" for folder in "abc" for number in range(2000)])
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    with account.database.read() as tx:
        tx._connection.set_progress_handler(count, 1000)
        page = list_objects(tx, "bucket", prefix="", delimiter="/", after="", limit=1000)
        tx._connection.set_progress_handler(None, 0)
    assert page.items == ("a/", "b/", "c/")
    assert steps <= 2


def test_policies_see_what_is_asked_for(account: Account) -> None:
    keep(account, "bucket", ["home/ann/a", "home/bob/a"])
    condition = {
        "StringLike": {"s3:prefix": "home/ann/*"},
        "StringEquals": {"s3:delimiter": "/"},
        "NumericLessThanEquals": {"s3:max-keys": "10"},
    }
    caller = account.role("ann", allow("s3:ListBucket", "arn:aws:s3:::bucket", Condition=condition))
    good = {"Prefix": "home/ann/", "Delimiter": "/", "MaxKeys": 10}
    assert account.s3("ListObjectsV2", caller=caller, Bucket="bucket", **good)["KeyCount"] == 1
    account.s3("ListObjects", caller=caller, Bucket="bucket", **good)
    for change in ({"Prefix": "home/bob/"}, {"Prefix": ""}, {"Delimiter": "-"}, {"MaxKeys": 11}):
        with refused("AccessDenied"):
            account.s3("ListObjectsV2", caller=caller, Bucket="bucket", **{**good, **change})
