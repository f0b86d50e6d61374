"""Storage classes, and archived objects with their restored copies.

Answers as recorded on AWS: `test_put_object_storage_class` and `test_s3_get_deep_archive_object_restore` in
LocalStack's tests/aws/services/s3/test_s3.snapshot.json; times from S3's guide,
https://docs.aws.amazon.com/AmazonS3/latest/userguide/restoring-objects.html
"""

from __future__ import annotations

from datetime import timedelta
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

DATA = b"content"
READABLE = ("REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR")
ARCHIVES = ("GLACIER", "DEEP_ARCHIVE")
KEY = {"Bucket": "bucket", "Key": "key"}


@pytest.fixture(autouse=True, name="bucket")
def bucket_fixture(account: Account) -> str:
    account.s3("CreateBucket", Bucket="bucket")
    return "bucket"


def put(account: Account, storage_class: str, key: str = "key", **more: Any) -> dict[str, Any]:
    answer: dict[str, Any] = account.s3(
        "PutObject", Bucket="bucket", Key=key, Body=account.spool(DATA), StorageClass=storage_class, **more
    )
    return answer


def restore(account: Account, days: int = 1, **more: Any) -> None:
    account.s3("RestoreObject", **KEY, RestoreRequest={"Days": days, **more})


def listed(account: Account, **more: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = account.s3("ListObjectsV2", Bucket="bucket", **more)["Contents"]
    return found


@pytest.mark.parametrize("storage_class", READABLE)
def test_a_class_is_kept_and_shown(account: Account, storage_class: str) -> None:
    put(account, storage_class)
    assert account.s3("GetObject", **KEY)["StorageClass"] == storage_class
    assert account.get("bucket", "key") == DATA
    assert account.s3("HeadObject", **KEY)["StorageClass"] == storage_class
    assert [one["StorageClass"] for one in listed(account)] == [storage_class]
    (version,) = account.s3("ListObjectVersions", Bucket="bucket")["Versions"]
    assert version["StorageClass"] == storage_class
    asked = account.s3("GetObjectAttributes", **KEY, ObjectAttributes=["StorageClass"])
    assert asked["StorageClass"] == storage_class


def test_the_usual_class_is_shown_in_listings_only(account: Account) -> None:
    put(account, "STANDARD")
    assert "StorageClass" not in account.s3("HeadObject", **KEY)
    assert [one["StorageClass"] for one in listed(account)] == ["STANDARD"]


def test_an_upload_in_parts_has_its_class_from_the_beginning(account: Account) -> None:
    upload = {"UploadId": account.s3("CreateMultipartUpload", **KEY, StorageClass="STANDARD_IA")["UploadId"]}
    part = account.s3("UploadPart", **KEY, **upload, PartNumber=1, Body=account.spool(DATA))
    assert account.s3("ListParts", **KEY, **upload)["StorageClass"] == "STANDARD_IA"
    (begun,) = account.s3("ListMultipartUploads", Bucket="bucket")["Uploads"]
    assert begun["StorageClass"] == "STANDARD_IA"
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    account.s3("CompleteMultipartUpload", **KEY, **upload, MultipartUpload=parts)
    assert account.s3("HeadObject", **KEY)["StorageClass"] == "STANDARD_IA"


def test_a_copy_has_the_class_that_it_is_asked_for(account: Account) -> None:
    put(account, "STANDARD_IA")
    account.s3("CopyObject", Bucket="bucket", Key="copy", CopySource="bucket/key")
    assert "StorageClass" not in account.s3("HeadObject", Bucket="bucket", Key="copy")
    account.s3("CopyObject", **KEY, CopySource="bucket/key", StorageClass="ONEZONE_IA")
    assert account.s3("HeadObject", **KEY)["StorageClass"] == "ONEZONE_IA"


@pytest.mark.parametrize("storage_class", ARCHIVES)
def test_what_is_archived_cannot_be_read(account: Account, storage_class: str) -> None:
    put(account, storage_class)
    assert account.s3("HeadObject", **KEY)["StorageClass"] == storage_class
    with pytest.raises(ServiceError, match="not valid for the object's storage class") as caught:
        account.s3("GetObject", **KEY)
    refusal = (caught.value.code, caught.value.status, caught.value.detail["StorageClass"])
    assert refusal == ("InvalidObjectState", 403, storage_class)
    with refused("InvalidObjectState", "source object's storage class", status=403):
        account.s3("CopyObject", Bucket="bucket", Key="copy", CopySource="bucket/key")
    upload = account.s3("CreateMultipartUpload", Bucket="bucket", Key="copy")["UploadId"]
    part = {"Bucket": "bucket", "Key": "copy", "UploadId": upload, "PartNumber": 1}
    with refused("InvalidObjectState", status=403):
        account.s3("UploadPartCopy", **part, CopySource="bucket/key")
    account.s3("DeleteObject", **KEY)


@pytest.mark.parametrize("storage_class", ARCHIVES)
def test_a_restored_copy_is_there_until_the_midnight_after_its_days(account: Account, storage_class: str) -> None:
    put(account, storage_class)
    restore(account, 2)
    end = (START + timedelta(days=3)).replace(hour=0, minute=0, second=0, microsecond=0)
    date = end.strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert account.s3("HeadObject", **KEY)["Restore"] == f'ongoing-request="false", expiry-date="{date}"'
    assert account.get("bucket", "key") == DATA
    assert account.s3("GetObject", **KEY)["StorageClass"] == storage_class, "the copy is beside the archive"
    status = {"IsRestoreInProgress": False, "RestoreExpiryDate": end}
    assert [one.get("RestoreStatus") for one in listed(account)] == [None]
    (shown,) = listed(account, OptionalObjectAttributes=["RestoreStatus"])
    assert shown["RestoreStatus"] == status
    (version,) = account.s3("ListObjectVersions", Bucket="bucket", OptionalObjectAttributes=["RestoreStatus"])[
        "Versions"
    ]
    assert version["RestoreStatus"] == status
    account.pass_time(days=3)
    assert "Restore" not in account.s3("HeadObject", **KEY)
    assert "RestoreStatus" not in listed(account, OptionalObjectAttributes=["RestoreStatus"])[0]
    with refused("InvalidObjectState"):
        account.s3("GetObject", **KEY)


def test_a_second_request_moves_the_end(account: Account) -> None:
    put(account, "GLACIER")
    restore(account, 1)
    restore(account, 9, GlacierJobParameters={"Tier": "Expedited"})
    account.pass_time(days=5)
    assert account.get("bucket", "key") == DATA


def test_a_restored_object_may_be_copied_out_of_its_archive_in_place(account: Account) -> None:
    put(account, "GLACIER")
    restore(account)
    account.s3("CopyObject", **KEY, CopySource="bucket/key")
    account.pass_time(days=5)
    assert "Restore" not in account.s3("HeadObject", **KEY)
    assert account.get("bucket", "key") == DATA


def test_a_version_is_restored_by_its_id(account: Account) -> None:
    account.s3("PutBucketVersioning", Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
    old = {"VersionId": put(account, "GLACIER")["VersionId"]}
    put(account, "GLACIER")
    account.s3("RestoreObject", **KEY, **old, RestoreRequest={"Days": 1})
    assert account.s3("GetObject", **KEY, **old)["VersionId"] == old["VersionId"]
    with refused("InvalidObjectState"):
        account.s3("GetObject", **KEY)


@pytest.mark.parametrize(
    ("storage_class", "request_", "code", "status"),
    [
        ("STANDARD", {"Days": 1}, "InvalidObjectState", 403),
        ("GLACIER_IR", {"Days": 1}, "InvalidObjectState", 403),
        ("GLACIER", {}, "MalformedXML", 400),
        ("GLACIER", {"Days": 0}, "InvalidArgument", 400),
        ("GLACIER", {"Days": 2**31 - 1}, "InvalidArgument", 400),
        ("GLACIER", {"Days": 1, "Tier": "Faster"}, "InvalidArgument", 400),
        ("DEEP_ARCHIVE", {"Days": 1, "Tier": "Expedited"}, "InvalidArgument", 400),
    ],
)
def test_refused_restores(
    account: Account, storage_class: str, request_: dict[str, Any], code: str, status: int
) -> None:
    put(account, storage_class)
    with refused(code, status=status):
        account.s3("RestoreObject", **KEY, RestoreRequest=request_)
    assert "Restore" not in account.s3("HeadObject", **KEY)


def test_a_missing_object_cannot_be_restored(account: Account) -> None:
    with refused("NoSuchKey"):
        restore(account)


def test_restoring_takes_a_permission_of_its_own(account: Account) -> None:
    put(account, "GLACIER")
    reader, ann = account.user("reader", allow("s3:GetObject")), account.user("ann", allow("s3:RestoreObject"))
    with refused("AccessDenied"):
        account.s3("RestoreObject", caller=reader, **KEY, RestoreRequest={"Days": 1})
    account.s3("RestoreObject", caller=ann, **KEY, RestoreRequest={"Days": 1})
    assert account.read(account.s3("GetObject", caller=reader, **KEY)["Body"]) == DATA
