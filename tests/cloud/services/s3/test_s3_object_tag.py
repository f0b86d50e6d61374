from __future__ import annotations

from typing import Any

import pytest
from identity_fixtures import Account, allow, deny, refused

PLACE = {"Bucket": "bucket", "Key": "key"}


@pytest.fixture(autouse=True, name="bucket")
def bucket_fixture(account: Account) -> str:
    account.s3("CreateBucket", Bucket="bucket")
    return "bucket"


def tags(account: Account, **params: Any) -> dict[str, str]:
    answer = account.s3("GetObjectTagging", **{**PLACE, **params})
    return {tag["Key"]: tag["Value"] for tag in answer["TagSet"]}


def tag_set(**values: str) -> dict[str, Any]:
    return {"TagSet": [{"Key": key, "Value": value} for key, value in values.items()]}


def test_tags_come_with_the_object_or_later(account: Account) -> None:
    account.put("bucket", "key", b"data", Tagging="job=1&name=a%20b&empty=&bare")
    assert tags(account) == {"job": "1", "name": "a b", "empty": "", "bare": ""}
    assert account.s3("HeadObject", **PLACE)["TagCount"] == 4
    assert account.s3("GetObject", **PLACE)["TagCount"] == 4
    account.s3("PutObjectTagging", **PLACE, Tagging=tag_set(other="x"))
    assert tags(account) == {"other": "x"}
    account.s3("DeleteObjectTagging", **PLACE)
    assert tags(account) == {}
    assert "TagCount" not in account.s3("HeadObject", **PLACE)
    account.put("bucket", "key", b"data", Tagging="job=1")
    account.put("bucket", "key", b"data")
    assert tags(account) == {}, "a new object has its own tags only"
    with refused("NoSuchKey", status=404):
        tags(account, Key="missing")


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("a=1&a=2", "InvalidArgument"),
        ("a=%FF", "InvalidArgument"),
        ("&", "InvalidArgument"),
        # `test_object_tagging_exc`, recorded on AWS in LocalStack's test_s3_api.snapshot.json.
        ("a=1,b=2", "InvalidArgument"),
        ("=1", "InvalidTag"),
        ("aws:a=1", "InvalidTag"),
        ("a=%26", "InvalidTag"),
        ("&".join(f"k{number}=" for number in range(11)), "BadRequest"),
        ("k" * 129 + "=1", "InvalidTag"),
        ("k=" + "v" * 257, "InvalidTag"),
    ],
)
def test_bad_tags_keep_an_object_out(account: Account, header: str, code: str) -> None:
    with refused(code, status=400):
        account.put("bucket", "key", b"data", Tagging=header)
    assert account.bodies() == set()


def test_tags_of_versions(account: Account) -> None:
    account.s3("PutBucketVersioning", Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
    first = account.put("bucket", "key", b"1", Tagging="n=1")["VersionId"]
    second = account.put("bucket", "key", b"2", Tagging="n=2")["VersionId"]
    assert (tags(account), tags(account, VersionId=first)) == ({"n": "2"}, {"n": "1"})
    answer = account.s3("PutObjectTagging", **PLACE, VersionId=first, Tagging=tag_set(n="one"))
    assert answer == {"VersionId": first}
    assert account.s3("DeleteObjectTagging", **PLACE) == {"VersionId": second}
    assert (tags(account), tags(account, VersionId=first)) == ({}, {"n": "one"})
    marker = account.s3("DeleteObject", **PLACE)["VersionId"]
    with refused("MethodNotAllowed", status=405):
        tags(account, VersionId=marker)
    # `test_object_tagging_versioned`, recorded on AWS in LocalStack's test_s3_api.snapshot.json.
    with refused("MethodNotAllowed", status=405):
        tags(account)
    with refused("MethodNotAllowed", status=405):
        account.s3("PutObjectTagging", **PLACE, Tagging=tag_set(n="1"))


def test_a_copy_has_the_tags_of_its_source_or_its_own(account: Account) -> None:
    account.put("bucket", "key", b"data", Tagging="n=1")
    copy = {"Bucket": "bucket", "Key": "copy", "CopySource": "bucket/key"}
    account.s3("CopyObject", **copy, Tagging="ignored=1")
    assert tags(account, Key="copy") == {"n": "1"}
    account.s3("CopyObject", **copy, TaggingDirective="REPLACE", Tagging="m=2")
    assert tags(account, Key="copy") == {"m": "2"}
    account.s3("CopyObject", **copy, TaggingDirective="REPLACE", MetadataDirective="REPLACE")
    assert tags(account, Key="copy") == {}
    with refused("InvalidArgument", "Unknown tagging directive"):
        account.s3("CopyObject", **copy, TaggingDirective="MERGE")


def test_an_upload_in_parts_has_tags(account: Account) -> None:
    upload = account.s3("CreateMultipartUpload", **PLACE, Tagging="n=1")["UploadId"]
    part = account.s3("UploadPart", **PLACE, UploadId=upload, PartNumber=1, Body=account.spool(b"x"))
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    account.s3("CompleteMultipartUpload", **PLACE, UploadId=upload, MultipartUpload=parts)
    assert tags(account) == {"n": "1"}


def test_policies_ask_about_tags(account: Account) -> None:
    account.put("bucket", "open", b"data", Tagging="access=public&n=1")
    account.put("bucket", "shut", b"data", Tagging="access=secret")
    condition = {"StringEquals": {"s3:ExistingObjectTag/access": "public"}}
    reader = account.role("reader", allow("s3:GetObject", Condition=condition))
    assert account.get("bucket", "open", caller=reader) == b"data"
    with refused("AccessDenied", "s3:GetObject"):
        account.get("bucket", "shut", caller=reader)
    answer = account.s3("HeadObject", caller=reader, Bucket="bucket", Key="open")
    assert "TagCount" not in answer, "who may not read tags does not learn how many there are"
    with refused("AccessDenied", "s3:GetObjectTagging"):
        tags(account, caller=reader, Key="open")


def test_giving_tags_takes_a_permission(account: Account) -> None:
    writer = account.role("writer", allow("s3:PutObject"))
    account.put("bucket", "key", b"data", caller=writer)
    with refused("AccessDenied", "s3:PutObjectTagging"):
        account.put("bucket", "key", b"data", caller=writer, Tagging="n=1")
    wanted = {
        "ForAllValues:StringEquals": {"s3:RequestObjectTagKeys": ["n"]},
        "StringEquals": {"s3:RequestObjectTag/n": "1"},
    }
    tagger = account.role("tagger", allow("s3:PutObject"), allow("s3:PutObjectTagging", Condition=wanted))
    account.put("bucket", "key", b"data", caller=tagger, Tagging="n=1")
    for header in ("n=2", "n=1&m=1"):
        with refused("AccessDenied", "s3:PutObjectTagging"):
            account.put("bucket", "key", b"data", caller=tagger, Tagging=header)
    with refused("AccessDenied", "s3:PutObjectTagging"):
        account.s3("PutObjectTagging", caller=tagger, **PLACE, Tagging=tag_set(n="2"))
    copier = account.role("copier", allow(["s3:PutObject", "s3:GetObject"]))
    with refused("AccessDenied", "s3:GetObjectTagging"):
        account.s3("CopyObject", caller=copier, Bucket="bucket", Key="copy", CopySource="bucket/key")
    account.s3(
        "CopyObject", caller=copier, Bucket="bucket", Key="copy", CopySource="bucket/key", TaggingDirective="REPLACE"
    )


def test_a_copy_is_asked_about_with_the_tags_that_it_gets(account: Account) -> None:
    """Not with those of a header that does not count."""
    account.put("bucket", "bare", b"data")
    account.put("bucket", "prod", b"data", Tagging="env=prod")
    account.put("bucket", "dev", b"data", Tagging="env=dev")
    other = {"StringNotEquals": {"s3:RequestObjectTag/env": "dev"}}
    dev = account.role("dev", allow("s3:*"), deny("s3:PutObject", "arn:aws:s3:::bucket/copy", Condition=other))
    copy = {"Bucket": "bucket", "Key": "copy", "caller": dev}
    for source in ("bare", "prod"):
        for header in ({}, {"Tagging": "env=dev"}, {"Tagging": "env=dev", "TaggingDirective": "COPY"}):
            with refused("AccessDenied", "s3:PutObject"):
                account.s3("CopyObject", **copy, CopySource=f"bucket/{source}", **header)
    account.s3("CopyObject", **copy, CopySource="bucket/dev")
    account.s3("CopyObject", **copy, CopySource="bucket/prod", Tagging="env=dev", TaggingDirective="REPLACE")
    assert tags(account, Key="copy") == {"env": "dev"}
