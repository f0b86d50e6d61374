"""Bucket policies about how a request is signed and what it is for, as real clients sign and send it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import pytest
from botocore.exceptions import ClientError
from serverless_cloud import Cloud

OBJECTS = "arn:aws:s3:::bucket/*"


@pytest.fixture(name="s3")
def s3_fixture(cloud: Cloud) -> Any:
    client = cloud.client()
    client.create_bucket(Bucket="bucket")
    client.put_object(Bucket="bucket", Key="key", Body=b"data")
    return client


def forbid(s3: Any, action: str, condition: dict[str, dict[str, Any]]) -> None:
    """Nobody, root included, may do `action` where the condition holds."""
    statement = {"Effect": "Deny", "Principal": "*", "Action": action, "Resource": OBJECTS, "Condition": condition}
    s3.put_bucket_policy(Bucket="bucket", Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))


def fetched(address: str) -> bytes | int:
    """What is at a presigned address, or the status that it is refused with."""
    try:
        with urllib.request.urlopen(address) as answer:
            content: bytes = answer.read()
            return content
    except urllib.error.HTTPError as error:
        return error.code


def address(cloud: Cloud, version: str = "s3v4") -> str:
    signer = cloud.client(signature_version=version)
    made: str = signer.generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": "key"})
    return made


def is_refused(call: Any, **params: Any) -> bool:
    try:
        call(Bucket="bucket", **params)
    except ClientError as error:
        assert error.response["Error"]["Code"] == "AccessDenied"
        return True
    return False


def test_a_bucket_can_refuse_presigned_addresses(cloud: Cloud, s3: Any) -> None:
    assert fetched(address(cloud)) == b"data"
    forbid(s3, "s3:GetObject", {"StringEquals": {"s3:authType": "REST-QUERY-STRING"}})
    assert fetched(address(cloud)) == 403
    assert not is_refused(s3.get_object, Key="key")


def test_a_bucket_can_refuse_signatures_of_version_2(cloud: Cloud, s3: Any) -> None:
    assert fetched(address(cloud, "s3")) == b"data"
    forbid(s3, "s3:GetObject", {"StringNotEquals": {"s3:signatureversion": "AWS4-HMAC-SHA256"}})
    assert fetched(address(cloud, "s3")) == 403
    assert fetched(address(cloud)) == b"data"


def test_a_bucket_can_limit_how_old_a_signature_may_be(cloud: Cloud, s3: Any) -> None:
    forbid(s3, "s3:GetObject", {"NumericGreaterThan": {"s3:signatureAge": "600000"}})
    assert fetched(address(cloud)) == b"data"
    forbid(s3, "s3:GetObject", {"NumericGreaterThanEquals": {"s3:signatureAge": "0"}})
    assert fetched(address(cloud)) == 403


def test_a_bucket_can_refuse_what_is_not_signed_with_its_body(cloud: Cloud, s3: Any) -> None:
    forbid(s3, "s3:PutObject", {"StringEquals": {"s3:x-amz-content-sha256": "UNSIGNED-PAYLOAD"}})
    upload = cloud.client(signature_version="s3v4").generate_presigned_url(
        "put_object", Params={"Bucket": "bucket", "Key": "new"}
    )
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(urllib.request.Request(upload, data=b"x", method="PUT"))
    whole = cloud.client(s3={"payload_signing_enabled": True})
    assert not is_refused(whole.put_object, Key="new", Body=b"x")


def test_objects_may_be_created_but_not_replaced(s3: Any) -> None:
    """The S3 user guide's policy that enforces conditional writes, which lets uploads in parts begin."""
    forbid(s3, "s3:PutObject", {"Null": {"s3:if-none-match": "true"}, "Bool": {"s3:ObjectCreationOperation": "true"}})
    assert is_refused(s3.put_object, Key="new", Body=b"x")
    assert not is_refused(s3.put_object, Key="new", Body=b"x", IfNoneMatch="*")
    upload = s3.create_multipart_upload(Bucket="bucket", Key="big")["UploadId"]
    part = s3.upload_part(Bucket="bucket", Key="big", UploadId=upload, PartNumber=1, Body=b"x")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    asked = {"Key": "big", "UploadId": upload, "MultipartUpload": parts}
    assert is_refused(s3.complete_multipart_upload, **asked)
    assert not is_refused(s3.complete_multipart_upload, **asked, IfNoneMatch="*")


def test_a_deletion_of_many_is_asked_about_with_the_same_keys(s3: Any) -> None:
    forbid(s3, "s3:DeleteObject", {"StringEquals": {"s3:authType": "REST-HEADER"}})
    answer = s3.delete_objects(Bucket="bucket", Delete={"Objects": [{"Key": "key"}]})
    assert answer["Errors"][0]["Code"] == "AccessDenied"
