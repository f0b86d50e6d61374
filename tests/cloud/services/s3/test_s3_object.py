from __future__ import annotations

import base64
import hashlib
import zlib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from identity_fixtures import (
    START,
    Account,
    allow,
    refused,
    storing_account_fixture,  # noqa: F401
)

from skylift.cloud.domain.error import ServiceError

DATA = bytes(range(256)) * 4


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def crc32(data: bytes) -> str:
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


@pytest.fixture(autouse=True, name="bucket")
def bucket_fixture(account: Account) -> str:
    account.s3("CreateBucket", Bucket="bucket")
    return "bucket"


def head(account: Account, key: str = "key", **params: Any) -> dict[str, Any]:
    return account.s3("HeadObject", Bucket="bucket", Key=key, **params)


def test_an_object_comes_back_as_it_was_put(account: Account) -> None:
    expires = datetime(2030, 1, 1, tzinfo=UTC)
    answer = account.put(
        "bucket",
        "a/b é",
        DATA,
        ContentType="text/csv",
        CacheControl="no-store",
        ContentDisposition="attachment",
        ContentEncoding="gzip",
        ContentLanguage="en",
        Expires=expires,
        Metadata={"Job": "1", "name": "é"},
    )
    assert answer == {"ETag": f'"{md5(DATA)}"', "ServerSideEncryption": "AES256"}
    found = account.s3("GetObject", Bucket="bucket", Key="a/b é")
    assert account.read(found.pop("Body")) == DATA
    assert found == head(account, "a/b é")
    assert found == {
        "AcceptRanges": "bytes",
        "LastModified": START,
        "ContentLength": 1024,
        "ETag": f'"{md5(DATA)}"',
        "ContentType": "text/csv",
        "Metadata": {"job": "1", "name": "=?UTF-8?Q?=C3=A9?="},
        "CacheControl": "no-store",
        "ContentDisposition": "attachment",
        "ContentEncoding": "gzip",
        "ContentLanguage": "en",
        "Expires": expires,
        "ServerSideEncryption": "AES256",
    }


def test_an_empty_object_has_no_file(account: Account) -> None:
    account.put("bucket", "key")
    account.s3("PutObject", Bucket="bucket", Key="no body")
    assert account.get("bucket", "key") == account.get("bucket", "no body") == b""
    assert head(account, "no body")["ETag"] == f'"{md5(b"")}"'
    assert account.bodies() == set()


def test_putting_again_replaces_and_removes_the_old_bytes(account: Account) -> None:
    account.put("bucket", "key", b"old", Metadata={"a": "b"})
    account.pass_time(seconds=5)
    account.put("bucket", "key", b"new")
    assert account.get("bucket", "key") == b"new"
    assert head(account)["LastModified"] == START + timedelta(seconds=5)
    assert head(account)["Metadata"] == {}
    assert len(account.bodies()) == 1


@pytest.mark.parametrize(
    ("params", "code", "status"),
    [
        ({"ContentMD5": "nonsense"}, "InvalidDigest", 400),
        ({"ContentMD5": base64.b64encode(b"0" * 16).decode()}, "BadDigest", 400),
        ({"ChecksumSHA256": "AAAA"}, "BadDigest", 400),
        ({"Metadata": {"a": "v" * 2048}}, "MetadataTooLarge", 400),
        ({"Key": "é" * 513}, "KeyTooLongError", 400),
        ({"Bucket": "absent"}, "NoSuchBucket", 404),
        ({"ACL": "public-read"}, "AccessControlListNotSupported", 400),
        ({"StorageClass": "OUTPOSTS"}, "InvalidStorageClass", 400),
        ({"StorageClass": "Standard"}, "InvalidStorageClass", 400),
        ({"ServerSideEncryption": "aws:kms"}, "NotImplemented", 501),
        ({"IfNoneMatch": '"etag"'}, "NotImplemented", 501),
        ({"IfMatch": "*"}, "NotImplemented", 501),
        ({"IfMatch": '"etag"', "IfNoneMatch": "*"}, "NotImplemented", 501),
        ({"IfMatch": '"etag"'}, "NoSuchKey", 404),
    ],
)
def test_a_refused_put_leaves_nothing(account: Account, params: dict[str, Any], code: str, status: int) -> None:
    with refused(code, status=status):
        account.s3("PutObject", **{"Bucket": "bucket", "Key": "key", "Body": account.spool(DATA), **params})
    assert account.bodies() == set()
    assert account.s3("ListObjectsV2", Bucket="bucket")["KeyCount"] == 0


def test_digests_that_agree(account: Account) -> None:
    digest = base64.b64encode(hashlib.md5(DATA).digest()).decode()
    answer = account.s3(
        "PutObject",
        Bucket="bucket",
        Key="key",
        Body=account.spool(DATA, CRC32=crc32(DATA)),
        ContentMD5=digest,
        ChecksumCRC32=crc32(DATA),
    )
    assert (answer["ChecksumCRC32"], answer["ChecksumType"]) == (crc32(DATA), "FULL_OBJECT")
    assert "ChecksumCRC32" not in head(account)
    assert head(account, ChecksumMode="ENABLED")["ChecksumCRC32"] == crc32(DATA)
    # `test_s3_get_object_checksum`, recorded on AWS in LocalStack's test_s3.snapshot.json.
    assert head(account, ChecksumMode="enabled")["ChecksumCRC32"] == crc32(DATA)
    assert head(account, ChecksumMode="ENABLED", PartNumber=1)["ChecksumCRC32"] == crc32(DATA)
    assert "ChecksumCRC32" not in head(account, ChecksumMode="ENABLED", Range="bytes=0-1")
    # `test_get_object_range`, recorded on AWS in LocalStack's test_s3_api.snapshot.json: this range is all of it.
    assert head(account, ChecksumMode="ENABLED", Range="bytes=0-100000")["ChecksumCRC32"] == crc32(DATA)


def test_if_none_match_lets_one_of_many_writers_win(account: Account) -> None:
    def attempt(number: int) -> str:
        try:
            account.put("bucket", "key", f"{number}".encode(), IfNoneMatch="*")
        except ServiceError as error:
            return f"{error.code} {error.status}"
        return f"{number}"

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(attempt, range(16)))
    (winner,) = (outcome for outcome in outcomes if outcome.isdigit())
    assert outcomes.count("PreconditionFailed 412") == 15
    assert account.get("bucket", "key") == winner.encode()
    assert len(account.bodies()) == 1


def test_if_match_lets_a_writer_replace_what_it_has_read(account: Account) -> None:
    etag = account.put("bucket", "key", b"1")["ETag"]
    account.put("bucket", "key", b"2", IfMatch=etag)
    with refused("PreconditionFailed", status=412):
        account.put("bucket", "key", b"3", IfMatch=etag)
    assert account.get("bucket", "key") == b"2"


@pytest.mark.parametrize(
    ("asked", "expected", "content_range"),
    [
        ("bytes=0-0", DATA[:1], "bytes 0-0/1024"),
        ("bytes=10-19", DATA[10:20], "bytes 10-19/1024"),
        ("bytes=1000-", DATA[1000:], "bytes 1000-1023/1024"),
        ("bytes=1000-9999", DATA[1000:], "bytes 1000-1023/1024"),
        ("bytes=-24", DATA[1000:], "bytes 1000-1023/1024"),
        ("bytes=-9999", DATA, "bytes 0-1023/1024"),
        ("bytes=0-1,5-6", DATA, None),
        ("bytes=5-1", DATA, None),
        ("lines=1-2", DATA, None),
        ("bytes=a-b", DATA, None),
    ],
)
def test_ranges(account: Account, asked: str, expected: bytes, content_range: str | None) -> None:
    account.put("bucket", "key", DATA)
    answer = account.s3("GetObject", Bucket="bucket", Key="key", Range=asked)
    assert account.read(answer["Body"]) == expected
    assert answer["ContentLength"] == len(expected)
    assert answer.get("ContentRange") == content_range


@pytest.mark.parametrize("asked", ["bytes=1024-", "bytes=2000-3000", "bytes=-0"])
def test_ranges_beyond_the_end(account: Account, asked: str) -> None:
    account.put("bucket", "key", DATA)
    with refused("InvalidRange", status=416):
        account.get("bucket", "key", Range=asked)


def test_no_range_of_an_empty_object_is_satisfiable(account: Account) -> None:
    account.put("bucket", "key")
    for asked in ("bytes=0-", "bytes=-1"):
        with refused("InvalidRange", status=416):
            account.get("bucket", "key", Range=asked)


def test_part_numbers_of_an_object_in_one_piece(account: Account) -> None:
    account.put("bucket", "key", DATA)
    answer = head(account, PartNumber=1)
    assert answer["ContentRange"] == "bytes 0-1023/1024" and "PartsCount" not in answer
    # `test_get_object_part`, recorded on AWS in LocalStack's test_s3.snapshot.json.
    with pytest.raises(ServiceError, match="InvalidPartNumber") as raised:
        head(account, PartNumber=2)
    assert raised.value.detail == {"PartNumberRequested": "2", "ActualPartCount": "1"}
    with refused("InvalidRequest", "both Range header and partNumber"):
        head(account, PartNumber=1, Range="bytes=0-1")


BEFORE, AFTER = START - timedelta(seconds=10), START + timedelta(seconds=10)
ETAG = f'"{md5(DATA)}"'


@pytest.mark.parametrize(
    ("params", "outcome"),
    [
        ({"IfMatch": ETAG}, None),
        ({"IfMatch": "*"}, None),
        ({"IfMatch": md5(DATA)}, None),
        ({"IfMatch": f'"other", {ETAG}'}, None),
        ({"IfMatch": '"other"'}, 412),
        ({"IfNoneMatch": ETAG}, 304),
        ({"IfNoneMatch": f"W/{ETAG}"}, 304),
        ({"IfNoneMatch": "*"}, 304),
        ({"IfNoneMatch": '"other"'}, None),
        ({"IfModifiedSince": BEFORE}, None),
        ({"IfModifiedSince": START.replace(microsecond=0)}, 304),
        ({"IfModifiedSince": AFTER}, None),  # RFC 9110, 13.1.3: a date that is still to come is ignored
        ({"IfUnmodifiedSince": BEFORE}, 412),
        ({"IfUnmodifiedSince": START.replace(microsecond=0)}, None),
        ({"IfMatch": ETAG, "IfUnmodifiedSince": BEFORE}, None),
        ({"IfNoneMatch": '"other"', "IfModifiedSince": AFTER}, None),
        ({"IfNoneMatch": ETAG, "IfModifiedSince": BEFORE}, 304),
    ],
)
def test_conditional_reads(account: Account, params: dict[str, Any], outcome: int | None) -> None:
    account.put("bucket", "key", DATA)
    if outcome is None:
        assert account.get("bucket", "key", **params) == DATA
        head(account, **params)
    else:
        with refused({304: "NotModified", 412: "PreconditionFailed"}[outcome], status=outcome):
            account.get("bucket", "key", **params)


def test_overridden_headers(account: Account) -> None:
    account.put("bucket", "key", DATA, ContentType="text/csv")
    answer = account.s3(
        "GetObject",
        Bucket="bucket",
        Key="key",
        ResponseContentType="text/plain",
        ResponseContentDisposition="inline",
        ResponseExpires=AFTER,
    )
    assert (answer["ContentType"], answer["ContentDisposition"]) == ("text/plain", "inline")
    assert answer["Expires"] == AFTER
    # `test_get_response_overrides_unicode_metadata_with_sig_s3`, recorded on AWS in LocalStack's test_s3.snapshot.json.
    with refused("InvalidArgument", "Header value cannot be represented using ISO-8859-1.", status=400):
        account.s3("GetObject", Bucket="bucket", Key="key", ResponseCacheControl="non-ascii-%E2%80%94_\u2014_\xe9_")
    account.s3("GetObject", Bucket="bucket", Key="key", ResponseCacheControl="\xe9")


def test_deleting(account: Account) -> None:
    account.put("bucket", "key", DATA)
    account.s3("DeleteObject", Bucket="bucket", Key="key")
    account.s3("DeleteObject", Bucket="bucket", Key="key")
    with refused("NoSuchKey", "The specified key does not exist.", status=404):
        head(account)
    assert account.bodies() == set()


def test_conditional_deletes(account: Account) -> None:
    etag = account.put("bucket", "key", DATA)["ETag"]
    with refused("PreconditionFailed", status=412):
        account.s3("DeleteObject", Bucket="bucket", Key="key", IfMatch='"other"')
    account.s3("DeleteObject", Bucket="bucket", Key="key", IfMatch=etag)
    with refused("NoSuchKey", status=404):
        account.s3("DeleteObject", Bucket="bucket", Key="key", IfMatch="*")


def delete_many(account: Account, *objects: Any, **more: Any) -> dict[str, Any]:
    listed = [{"Key": item} if isinstance(item, str) else item for item in objects]
    return account.s3("DeleteObjects", Bucket="bucket", Delete={"Objects": listed, **more.pop("delete", {})}, **more)


def test_deleting_many(account: Account) -> None:
    for key in "abc":
        account.put("bucket", key, DATA)
    answer = delete_many(account, "a", "missing", {"Key": "b", "ETag": '"other"'})
    assert answer["Deleted"] == [{"Key": "a"}, {"Key": "missing"}]
    assert [(error["Key"], error["Code"]) for error in answer["Errors"]] == [("b", "PreconditionFailed")]
    assert delete_many(account, "b", delete={"Quiet": True}) == {}
    assert [item["Key"] for item in account.s3("ListObjectsV2", Bucket="bucket")["Contents"]] == ["c"]
    for bad in ([], [f"{number}" for number in range(1001)]):
        with refused("MalformedXML", status=400):
            delete_many(account, *bad)


def test_deleting_many_asks_for_each_key(account: Account) -> None:
    for key in ("mine/a", "yours/a"):
        account.put("bucket", key, DATA)
    caller = account.role("owner", allow("s3:DeleteObject", "arn:aws:s3:::bucket/mine/*"))
    answer = delete_many(account, "mine/a", "yours/a", caller=caller)
    assert answer["Deleted"] == [{"Key": "mine/a"}]
    assert [(error["Key"], error["Code"]) for error in answer["Errors"]] == [("yours/a", "AccessDenied")]
    assert account.get("bucket", "yours/a") == DATA


@pytest.mark.parametrize("operation", ["GetObject", "HeadObject"])
def test_who_may_not_list_does_not_learn_what_is_missing(account: Account, operation: str) -> None:
    reader = account.role("reader", allow("s3:GetObject", "arn:aws:s3:::bucket/*"))
    with refused("AccessDenied", "s3:ListBucket on resource: arn:aws:s3:::bucket", status=403):
        account.s3(operation, caller=reader, Bucket="bucket", Key="missing")
    lister = account.role("lister", allow("s3:GetObject"), allow("s3:ListBucket"))
    with refused("NoSuchKey", status=404):
        account.s3(operation, caller=lister, Bucket="bucket", Key="missing")


def test_permissions_by_prefix(account: Account) -> None:
    caller = account.role(
        "job", allow("s3:GetObject", "arn:aws:s3:::bucket/in/*"), allow("s3:PutObject", "arn:aws:s3:::bucket/out/*")
    )
    account.put("bucket", "in/a", DATA)
    assert account.get("bucket", "in/a", caller=caller) == DATA
    account.put("bucket", "out/a", DATA, caller=caller)
    with refused("AccessDenied", "s3:PutObject on resource: arn:aws:s3:::bucket/in/a"):
        account.put("bucket", "in/a", b"", caller=caller)
    with refused("AccessDenied", "s3:GetObject on resource: arn:aws:s3:::bucket/out/a"):
        account.get("bucket", "out/a", caller=caller)
    with refused("AccessDenied", "s3:GetObject"):
        account.put("bucket", "out/a", b"", caller=caller, IfMatch=ETAG)


def test_a_policy_can_ask_for_conditional_writes(account: Account) -> None:
    caller = account.role("careful", allow("s3:PutObject", Condition={"Null": {"s3:if-none-match": "false"}}))
    account.put("bucket", "key", DATA, caller=caller, IfNoneMatch="*")
    with refused("AccessDenied"):
        account.put("bucket", "other", DATA, caller=caller)


def test_attributes(account: Account) -> None:
    account.s3("PutObject", Bucket="bucket", Key="key", Body=account.spool(DATA, CRC32=crc32(DATA)))
    wanted = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"]
    assert account.s3("GetObjectAttributes", Bucket="bucket", Key="key", ObjectAttributes=wanted) == {
        "LastModified": START,
        "ETag": md5(DATA),
        "Checksum": {"ChecksumCRC32": crc32(DATA), "ChecksumType": "FULL_OBJECT"},
        "StorageClass": "STANDARD",
        "ObjectSize": 1024,
    }
    answer = account.s3("GetObjectAttributes", Bucket="bucket", Key="key", ObjectAttributes=["ObjectSize"])
    assert set(answer) == {"LastModified", "ObjectSize"}


def test_bytes_on_their_way_out_outlive_their_object(account: Account) -> None:
    account.put("bucket", "key", DATA)
    answer = account.s3("GetObject", Bucket="bucket", Key="key")
    account.put("bucket", "key", b"new")
    account.s3("DeleteObject", Bucket="bucket", Key="key")
    assert account.read(answer["Body"]) == DATA
    del answer
    assert account.bodies() == set()


def test_readers_and_writers_at_once_see_whole_objects(account: Account) -> None:
    """Every read is one of the versions, whole, while they replace each other."""
    versions = [bytes([number]) * 10_000 for number in range(40)]
    account.put("bucket", "key", versions[0])

    def read(_: int) -> bytes:
        return account.get("bucket", "key")

    with ThreadPoolExecutor(4) as pool:
        reads = [pool.submit(read, number) for number in range(200)]
        for version in versions:
            account.put("bucket", "key", version)
        assert {future.result() for future in reads} <= set(versions)
    assert account.get("bucket", "key") == versions[-1]
    assert len(account.bodies()) == 1
