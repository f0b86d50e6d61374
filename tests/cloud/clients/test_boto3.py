"""What users of boto3 do with S3: resources, paginators, waiters, the transfer manager, presigned addresses, CORS."""

from __future__ import annotations

import base64
import hashlib
import os
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError, WaiterError
from serverless_cloud import REGION, Cloud

from skylift.cloud.domain.bucket import LARGEST_IN_ROW

MIB = 1 << 20
IN_PARTS = TransferConfig(multipart_threshold=6 * MIB, multipart_chunksize=6 * MIB, max_concurrency=4)


@pytest.fixture(name="s3")
def s3_fixture(cloud: Cloud) -> Any:
    client = cloud.client()
    client.create_bucket(Bucket="bucket")
    return client


def refusal(call: Any, **params: Any) -> tuple[str, int, dict[str, str]]:
    with pytest.raises(ClientError) as raised:
        call(**params)
    answer: Any = raised.value.response
    metadata = answer["ResponseMetadata"]
    return answer["Error"]["Code"], metadata["HTTPStatusCode"], metadata["HTTPHeaders"]


@pytest.mark.parametrize("algorithm", [None, "CRC32", "SHA256"])
def test_the_transfer_manager(s3: Any, cloud: Cloud, tmp_path: Path, algorithm: str | None) -> None:
    data = os.urandom(20 * MIB)
    (tmp_path / "in").write_bytes(data)
    extra = {"ChecksumAlgorithm": algorithm} if algorithm else {}
    s3.upload_file(str(tmp_path / "in"), "bucket", "big", Config=IN_PARTS, ExtraArgs={**extra, "Tagging": "n=1"})
    found = s3.head_object(Bucket="bucket", Key="big")
    assert found["ETag"].endswith('-4"') and found["TagCount"] == 1
    s3.copy({"Bucket": "bucket", "Key": "big"}, "bucket", "copy", Config=IN_PARTS, ExtraArgs=extra)
    s3.delete_object(Bucket="bucket", Key="big")
    s3.download_file("bucket", "copy", str(tmp_path / "out"), Config=IN_PARTS)
    assert hashlib.sha256((tmp_path / "out").read_bytes()).digest() == hashlib.sha256(data).digest()
    if algorithm:
        kept = s3.head_object(Bucket="bucket", Key="copy", ChecksumMode="ENABLED")
        assert f"Checksum{algorithm}" in kept
    s3.delete_object(Bucket="bucket", Key="copy")
    assert cloud.bodies() == []


def test_resources_walk_and_empty_a_bucket_that_keeps_versions(cloud: Cloud, s3: Any) -> None:
    bucket = cloud.resource().Bucket("bucket")
    bucket.Versioning().enable()
    assert bucket.Versioning().status == "Enabled"
    for number in range(5):
        bucket.put_object(Key=f"{number % 2}/key", Body=f"{number}".encode())
    bucket.Object("0/key").delete()
    assert [item.key for item in bucket.objects.all()] == ["1/key"]
    versions = list(bucket.object_versions.all())
    assert len(versions) == 6
    first = [item for item in versions if item.object_key == "0/key" and item.size == 1][-1]
    assert first.get()["Body"].read() == b"0"
    with pytest.raises(ClientError, match="BucketNotEmpty"):
        bucket.delete()
    for _ in bucket.object_versions.page_size(2).delete():
        pass
    bucket.delete()
    assert cloud.bodies() == []


def test_a_paginator_of_versions_goes_through_all_of_them(s3: Any) -> None:
    s3.put_bucket_versioning(Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
    made = [s3.put_object(Bucket="bucket", Key="a key/é", Body=b"x")["VersionId"] for _ in range(7)]
    pages = s3.get_paginator("list_object_versions").paginate(Bucket="bucket", PaginationConfig={"PageSize": 3})
    found = [item for page in pages for item in page["Versions"]]
    assert [item["VersionId"] for item in found] == made[::-1]
    assert {item["Key"] for item in found} == {"a key/é"}


def test_delete_markers_are_told_in_headers(s3: Any) -> None:
    s3.put_bucket_versioning(Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket="bucket", Key="key", Body=b"x")
    marker = s3.delete_object(Bucket="bucket", Key="key")
    assert marker["DeleteMarker"] is True
    code, status, headers = refusal(s3.get_object, Bucket="bucket", Key="key")
    assert (code, status, headers["x-amz-delete-marker"]) == ("NoSuchKey", 404, "true")
    code, status, headers = refusal(s3.head_object, Bucket="bucket", Key="key", VersionId=marker["VersionId"])
    assert (status, headers["allow"], headers["x-amz-version-id"]) == (405, "DELETE", marker["VersionId"])
    assert "last-modified" in headers


def test_waiters(s3: Any) -> None:
    quick = {"Delay": 1, "MaxAttempts": 1}
    s3.get_waiter("bucket_exists").wait(Bucket="bucket", WaiterConfig=quick)
    s3.get_waiter("object_not_exists").wait(Bucket="bucket", Key="key", WaiterConfig=quick)
    with pytest.raises(WaiterError):
        s3.get_waiter("object_exists").wait(Bucket="bucket", Key="key", WaiterConfig=quick)
    s3.put_object(Bucket="bucket", Key="key")
    s3.get_waiter("object_exists").wait(Bucket="bucket", Key="key", WaiterConfig=quick)


def test_settings_of_a_bucket(s3: Any) -> None:
    acl = s3.get_bucket_acl(Bucket="bucket")
    assert acl["Grants"][0]["Grantee"] == {"ID": acl["Owner"]["ID"], "Type": "CanonicalUser"}
    s3.put_public_access_block(
        Bucket="bucket", PublicAccessBlockConfiguration={"BlockPublicAcls": True, "BlockPublicPolicy": False}
    )
    blocked = s3.get_public_access_block(Bucket="bucket")["PublicAccessBlockConfiguration"]
    assert [name for name, on in blocked.items() if on] == ["BlockPublicAcls"]
    controls = {"Rules": [{"ObjectOwnership": "BucketOwnerPreferred"}]}
    s3.put_bucket_ownership_controls(Bucket="bucket", OwnershipControls=controls)
    assert s3.get_bucket_ownership_controls(Bucket="bucket")["OwnershipControls"] == controls
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": False}
    s3.put_bucket_encryption(Bucket="bucket", ServerSideEncryptionConfiguration={"Rules": [rule]})
    assert s3.get_bucket_encryption(Bucket="bucket")["ServerSideEncryptionConfiguration"]["Rules"] == [rule]
    code, status, _ = refusal(
        s3.put_bucket_website, Bucket="bucket", WebsiteConfiguration={"IndexDocument": {"Suffix": "index.html"}}
    )
    assert (code, status) == ("NotImplemented", 501)


def test_an_archived_object_is_restored(cloud: Cloud) -> None:
    """As recorded on AWS: `test_s3_get_deep_archive_object_restore` in LocalStack's test_s3.snapshot.json."""
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket="bucket")
    s3.put_object(Bucket="bucket", Key="key", Body=b"content", StorageClass="DEEP_ARCHIVE")
    with pytest.raises(s3.exceptions.InvalidObjectState) as caught:
        s3.get_object(Bucket="bucket", Key="key")
    assert caught.value.response["StorageClass"] == "DEEP_ARCHIVE"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    request = {"Days": 1, "GlacierJobParameters": {"Tier": "Bulk"}}
    answer = s3.restore_object(Bucket="bucket", Key="key", RestoreRequest=request)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert s3.get_object(Bucket="bucket", Key="key")["Body"].read() == b"content"
    assert 'ongoing-request="false"' in s3.head_object(Bucket="bucket", Key="key")["Restore"]


def ask(url: str, method: str, data: bytes | None = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """As a browser does, which signs nothing."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, data, named, method=method)) as answer:
            return answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, {k.lower(): v for k, v in error.headers.items()}, error.read()


def test_a_checksum_in_the_query_of_a_presigned_address_is_not_the_bodys(cloud: Cloud, s3: Any) -> None:
    """SDKs for JavaScript sign that of the empty body, which S3 ignores.

    https://github.com/localstack/localstack/issues/12169
    """
    query = "x-amz-checksum-crc32=AAAAAA%3D%3D&x-amz-sdk-checksum-algorithm=CRC32&x-id=PutObject"
    request = AWSRequest(method="PUT", url=f"{cloud.url}/bucket/key?{query}")
    S3SigV4QueryAuth(Credentials(cloud.key, cloud.secret), "s3", REGION).add_auth(request)
    assert ask(request.url, "PUT", b"content", Content_Type="text/plain")[0] == 200
    assert s3.get_object(Bucket="bucket", Key="key")["Body"].read() == b"content"
    signed = cloud.client(signature_version="s3v4").generate_presigned_url(
        "put_object", Params={"Bucket": "bucket", "Key": "key", "ChecksumCRC32": "AAAAAA=="}
    )
    status, _, body = ask(signed, "PUT", b"else", Content_Type="text/plain", x_amz_checksum_crc32="AAAAAA==")
    assert (status, b"<Code>BadDigest</Code>" in body) == (400, True)


def test_a_presigned_address_may_hold_a_condition(cloud: Cloud, s3: Any) -> None:
    """As SDKs for Java sign it: `test_pre_signed_url_if_none_match` and `test_pre_signed_url_if_match`, validated on
    AWS in LocalStack's test_s3.py."""

    def put(condition: str, value: str) -> int:
        request = AWSRequest("PUT", f"{cloud.url}/bucket/key", data={}, params={condition: value})
        S3SigV4QueryAuth(Credentials(cloud.key, cloud.secret), "s3", REGION).add_auth(request)
        return ask(request.url, "PUT", b"")[0]

    assert [put("If-None-Match", "*"), put("If-None-Match", "*")] == [200, 412]
    etag = s3.head_object(Bucket="bucket", Key="key")["ETag"]
    assert [put("If-Match", '"' + "0" * 32 + '"'), put("If-Match", etag)] == [412, 200]


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_no_header_replaces_the_condition_of_a_presigned_address(cloud: Cloud, s3: Any, method: str) -> None:
    """Nobody has signed such a header: who holds the address could change what was written meanwhile."""
    whole = {"Bucket": "bucket", "Key": "key"}
    first = s3.put_object(**whole, Body=b"first")["ETag"]
    request = AWSRequest(method, f"{cloud.url}/bucket/key", data={}, params={"If-Match": first})
    S3SigV4QueryAuth(Credentials(cloud.key, cloud.secret), "s3", REGION).add_auth(request)
    other = s3.put_object(**whole, Body=b"other")["ETag"]
    for header in (other, "*", ""):
        status, _, body = ask(request.url, method, b"", If_Match=header)
        assert (status, b"<ArgumentName>if-match</ArgumentName>" in body) == (400, True)
    assert ask(request.url, method, b"")[0] == 412
    assert s3.get_object(**whole)["Body"].read() == b"other"
    s3.put_object(**whole, Body=b"first")
    assert ask(request.url, method, b"", If_Match=first)[0] in (200, 204)


def test_what_is_said_of_the_body_beside_a_presigned_address_is_ignored(cloud: Cloud, s3: Any) -> None:
    """`test_s3_ignored_special_headers`, validated on AWS in LocalStack's test_s3.py; other headers must be signed."""
    url = cloud.client(signature_version="s3v4").generate_presigned_url(
        "put_object", Params={"Bucket": "bucket", "Key": "key"}
    )
    for stated in ("UNSIGNED-PAYLOAD", "0" * 64, "STREAMING-UNSIGNED-PAYLOAD-TRAILER"):
        assert ask(url, "PUT", stated.encode(), x_amz_content_sha256=stated)[0] == 200
        assert s3.get_object(Bucket="bucket", Key="key")["Body"].read() == stated.encode()
    assert ask(url, "PUT", b"other", x_amz_user_agent="test")[0] == 403


def test_a_header_that_a_presigned_address_signs_may_be_in_its_query(cloud: Cloud, s3: Any) -> None:
    """`test_presigned_url_v4_signed_headers_in_qs`, validated on AWS in LocalStack's test_s3.py."""
    signed = {"x-amz-server-side-encryption": "AES256", "x-amz-meta-a": "b"}
    query = "&".join(f"{name}={value}" for name, value in signed.items())
    request = AWSRequest("PUT", f"{cloud.url}/bucket/key?{query}", headers=signed)
    S3SigV4QueryAuth(Credentials(cloud.key, cloud.secret), "s3", REGION).add_auth(request)
    for sent in ({}, {"x-amz-meta-a": "b"}, signed):
        assert ask(request.url, "PUT", b"data", **sent)[0] == 200
        assert s3.head_object(Bucket="bucket", Key="key")["Metadata"] == {"a": "b"}
    status, _, body = ask(request.url, "PUT", b"data", x_amz_meta_a="c")
    assert (status, b"<Code>SignatureDoesNotMatch</Code>" in body) == (403, True)
    status, _, body = ask(request.url.replace("x-amz-meta-a=b", "x-amz-meta-a=c"), "PUT", b"data")
    assert (status, b"<Code>SignatureDoesNotMatch</Code>" in body) == (403, True)


class OfAnyBody(S3SigV4QueryAuth):
    """Signs for whatever body comes, also where a header names one."""

    def canonical_request(self, request: Any) -> str:
        *lines, _ = super().canonical_request(request).split("\n")
        return "\n".join([*lines, "UNSIGNED-PAYLOAD"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-amz-checksum-sha256", base64.b64encode(hashlib.sha256(b"right").digest()).decode()),
        ("x-amz-content-sha256", hashlib.sha256(b"right").hexdigest()),
        ("x-amz-sdk-checksum-algorithm", "SHA256"),
    ],
)
def test_what_a_presigned_address_signs_of_the_body_has_to_be_sent(
    cloud: Cloud, s3: Any, name: str, value: str
) -> None:
    """In the query it would not be looked at, and the address would do for any body. `test_s3_ignored_special_headers`,
    validated on AWS in LocalStack's test_s3.py, has such a refusal."""
    request = AWSRequest("PUT", f"{cloud.url}/bucket/key?{urlencode({name: value})}", headers={name: value})
    OfAnyBody(Credentials(cloud.key, cloud.secret), "s3", REGION).add_auth(request)
    for body in (b"wrong", b"right"):
        status, _, answer = ask(request.url, "PUT", body)
        assert (status, b"<Code>SignatureDoesNotMatch</Code>" in answer) == (403, True)
    assert "Contents" not in s3.list_objects_v2(Bucket="bucket")
    if name == "x-amz-checksum-sha256":
        status, _, answer = ask(request.url, "PUT", b"wrong", **{name: value})
        assert (status, b"<Code>BadDigest</Code>" in answer) == (400, True)
        assert ask(request.url, "PUT", b"right", **{name: value})[0] == 200


def test_a_presigned_address_whose_credential_is_encoded_twice(cloud: Cloud, s3: Any) -> None:
    """`test_presigned_double_encoded_credentials`, recorded on AWS in LocalStack's test_s3.snapshot.json."""
    url = cloud.client(signature_version="s3v4").generate_presigned_url(
        "get_object", Params={"Bucket": "bucket", "Key": "key"}
    )
    status, _, body = ask(url.replace("%2F", "%252F"), "GET")
    assert (status, b"<Code>AuthorizationQueryParametersError</Code>" in body) == (400, True)
    assert b"the Credential is mal-formed; expecting &quot;&lt;YOUR-AKID&gt;/YYYYMMDD/REGION/SERVICE/" in body


def test_what_lists_have_comes_after_what_it_belongs_to(cloud: Cloud, s3: Any) -> None:
    """The SDK for Java reads answers in their order: `test_response_structure`, validated on AWS in LocalStack's
    test_s3.py."""
    for key in ("a/b", "c"):
        s3.put_object(Bucket="bucket", Key=key, Body=b"")
    version_4 = cloud.client(signature_version="s3v4")

    def order(operation: str, **params: str) -> list[str]:
        _, _, body = ask(version_4.generate_presigned_url(operation, Params=params), "GET")
        return [each.tag.rpartition("}")[2] for each in ElementTree.fromstring(body)]

    assert order("list_buckets")[:2] == ["Owner", "Buckets"]
    listed = {"Bucket": "bucket", "Delimiter": "/", "Prefix": "", "EncodingType": "url"}
    assert order("list_objects", **listed)[-2:] == ["Contents", "CommonPrefixes"]
    assert order("list_objects_v2", **listed)[-2:] == ["Contents", "CommonPrefixes"]
    assert order("list_object_versions", **listed)[-2:] == ["Version", "CommonPrefixes"]


def test_who_would_pay_for_requests_is_served(s3: Any) -> None:
    """Programs that read buckets of others send it with all requests."""
    whole = {"Bucket": "bucket", "RequestPayer": "requester"}
    one = {**whole, "Key": "key"}
    s3.put_object(**one, Body=b"data")
    assert s3.get_object(**one)["Body"].read() == b"data"
    assert s3.list_objects_v2(**whole)["KeyCount"] == 1
    s3.copy_object(**one, CopySource="bucket/key", MetadataDirective="REPLACE")
    upload = s3.create_multipart_upload(**one)["UploadId"]
    etag = s3.upload_part(**one, UploadId=upload, PartNumber=1, Body=b"data")["ETag"]
    assert s3.list_parts(**one, UploadId=upload)["Parts"][0]["ETag"] == etag
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    s3.complete_multipart_upload(**one, UploadId=upload, MultipartUpload=parts)
    assert s3.get_object_tagging(**one)["TagSet"] == []
    assert s3.delete_objects(**whole, Delete={"Objects": [{"Key": "key"}]})["Deleted"] == [{"Key": "key"}]


def test_whoever_looks_for_the_region_of_a_bucket_is_told(cloud: Cloud, s3: Any) -> None:
    """By a header of listings (`test_region_header_exists_outside_us_east_1`, validated on AWS in LocalStack's
    test_s3.py), and of a refusal to somebody who signs nothing, as `GetBucketRegion` of the SDK for Go does."""
    for listing in (s3.list_objects, s3.list_objects_v2, s3.head_bucket):
        metadata = listing(Bucket="bucket")["ResponseMetadata"]
        assert metadata["HTTPHeaders"]["x-amz-bucket-region"] == REGION
    for method in ("HEAD", "GET"):
        status, headers, _ = ask(f"{cloud.url}/bucket", method)
        assert (status, headers["x-amz-bucket-region"]) == (403, REGION)
    assert "x-amz-bucket-region" not in ask(f"{cloud.url}/bucket/key", "HEAD")[1]


def test_an_address_of_version_2_takes_the_content_type_that_it_names(cloud: Cloud, s3: Any) -> None:
    """boto3 writes it into the address, and who uses that has to send it: `test_presigned_url_signature_authentication`
    and `test_s3_put_presigned_url_with_different_headers`, validated on AWS in LocalStack's test_s3.py."""
    url = cloud.client(signature_version="s3").generate_presigned_url(
        "put_object", Params={"Bucket": "bucket", "Key": "key", "ContentType": "text/plain"}
    )
    assert ask(url, "PUT", b"data", Content_Type="text/plain")[0] == 200
    status, _, body = ask(url, "PUT", b"data", Content_Type="text/xml")
    assert (status, b"<Code>SignatureDoesNotMatch</Code>" in body) == (403, True)
    assert s3.head_object(Bucket="bucket", Key="key")["ContentType"] == "text/plain"


def test_a_request_of_version_2_is_refused(cloud: Cloud, s3: Any) -> None:
    """`Any new buckets created after June 24, 2020 will not support SigV2 signed requests`: AWS's announcement of
    2019-06-14, and https://docs.aws.amazon.com/AmazonS3/latest/API/specify-signature-version.html"""
    old = cloud.client(signature_version="s3")
    code, status, _ = refusal(old.list_objects_v2, Bucket="bucket")
    assert (code, status) == ("InvalidRequest", 400)
    with pytest.raises(ClientError, match="The authorization mechanism you have provided is not supported"):
        old.put_object(Bucket="bucket", Key="key", Body=b"data")


def test_a_page_uploads_to_a_presigned_address(cloud: Cloud, s3: Any) -> None:
    url = cloud.client(signature_version="s3v4").generate_presigned_url(
        "put_object", Params={"Bucket": "bucket", "Key": "key"}
    )
    question = {
        "Origin": "http://page.example",
        "Access_Control_Request_Method": "PUT",
        "Access_Control_Request_Headers": "content-type",
    }
    status, _, body = ask(url, "OPTIONS", **question)
    assert status == 403 and b"CORS is not enabled for this bucket" in body
    rule = {
        "AllowedMethods": ["PUT"],
        "AllowedOrigins": ["http://page.example"],
        "AllowedHeaders": ["*"],
        "ExposeHeaders": ["ETag"],
        "MaxAgeSeconds": 60,
    }
    s3.put_bucket_cors(Bucket="bucket", CORSConfiguration={"CORSRules": [rule]})
    assert s3.get_bucket_cors(Bucket="bucket")["CORSRules"] == [rule]
    status, headers, _ = ask(url, "OPTIONS", **question)
    assert status == 200
    assert headers["access-control-allow-origin"] == "http://page.example"
    assert headers["access-control-allow-headers"] == "content-type"
    assert headers["access-control-max-age"] == "60"
    status, headers, _ = ask(url, "PUT", b"data", Origin="http://page.example", Content_Type="text/csv")
    assert status == 200
    assert headers["access-control-allow-origin"] == "http://page.example"
    assert headers["access-control-expose-headers"] == "ETag"
    status, headers, _ = ask(url, "PUT", b"data", Origin="http://other.example")
    assert status == 200 and "access-control-allow-origin" not in headers
    status, _, body = ask(url, "OPTIONS", **{**question, "Access_Control_Request_Method": "DELETE"})
    assert status == 403 and b"<Code>AccessForbidden</Code>" in body
    status, _, body = ask(url, "OPTIONS", Access_Control_Request_Method="PUT")
    assert status == 400 and b"Origin request header needed" in body
    status, _, body = ask(url, "OPTIONS", Origin="http://page.example")
    assert status == 400 and b"Invalid Access-Control-Request-Method: null" in body


@pytest.mark.parametrize("size", [LARGEST_IN_ROW - 1, LARGEST_IN_ROW, LARGEST_IN_ROW + 1])
def test_an_object_is_the_same_on_both_sides_of_what_a_row_holds(cloud: Cloud, s3: Any, size: int) -> None:
    data = os.urandom(size)
    s3.put_object(Bucket="bucket", Key="key", Body=data)
    s3.copy_object(Bucket="bucket", Key="copy", CopySource="bucket/key", ChecksumAlgorithm="SHA256")
    s3.delete_object(Bucket="bucket", Key="key")
    found = s3.get_object(Bucket="bucket", Key="copy", ChecksumMode="ENABLED")
    assert found["Body"].read() == data
    assert (found["ContentLength"], found["ETag"]) == (size, f'"{hashlib.md5(data).hexdigest()}"')
    assert base64.b64decode(found["ChecksumSHA256"]) == hashlib.sha256(data).digest()
    tail = s3.get_object(Bucket="bucket", Key="copy", Range="bytes=-10")
    assert (tail["Body"].read(), tail["ContentRange"]) == (data[-10:], f"bytes {size - 10}-{size - 1}/{size}")
    assert len(cloud.bodies()) == 1


def test_a_large_object_ends_in_a_small_part(cloud: Cloud, s3: Any) -> None:
    s3.put_object(Bucket="bucket", Key="small", Body=b"0123456789")
    place = {"Bucket": "bucket", "Key": "key"}
    upload = {**place, "UploadId": s3.create_multipart_upload(**place)["UploadId"]}
    first = os.urandom(5 * MIB)
    tags = [
        s3.upload_part(**upload, PartNumber=1, Body=first)["ETag"],
        s3.upload_part_copy(**upload, PartNumber=2, CopySource="bucket/small", CopySourceRange="bytes=3-7")[
            "CopyPartResult"
        ]["ETag"],
    ]
    parts = [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(tags, 1)]
    s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    s3.delete_object(Bucket="bucket", Key="small")
    assert s3.get_object(**place)["Body"].read() == first + b"34567"
    assert s3.get_object(**place, PartNumber=2)["Body"].read() == b"34567"
    assert s3.get_object(**place, Range=f"bytes={5 * MIB - 2}-{5 * MIB + 1}")["Body"].read() == first[-2:] + b"34"
    assert len(cloud.bodies()) == 2


def test_lifecycle_rules(cloud: Cloud) -> None:
    client = cloud.client()
    client.create_bucket(Bucket="bucket")
    both = {"Prefix": "a", "Tags": [{"Key": "k", "Value": "v"}]}
    rules: list[Any] = [
        {"ID": "1", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 7}},
        {
            "ID": "2",
            "Status": "Enabled",
            "Filter": {"And": both},
            "Expiration": {"Date": datetime(2030, 1, 1, tzinfo=UTC)},
        },
        {"ID": "3", "Status": "Enabled", "Prefix": "", "NoncurrentVersionExpiration": {"NoncurrentDays": 1}},
        {"ID": "4", "Status": "Enabled", "Filter": {}, "Expiration": {"ExpiredObjectDeleteMarker": True}},
    ]
    client.put_bucket_lifecycle_configuration(Bucket="bucket", LifecycleConfiguration={"Rules": rules})
    assert client.get_bucket_lifecycle_configuration(Bucket="bucket")["Rules"] == rules
    assert 'rule-id="1"' in client.put_object(Bucket="bucket", Key="b")["Expiration"]
    moved = {
        **rules[0],
        "Expiration": {"Days": 9},
        "Transitions": [{"Days": 1, "StorageClass": "GLACIER_IR"}, {"Days": 2, "StorageClass": "DEEP_ARCHIVE"}],
        "NoncurrentVersionTransitions": [
            {"NoncurrentDays": 1, "StorageClass": "GLACIER", "NewerNoncurrentVersions": 2}
        ],
    }
    small = {"TransitionDefaultMinimumObjectSize": "varies_by_storage_class"}
    client.put_bucket_lifecycle_configuration(Bucket="bucket", LifecycleConfiguration={"Rules": [moved]}, **small)
    shown = client.get_bucket_lifecycle_configuration(Bucket="bucket")
    assert shown["Rules"] == [moved] and shown["TransitionDefaultMinimumObjectSize"] == "varies_by_storage_class"
    client.delete_bucket_lifecycle(Bucket="bucket")
    with pytest.raises(ClientError, match="NoSuchLifecycleConfiguration"):
        client.get_bucket_lifecycle_configuration(Bucket="bucket")
