from __future__ import annotations

import base64
import hashlib
from datetime import timedelta
from typing import Any

import pytest
from identity_fixtures import (
    START,
    Account,
    allow,
    deny,
    refused,
    storing_account_fixture,  # noqa: F401
)

from skylift.cloud.services.s3.checksum import ALGORITHMS, digest


@pytest.fixture(autouse=True, name="objects")
def objects_fixture(account: Account) -> None:
    for name in ("bucket", "other"):
        account.s3("CreateBucket", Bucket=name)
    body = account.spool(b"data", CRC32="rfPzYw==")
    account.s3("PutObject", Bucket="bucket", Key="a b", Body=body, ContentType="text/csv", Metadata={"a": "1"})


def copy(account: Account, source: str = "bucket/a%20b", key: str = "copy", **params: Any) -> dict[str, Any]:
    params = {"Bucket": "other", "Key": key, "CopySource": source, **params}
    return account.s3("CopyObject", **params)


def test_a_copy_lives_on_its_own(account: Account) -> None:
    account.pass_time(seconds=3)
    result = copy(account)["CopyObjectResult"]
    assert result == {
        "ETag": f'"{hashlib.md5(b"data").hexdigest()}"',
        "LastModified": START + timedelta(seconds=3),
        "ChecksumCRC32": "rfPzYw==",
        "ChecksumType": "FULL_OBJECT",
    }
    account.s3("DeleteObject", Bucket="bucket", Key="a b")
    assert account.get("other", "copy") == b"data"
    found = account.s3("HeadObject", Bucket="other", Key="copy")
    assert (found["ContentType"], found["Metadata"]) == ("text/csv", {"a": "1"})
    account.s3("DeleteObject", Bucket="other", Key="copy")
    assert account.bodies() == set()


def test_replacing_the_metadata(account: Account) -> None:
    copy(account, MetadataDirective="REPLACE", Metadata={"b": "2"}, ContentType="text/plain")
    found = account.s3("HeadObject", Bucket="other", Key="copy")
    assert (found["ContentType"], found["Metadata"]) == ("text/plain", {"b": "2"})
    with refused("InvalidArgument", "Unknown metadata directive"):
        copy(account, MetadataDirective="MERGE")


def test_onto_itself(account: Account) -> None:
    with refused("InvalidRequest", "This copy request is illegal", status=400):
        copy(account, Bucket="bucket", key="a b")
    copy(account, Bucket="bucket", key="a b", MetadataDirective="REPLACE", Metadata={"n": "3"})
    assert account.get("bucket", "a b") == b"data"
    assert account.s3("HeadObject", Bucket="bucket", Key="a b")["Metadata"] == {"n": "3"}
    assert len(account.bodies()) == 1


def test_onto_itself_where_an_encryption_was_put_on_the_bucket(account: Account) -> None:
    """https://github.com/localstack/localstack/blob/main/tests/aws/services/s3/test_s3.snapshot.json
    (test_copy_in_place_with_bucket_encryption)"""
    rules = [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
    account.s3("PutBucketEncryption", Bucket="bucket", ServerSideEncryptionConfiguration={"Rules": rules})
    copy(account, Bucket="bucket", key="a b")
    account.s3("DeleteBucketEncryption", Bucket="bucket")
    with refused("InvalidRequest", "This copy request is illegal", status=400):
        copy(account, Bucket="bucket", key="a b")


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("bucket/missing", "NoSuchKey"),
        ("absent/a", "NoSuchBucket"),
        ("bucket", "InvalidArgument"),
        ("/bucket/", "InvalidArgument"),
        ("bucket/a%20b?versionId=v", "InvalidArgument"),
        ("bucket/a%20b?versionId=" + "v" * 32, "InvalidArgument"),
    ],
)
def test_sources_that_are_none(account: Account, source: str, code: str) -> None:
    with refused(code):
        copy(account, source)


def test_words_of_a_source_that_is_none(account: Account) -> None:
    """Recorded on AWS: `test_s3_copy_object_wrong_format` in LocalStack's test_s3.snapshot.json."""
    with refused("InvalidArgument", "Invalid copy source object key", status=400):
        copy(account, "wrongformat")


def test_sources_as_clients_write_them(account: Account) -> None:
    """A plus for a space and an address: `test_copy_object_special_character_plus_for_space` and
    `test_response_structure`, validated on AWS in LocalStack's test_s3.py."""
    for source in ("/bucket/a%20b", "bucket/a b", "bucket/a%20b?versionId=null", "bucket%2Fa+b"):
        copy(account, source)
    for host in ("s3.amazonaws.com", "s3-us-west-2.amazonaws.com", "localhost:4520", "127.0.0.1", "s3.example.com"):
        copy(account, f"https://{host}/bucket/a%20b")
    account.put("bucket", "a+b", b"other")
    copy(account, "bucket/a%2Bb")
    assert account.get("other", "copy") == b"other"


@pytest.mark.parametrize(
    "host",
    [
        "mine.s3.amazonaws.com",
        "mine.s3.eu-central-1.amazonaws.com:443",
        "mine.s3-us-west-2.amazonaws.com",
        "mine.S3.dualstack.us-east-1.amazonaws.com.",
        "mine.localhost:4520",
    ],
)
def test_an_address_with_its_bucket_in_the_host_is_no_source(account: Account, host: str) -> None:
    """Its key may look like an object of another bucket."""
    account.s3("CreateBucket", Bucket="mine")
    account.put("mine", "bucket/a b", b"mine")
    source = f"https://{host}/bucket/a%20b"
    with refused("InvalidArgument", "has its bucket in the path", status=400):
        copy(account, source)
    place = {"Bucket": "other", "Key": "large"}
    upload = account.s3("CreateMultipartUpload", **place)["UploadId"]
    with refused("InvalidArgument", "has its bucket in the path", status=400):
        account.s3("UploadPartCopy", **place, UploadId=upload, PartNumber=1, CopySource=source)


def test_conditions(account: Account) -> None:
    etag = f'"{hashlib.md5(b"data").hexdigest()}"'
    copy(account, CopySourceIfMatch=etag, CopySourceIfUnmodifiedSince=START - timedelta(days=1))
    copy(account, CopySourceIfModifiedSince=START + timedelta(days=1))
    for condition in (
        {"CopySourceIfMatch": '"other"'},
        {"CopySourceIfNoneMatch": etag},
        {"CopySourceIfModifiedSince": START},
        {"CopySourceIfUnmodifiedSince": START - timedelta(days=1)},
        {"IfNoneMatch": "*"},
        {"IfMatch": '"other"'},
    ):
        with refused("PreconditionFailed", status=412):
            copy(account, **condition)


def test_permissions(account: Account) -> None:
    write = allow("s3:PutObject", "arn:aws:s3:::other/*")
    writer = account.role("writer", write)
    with refused("AccessDenied", "s3:GetObject on resource: arn:aws:s3:::bucket/a b"):
        copy(account, caller=writer)
    reader = account.role("reader", allow("s3:GetObject", "arn:aws:s3:::bucket/*"))
    with refused("AccessDenied", "s3:PutObject on resource: arn:aws:s3:::other/copy"):
        copy(account, caller=reader)
    copy(account, caller=account.role("both", write, allow("s3:GetObject", "arn:aws:s3:::bucket/*")))


def test_the_copy_of_a_multipart_object_is_one_piece(account: Account) -> None:
    place = {"Bucket": "bucket", "Key": "large"}
    upload = account.s3("CreateMultipartUpload", **place)["UploadId"]
    data = b"x" * (5 << 20)
    parts = []
    for number, body in ((1, data), (2, b"end")):
        answer = account.s3("UploadPart", **place, UploadId=upload, PartNumber=number, Body=account.spool(body))
        parts.append({"PartNumber": number, "ETag": answer["ETag"]})
    account.s3("CompleteMultipartUpload", **place, UploadId=upload, MultipartUpload={"Parts": parts})
    copy(account, "bucket/large")
    found = account.s3("HeadObject", Bucket="other", Key="copy", PartNumber=1)
    assert found["ETag"] == f'"{hashlib.md5(data + b"end").hexdigest()}"'
    assert "PartsCount" not in found
    assert account.get("other", "copy") == data + b"end"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_copy_may_have_another_checksum(account: Account, algorithm: str) -> None:
    expected = base64.b64encode(digest(algorithm, b"data")).decode()
    result = copy(account, ChecksumAlgorithm=algorithm)["CopyObjectResult"]
    sums = {name: value for name, value in result.items() if name.startswith("Checksum")}
    assert sums == {f"Checksum{algorithm}": expected, "ChecksumType": "FULL_OBJECT"}
    found = account.s3("HeadObject", Bucket="other", Key="copy", ChecksumMode="ENABLED")
    assert found[f"Checksum{algorithm}"] == expected


@pytest.mark.parametrize(
    "source",
    [
        "bucket/private/key",
        "/bucket/private/key",
        "bucket/%70rivate/key",
        "%2Fbucket%2Fprivate%2Fkey",
        "http://anywhere/bucket/private/key",
        "https:///%2Fbucket/private/key",
        "bucket/private/a+key",
    ],
)
def test_no_way_to_write_a_source_escapes_a_deny(account: Account, source: str) -> None:
    for key in ("private/key", "private/a key"):
        account.put("bucket", key, b"data")
    there = {"Condition": {"StringLike": {"s3:x-amz-copy-source": "bucket/private/*"}}}
    copier = account.role("copier", allow("s3:*"), deny("s3:PutObject", **there))
    with refused("AccessDenied", "explicit deny"):
        account.s3("CopyObject", Bucket="bucket", Key="copy", CopySource=source, caller=copier)
    allowed = account.role("allowed", allow("s3:GetObject"), allow("s3:PutObject", **there))
    account.s3("CopyObject", Bucket="bucket", Key="copy", CopySource=source, caller=allowed)
