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


@pytest.fixture(autouse=True, name="bucket")
def bucket_fixture(account: Account) -> str:
    account.s3("CreateBucket", Bucket="bucket")
    return "bucket"


def turn(account: Account, status: str) -> None:
    account.s3("PutBucketVersioning", Bucket="bucket", VersioningConfiguration={"Status": status})


def put(account: Account, data: bytes, key: str = "key", **params: Any) -> str:
    version: str = account.put("bucket", key, data, **params)["VersionId"]
    return version


def delete(account: Account, key: str = "key", **params: Any) -> dict[str, Any]:
    return account.s3("DeleteObject", Bucket="bucket", Key=key, **params)


def listed(account: Account, **params: Any) -> list[tuple[str, str, bool, bool]]:
    """Key, version, whether it is the latest, whether it is a delete marker."""
    answer = account.s3("ListObjectVersions", Bucket="bucket", **params)
    found = [(item["Key"], item["VersionId"], item["IsLatest"], False) for item in answer.get("Versions", [])]
    found += [(item["Key"], item["VersionId"], item["IsLatest"], True) for item in answer.get("DeleteMarkers", [])]
    return found


def keys(account: Account) -> list[str]:
    return [item["Key"] for item in account.s3("ListObjectsV2", Bucket="bucket").get("Contents", [])]


def test_a_bucket_keeps_no_versions_until_told(account: Account) -> None:
    assert account.s3("GetBucketVersioning", Bucket="bucket") == {}
    assert "VersionId" not in account.put("bucket", "key", b"1")
    assert "VersionId" not in account.s3("GetObject", Bucket="bucket", Key="key")
    assert account.get("bucket", "key", VersionId="null") == b"1"
    account.put("bucket", "key", b"2")
    assert listed(account) == [("key", "null", True, False)]
    turn(account, "Enabled")
    assert account.s3("GetBucketVersioning", Bucket="bucket") == {"Status": "Enabled"}
    assert account.s3("HeadObject", Bucket="bucket", Key="key")["VersionId"] == "null"
    turn(account, "Suspended")
    assert account.s3("GetBucketVersioning", Bucket="bucket") == {"Status": "Suspended"}
    # https://github.com/localstack/localstack/blob/main/tests/aws/services/s3/test_s3_api.snapshot.json
    with refused("IllegalVersioningConfigurationException", "The Versioning element must be specified", status=400):
        account.s3("PutBucketVersioning", Bucket="bucket", VersioningConfiguration={})
    for wrong in ("Off", "enabled", "Disabled"):
        with refused("MalformedXML", status=400):
            account.s3("PutBucketVersioning", Bucket="bucket", VersioningConfiguration={"Status": wrong})


def test_each_put_is_a_version(account: Account) -> None:
    turn(account, "Enabled")
    first, second = put(account, b"1"), put(account, b"2")
    assert first != second and len(first) == len(second) == 32
    assert account.get("bucket", "key") == b"2"
    assert account.get("bucket", "key", VersionId=first) == b"1"
    assert account.s3("HeadObject", Bucket="bucket", Key="key")["VersionId"] == second
    found = account.s3("GetObjectAttributes", Bucket="bucket", Key="key", ObjectAttributes=["ETag"], VersionId=first)
    assert found["VersionId"] == first
    assert listed(account) == [("key", second, True, False), ("key", first, False, False)]
    assert keys(account) == ["key"]
    delete(account, VersionId=first)
    with refused("NoSuchVersion", status=404):
        account.get("bucket", "key", VersionId=first)
    assert delete(account, VersionId=first) == {"VersionId": first}
    # One that S3 never gave, as recorded on AWS: `delete-with-bad-version` in LocalStack's test_s3_api.snapshot.json.
    for never in ("short", "A" * 32, second[:-4] + "ABCD"):
        for call in ("GetObject", "DeleteObject"):
            with refused("InvalidArgument", "Invalid version id specified", status=400):
                account.s3(call, Bucket="bucket", Key="key", VersionId=never)
    with refused("InvalidArgument", "empty string", status=400):
        account.get("bucket", "key", VersionId="")


def test_a_bucket_that_never_made_versions_has_none_but_null(account: Account) -> None:
    account.put("bucket", "key", b"1")
    assert account.get("bucket", "key", VersionId="null") == b"1"
    for call in ("GetObject", "HeadObject", "DeleteObject"):
        with refused("InvalidArgument", "Invalid version id specified", status=400):
            account.s3(call, Bucket="bucket", Key="key", VersionId="A" * 32)


def test_deleting_puts_a_marker_on_top(account: Account) -> None:
    turn(account, "Enabled")
    version = put(account, b"1")
    answer = delete(account)
    marker = answer["VersionId"]
    assert answer == {"DeleteMarker": True, "VersionId": marker} and len(marker) == 32
    with pytest.raises(ServiceError) as raised:
        account.get("bucket", "key")
    assert (raised.value.code, raised.value.status) == ("NoSuchKey", 404)
    assert raised.value.headers == {"x-amz-delete-marker": "true", "x-amz-version-id": marker}
    with pytest.raises(ServiceError) as raised:
        account.s3("HeadObject", Bucket="bucket", Key="key", VersionId=marker)
    assert (raised.value.code, raised.value.status) == ("MethodNotAllowed", 405)
    assert raised.value.headers["Last-Modified"] == "Sun, 01 Mar 2026 12:00:00 GMT"
    assert raised.value.headers["Allow"] == "DELETE"
    assert keys(account) == []
    assert account.get("bucket", "key", VersionId=version) == b"1"
    with refused("BucketNotEmpty", "all versions"):
        account.s3("DeleteBucket", Bucket="bucket")
    assert delete(account, VersionId=marker) == {"DeleteMarker": True, "VersionId": marker}
    assert account.get("bucket", "key") == b"1", "without the marker the object is back"
    assert delete(account, VersionId=version) == {"VersionId": version}
    assert delete(account, VersionId=version) == {"VersionId": version}
    assert account.bodies() == set()
    account.s3("DeleteBucket", Bucket="bucket")


def test_deleting_what_is_not_there_leaves_a_marker(account: Account) -> None:
    turn(account, "Enabled")
    first, second = delete(account, "a")["VersionId"], delete(account, "a")["VersionId"]
    assert listed(account) == [("a", second, True, True), ("a", first, False, True)]
    assert put(account, b"1", "a", IfNoneMatch="*"), "a marker is no object"


def test_without_the_latest_the_one_before_it_is(account: Account) -> None:
    turn(account, "Enabled")
    first, second, third = (put(account, data) for data in (b"1", b"2", b"3"))
    delete(account, VersionId=third)
    assert account.get("bucket", "key") == b"2"
    delete(account, VersionId=first)
    assert listed(account) == [("key", second, True, False)]
    assert len(account.bodies()) == 1


def test_the_null_version(account: Account) -> None:
    account.put("bucket", "key", b"before")
    turn(account, "Enabled")
    version = put(account, b"kept")
    turn(account, "Suspended")
    # `test_put_object_on_suspended_bucket`, recorded on AWS in LocalStack's test_s3_api.snapshot.json.
    assert "VersionId" not in account.put("bucket", "key", b"null")
    assert account.s3("HeadObject", Bucket="bucket", Key="key")["VersionId"] == "null"
    assert listed(account) == [("key", "null", True, False), ("key", version, False, False)]
    assert account.get("bucket", "key", VersionId="null") == b"null"
    assert len(account.bodies()) == 2, "the first null version went"
    assert delete(account) == {"DeleteMarker": True, "VersionId": "null"}
    assert listed(account) == [("key", version, False, False), ("key", "null", True, True)]
    assert len(account.bodies()) == 1
    turn(account, "Enabled")
    newer = put(account, b"newer")
    delete(account, VersionId="null")
    assert listed(account) == [("key", newer, True, False), ("key", version, False, False)]


def pages(account: Account, size: int, *, remove: bool = False) -> list[str]:
    """Versions page by page, each page being deleted before the next is asked for when `remove`."""
    found: list[str] = []
    place: dict[str, Any] = {}
    while True:
        answer = account.s3("ListObjectVersions", Bucket="bucket", MaxKeys=size, **place)
        page = answer.get("Versions", []) + answer.get("DeleteMarkers", [])
        assert len(page) <= size
        found += [item["VersionId"] for item in page]
        if remove:
            for item in page:
                delete(account, item["Key"], VersionId=item["VersionId"])
        if not answer["IsTruncated"]:
            return found
        place = {"KeyMarker": answer["NextKeyMarker"], "VersionIdMarker": answer["NextVersionIdMarker"]}


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_pages(account: Account, size: int) -> None:
    account.put("bucket", "b", b"null")
    turn(account, "Enabled")
    for key in ("a", "b", "b", "c"):
        put(account, key.encode(), key)
    delete(account, "b")
    whole = [version for _, version, _, _ in listed(account)]
    assert sorted(pages(account, size)) == sorted(whole) and len(whole) == 6
    assert sorted(pages(account, size, remove=True)) == sorted(whole), "deleting a page loses nothing of the next"
    assert listed(account) == []
    account.s3("DeleteBucket", Bucket="bucket")


def test_many_versions_of_one_key_in_the_order_of_their_making(account: Account) -> None:
    turn(account, "Enabled")
    made = [put(account, b"%d" % number) for number in range(30)]
    assert pages(account, 7) == made[::-1]
    answer = account.s3("ListObjectVersions", Bucket="bucket", KeyMarker="key")
    assert "Versions" not in answer and not answer["IsTruncated"]


def test_listing_by_prefix_and_delimiter(account: Account) -> None:
    turn(account, "Enabled")
    for key in ("a/1", "a/2", "b", "c/1"):
        put(account, b"", key)
        put(account, b"", key)
    answer = account.s3("ListObjectVersions", Bucket="bucket", Delimiter="/")
    assert [item["Key"] for item in answer["Versions"]] == ["b", "b"]
    assert answer["CommonPrefixes"] == [{"Prefix": "a/"}, {"Prefix": "c/"}]
    first = account.s3("ListObjectVersions", Bucket="bucket", Delimiter="/", MaxKeys=1)
    assert (first["NextKeyMarker"], "NextVersionIdMarker" in first) == ("a/", False)
    second = account.s3("ListObjectVersions", Bucket="bucket", Delimiter="/", MaxKeys=1, KeyMarker="a/")
    assert [item["Key"] for item in second["Versions"]] == ["b"]
    within = account.s3("ListObjectVersions", Bucket="bucket", Delimiter="/", KeyMarker="a/1")
    assert [item["Key"] for item in within["Versions"]] == ["b", "b"]
    assert within["CommonPrefixes"] == [{"Prefix": "c/"}]
    assert {key for key, *_ in listed(account, Prefix="a/")} == {"a/1", "a/2"}
    with refused("InvalidArgument", "without a key marker"):
        listed(account, VersionIdMarker="null")


def test_deleting_many_versions(account: Account) -> None:
    turn(account, "Enabled")
    first, second = put(account, b"1"), put(account, b"2")
    never = second[:-4] + "ABCD"
    wanted = [{"Key": "key", "VersionId": first}, {"Key": "key"}]
    wanted += [{"Key": "key", "VersionId": each} for each in ("x", never)]
    answer = account.s3("DeleteObjects", Bucket="bucket", Delete={"Objects": wanted})
    marker = answer["Deleted"][1].pop("DeleteMarkerVersionId")
    assert answer["Deleted"] == [{"Key": "key", "VersionId": first}, {"Key": "key", "DeleteMarker": True}]
    # `test_delete_objects_versioned`, recorded on AWS in LocalStack's test_s3_api.snapshot.json.
    told = [(error["VersionId"], error["Code"]) for error in answer["Errors"]]
    assert told == [("x", "NoSuchVersion"), (never, "NoSuchVersion")]
    again = account.s3("DeleteObjects", Bucket="bucket", Delete={"Objects": [{"Key": "key", "VersionId": marker}]})
    assert again["Deleted"] == [
        {"Key": "key", "VersionId": marker, "DeleteMarker": True, "DeleteMarkerVersionId": marker}
    ]
    assert account.get("bucket", "key") == b"2"


def test_copying_what_has_no_version_id(account: Account) -> None:
    """Recorded on AWS: `test_s3_copy_object_in_place_suspended_only` in LocalStack's test_s3.snapshot.json."""
    account.put("bucket", "key", b"1")
    for status in ("Enabled", "Suspended"):
        turn(account, status)
        answer = account.s3("CopyObject", Bucket="bucket", Key="other", CopySource="bucket/key")
        assert "CopySourceVersionId" not in answer
        assert answer["VersionId"]


def test_copying_a_version(account: Account) -> None:
    turn(account, "Enabled")
    first, second = put(account, b"1"), put(account, b"2")
    account.pass_time(seconds=5)
    source = f"bucket/key?versionId={first}"
    answer = account.s3("CopyObject", Bucket="bucket", Key="key", CopySource=source)
    assert answer["CopySourceVersionId"] == first
    assert answer["VersionId"] not in (first, second)
    assert account.get("bucket", "key") == b"1", "an older version comes back by being copied onto its own key"
    found = account.s3("HeadObject", Bucket="bucket", Key="key")
    assert (found["VersionId"], found["LastModified"]) == (answer["VersionId"], START + timedelta(seconds=5))
    marker = delete(account)["VersionId"]
    with refused("NoSuchKey", status=404):
        account.s3("CopyObject", Bucket="bucket", Key="other", CopySource="bucket/key")
    with refused("InvalidRequest", "delete marker by version id", status=400):
        account.s3("CopyObject", Bucket="bucket", Key="other", CopySource=f"bucket/key?versionId={marker}")
    upload = account.s3("CreateMultipartUpload", Bucket="bucket", Key="big")["UploadId"]
    place = {"Bucket": "bucket", "Key": "big", "UploadId": upload}
    part = account.s3("UploadPartCopy", **place, PartNumber=1, CopySource=f"bucket/key?versionId={second}")
    assert part["CopySourceVersionId"] == second
    parts = [{"PartNumber": 1, "ETag": part["CopyPartResult"]["ETag"]}]
    whole = account.s3("CompleteMultipartUpload", **place, MultipartUpload={"Parts": parts})
    assert account.get("bucket", "big", VersionId=whole["VersionId"]) == b"2"
    put(account, b"newer", "big")
    again = account.s3("CompleteMultipartUpload", **place, MultipartUpload={"Parts": parts})
    assert again == whole, "also when the object that it made is no longer the latest version"


def test_conditions_look_at_the_current_object(account: Account) -> None:
    turn(account, "Enabled")
    first = put(account, b"1")
    etag = account.s3("HeadObject", Bucket="bucket", Key="key")["ETag"]
    put(account, b"2")
    with refused("PreconditionFailed", status=412):
        put(account, b"3", IfMatch=etag)
    with refused("PreconditionFailed", status=412):
        delete(account, IfMatch=etag)
    delete(account, IfMatch=etag, VersionId=first)
    delete(account)
    with refused("NoSuchKey", status=404):
        put(account, b"3", IfMatch=etag)


def test_versions_take_permissions_of_their_own(account: Account) -> None:
    turn(account, "Enabled")
    version = put(account, b"1")
    caller = account.role("plain", allow(["s3:GetObject", "s3:DeleteObject", "s3:ListBucket"]))
    assert account.get("bucket", "key", caller=caller) == b"1"
    with refused("AccessDenied", "s3:GetObjectVersion on resource: arn:aws:s3:::bucket/key"):
        account.get("bucket", "key", caller=caller, VersionId=version)
    with refused("AccessDenied", "s3:DeleteObjectVersion"):
        delete(account, caller=caller, VersionId=version)
    with refused("AccessDenied", "s3:ListBucketVersions"):
        account.s3("ListObjectVersions", caller=caller, Bucket="bucket")
    answer = account.s3(
        "DeleteObjects",
        caller=caller,
        Bucket="bucket",
        Delete={"Objects": [{"Key": "key", "VersionId": version}, {"Key": "key"}]},
    )
    assert [error["Code"] for error in answer["Errors"]] == ["AccessDenied"]
    assert len(answer["Deleted"]) == 1
    only = allow("s3:GetObjectVersion", Condition={"StringEquals": {"s3:versionid": version}})
    assert account.get("bucket", "key", caller=account.role("one", only), VersionId=version) == b"1"
