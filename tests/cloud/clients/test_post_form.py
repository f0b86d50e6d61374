"""POST uploads by forms, as `generate_presigned_post` makes them for browsers.

What AWS answers was recorded in `TestS3PresignedPost` of LocalStack's tests/aws/services/s3/test_s3.snapshot.json.
"""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

import pytest
from serverless_cloud import Cloud

BOUNDARY = "a-boundary-of-the-tests"
LARGE = bytes(range(256)) * 4096 * 3


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def error(self) -> dict[str, str]:
        """The members of an error document that are about the request, with the status."""
        members = {each.tag: each.text or "" for each in ElementTree.fromstring(self.body)}
        del members["RequestId"], members["HostId"]
        return {"status": str(self.status), **members}


def form(fields: Mapping[str, str], data: bytes | None, file_name: str | None = "f.txt") -> bytes:
    parts = [f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{fields[name]}' for name in fields]
    body = "".join(f"{each}\r\n" for each in parts).encode()
    if data is not None:
        named = "" if file_name is None else f'; filename="{file_name}"'
        head = f'Content-Disposition: form-data; name="file"{named}\r\nContent-Type: text/x-of-the-part'
        body += f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode() + data + b"\r\n"
    return body + f"--{BOUNDARY}--\r\n".encode()


def sent(url: str, body: bytes, content_type: str = f"multipart/form-data; boundary={BOUNDARY}") -> Answer:
    where = urlsplit(url)
    connection = http.client.HTTPConnection("127.0.0.1", where.port)
    try:
        headers = {"Content-Type": content_type, "Host": where.netloc}
        connection.request("POST", where.path, body, headers)
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


class Poster:
    """Signs forms for one bucket and sends them."""

    def __init__(self, cloud: Cloud, version: str) -> None:
        self.cloud = cloud
        self.signer = cloud.client(signature_version=version)
        self.client = cloud.client()
        self.url = f"{cloud.url}/bucket"

    def signed(self, key: str = "key", **options: Any) -> dict[str, str]:
        found = self.signer.generate_presigned_post("bucket", key, **options)
        assert found["url"] == self.url
        return found["fields"]

    def post(self, fields: Mapping[str, str], data: bytes | None = b"data", file_name: str | None = "f.txt") -> Answer:
        return sent(self.url, form(fields, data, file_name))


@pytest.fixture(name="poster", params=["s3", "s3v4"])
def poster_fixture(cloud: Cloud, request: pytest.FixtureRequest) -> Iterator[Poster]:
    poster = Poster(cloud, request.param)
    poster.client.create_bucket(Bucket="bucket")
    yield poster
    poster.client.close()
    poster.signer.close()


@pytest.mark.parametrize("data", [b"", b"data", LARGE])
def test_a_file_becomes_an_object(poster: Poster, data: bytes) -> None:
    wished = {"Content-Type": "text/plain", "x-amz-meta-job": "1", "Cache-Control": "no-store"}
    tags = "<Tagging><TagSet><Tag><Key>a</Key><Value>b c</Value></Tag></TagSet></Tagging>"
    conditions: list[Any] = [*({name: value} for name, value in wished.items()), ["starts-with", "$tagging", ""]]
    fields = poster.signed("user/é-${filename}", Fields=wished, Conditions=conditions)
    answer = poster.post({**fields, "tagging": tags}, data, "C:\\files\\f.txt")
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["Location"] == f"{poster.url}/user/%C3%A9-f.txt"
    found = poster.client.get_object(Bucket="bucket", Key="user/é-f.txt", ChecksumMode="ENABLED")
    assert found["Body"].read() == data
    assert (found["ContentType"], found["Metadata"], found["CacheControl"]) == ("text/plain", {"job": "1"}, "no-store")
    assert (found["ETag"], found["TagCount"], "ChecksumCRC64NVME" in found) == (answer.headers["ETag"], 1, True)
    assert poster.client.get_object_tagging(Bucket="bucket", Key="user/é-f.txt")["TagSet"] == [
        {"Key": "a", "Value": "b c"}
    ]


def test_a_form_says_how_it_is_answered(poster: Poster) -> None:
    for status in ("200", "201", "204", "999"):
        wish = {"success_action_status": status}
        answer = poster.post(poster.signed("a&b", Fields=wish, Conditions=[wish]), b"data", None)
        assert answer.status == (204 if status == "999" else int(status))
        told = {each.tag: each.text for each in ElementTree.fromstring(answer.body)} if answer.body else None
        location = f"{poster.url}/a%26b"
        document = {"Location": location, "Bucket": "bucket", "Key": "a&b", "ETag": answer.headers["ETag"]}
        assert told == (document if status == "201" else None)
    for page, expected in (
        ("http://page.example/done", "http://page.example/done?bucket=bucket&key=key&etag=%22"),
        ("https://page.example/?a=1", "https://page.example/?a=1&bucket=bucket&key=key&etag=%22"),
        ("javascript:alert(1)", f"{poster.url}/key"),
    ):
        wish = {"success_action_redirect": page}
        answer = poster.post(poster.signed(Fields=wish, Conditions=[wish]))
        assert answer.status == (204 if page.startswith("java") else 303)
        assert answer.headers["Location"].startswith(expected)


def test_the_bucket_may_be_in_the_host(poster: Poster) -> None:
    poster.url = poster.cloud.url.replace("127.0.0.1", "bucket.localhost")
    answer = sent(poster.url + "/", form(poster.signer.generate_presigned_post("bucket", "key")["fields"], b"data"))
    assert (answer.status, answer.headers["Location"]) == (204, f"{poster.url}/key")


def test_the_size_of_a_file_is_bounded(poster: Poster) -> None:
    fields = poster.signed(Conditions=[["content-length-range", 5, 10]])
    assert poster.post(fields, b"a" * 12).error() == {
        "status": "400",
        "Code": "EntityTooLarge",
        "Message": "Your proposed upload exceeds the maximum allowed size",
        "ProposedSize": "12",
        "MaxSizeAllowed": "10",
    }
    assert poster.post(fields, b"a").error()["Code"] == "EntityTooSmall"
    assert poster.post(fields, LARGE).error()["Code"] == "EntityTooLarge"
    assert poster.cloud.bodies() == []
    assert poster.post(fields, b"a" * 10).status == 204


def test_a_form_that_nobody_signed_like_this(poster: Poster) -> None:
    fields = poster.signed()
    version_4 = "x-amz-signature" in fields
    named = {
        "x-amz-signature": "X-Amz-Signature",
        "x-amz-algorithm": "X-Amz-Algorithm",
        "AWSAccessKeyId": "AWSAccessKeyId",
    }
    named |= {"signature": "Signature", "policy": "policy", "key": "key"}
    for field in [name for name in named if name in fields]:
        assert poster.post({name: value for name, value in fields.items() if name != field}).error() == {
            "status": "400",
            "Code": "InvalidArgument",
            "Message": f"Bucket POST must contain a field named '{named[field]}'.  If it is specified, please check "
            "the order of the fields.",
            "ArgumentName": named[field],
            "ArgumentValue": "",
        }
    other = base64.b64encode(json.dumps({"expiration": "2099-01-01T00:00:00Z", "conditions": []}).encode()).decode()
    for policy in (other, "no base64"):
        error = poster.post({**fields, "policy": policy}).error()
        assert (error["status"], error["Code"]) == ("403", "SignatureDoesNotMatch")
        assert (error["StringToSign"], error["AWSAccessKeyId"]) == (policy, poster.cloud.key)
    key_field = "x-amz-credential" if version_4 else "AWSAccessKeyId"
    stranger = fields[key_field].replace(poster.cloud.key, "AKIANOBODY0000000000")
    assert poster.post({**fields, key_field: stranger}).error()["Code"] == "InvalidAccessKeyId"
    for kept in ({"key", "policy"}, {"key"}):
        error = poster.post({name: value for name, value in fields.items() if name in kept}, LARGE).error()
        assert (error["status"], error["Code"], error["Message"]) == ("403", "AccessDenied", "Access Denied")
    if version_4:
        for field, value in (
            ("x-amz-algorithm", "none"),
            ("x-amz-date", "today"),
            ("x-amz-credential", fields["x-amz-credential"].replace("s3", "ec2")),
            ("x-amz-credential", "nothing"),
        ):
            assert poster.post({**fields, field: value}).error()["Code"] == "AuthorizationQueryParametersError"
    assert poster.cloud.bodies() == []


def test_what_a_policy_does_not_allow(poster: Poster) -> None:
    error = poster.post(poster.signed(ExpiresIn=-1)).error()
    assert (error["status"], error["Code"]) == ("403", "AccessDenied")
    assert error["Message"] == "Invalid according to Policy: Policy expired."
    fields = poster.signed("user/${filename}")
    for changed in (
        {"key": "other/f.txt"},
        {"acl": "public-read"},
        {"x-amz-meta-a": "b"},
        {"x-amz-copy-source": "b/k"},
    ):
        error = poster.post({**fields, **changed}).error()
        assert (error["status"], error["Code"]) == ("403", "AccessDenied")
        assert error["Message"].startswith("Invalid according to Policy: ")
    assert poster.cloud.bodies() == []


def test_the_services_refuse_what_they_refuse_of_an_upload(poster: Poster) -> None:
    for name, value, code in (
        ("x-amz-storage-class", "FakeClass", "InvalidStorageClass"),
        ("Cache-Control", "b\r\nX-Evil: 1", "InvalidArgument"),
        ("x-amz-meta-a: b", "c", "InvalidArgument"),
        ("x-amz-meta-é", "c", "InvalidArgument"),
        ("x-amz-checksum-crc32", "AAAAAA==", "BadDigest"),
        ("x-amz-checksum-crc32", "AAAA", "InvalidRequest"),
        ("content-md5", "AAAA", "InvalidDigest"),
        ("Expires", "some day", "InvalidArgument"),
        ("tagging", "not xml", "MalformedXML"),
        ("tagging", "<!DOCTYPE a [<!ENTITY b 'c'>]><Tagging/>", "MalformedXML"),
        ("tagging", "<Tagging><TagSet><Tag><Key>a</Key></Tag></TagSet></Tagging>", "MalformedXML"),
        ("success_action_redirect", "http://[", None),
    ):
        answer = poster.post(poster.signed(Fields={name: value}, Conditions=[["starts-with", f"${name}", ""]]))
        assert (answer.error()["Code"] if answer.body else None) == code, name
    assert poster.post(poster.signed("k" * 1025)).error()["Code"] == "KeyTooLongError"
    assert poster.post({"key": "", "policy": ""}).error()["Code"] == "InvalidArgument"


def test_metadata_of_a_form_may_have_any_character(poster: Poster) -> None:
    """`test_post_object_with_unicode_metadata`, recorded on AWS; line ends do not become headers of the answer."""
    wished = {
        "nonascii": ("ÄMÄZÕÑ S3", "=?UTF-8?Q?=C3=84M=C3=84Z=C3=95=C3=91_S3?="),
        "marks": ("! \"#$%&'()*+,-./:;<>'?@[\\]^_`{|}~", None),
        "utf-8": ("\x00\x01\x02\x03\x04", "=?UTF-8?B?AAECAwQ=?="),
        "q-encoded": ("=?UTF-8?Q?actually-ascii?=", None),
        "b-encoded": ("=?UTF-8?B?YWJj?=", None),
        "lines": ("b\r\nX-Evil: 1", "=?UTF-8?B?Yg0KWC1FdmlsOiAx?="),
    }
    fields = {f"x-amz-meta-{name}": value for name, (value, _) in wished.items()}
    answer = poster.post(poster.signed(Fields=fields, Conditions=[{name: fields[name]} for name in fields]))
    assert (answer.status, answer.body) == (204, b"")
    found = poster.client.head_object(Bucket="bucket", Key="key")
    assert found["Metadata"] == {name: shown or value for name, (value, shown) in wished.items()}
    assert "x-evil" not in found["ResponseMetadata"]["HTTPHeaders"]


def test_tags_of_another_document_are_none(poster: Poster) -> None:
    """`test_post_object_with_tags[invalid]`, recorded on AWS."""
    wish = {"tagging": "<InvalidXmlTagging></InvalidXmlTagging>"}
    assert poster.post(poster.signed(Fields=wish, Conditions=[wish])).status == 204
    assert poster.client.get_object_tagging(Bucket="bucket", Key="key")["TagSet"] == []


def test_what_is_no_form(poster: Poster) -> None:
    error = sent(poster.url, b"a=1", "application/x-www-form-urlencoded").error()
    assert (error["status"], error["Code"]) == ("412", "PreconditionFailed")
    assert error["Condition"] == "Bucket POST must be of the enclosure-type multipart/form-data"
    assert poster.post(poster.signed(), None).error()["Code"] == "IncorrectNumberOfFilesInPostRequest"
    assert sent(poster.url, form(poster.signed(), LARGE)[:-100]).error()["Code"] == "MalformedPOSTRequest"
    assert poster.post({"a": "b" * 30000}, LARGE).error()["Code"] == "MaxPostPreDataLengthExceededError"
    assert sent(poster.cloud.url + "/bucket/key", form({}, b"")).error()["Code"] == "MethodNotAllowed"
    assert poster.cloud.bodies() == []


def test_policies_of_buckets_decide_about_forms(poster: Poster) -> None:
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:PutObject",
        "Resource": "arn:aws:s3:::bucket/open/*",
    }
    denied = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:PutObject",
        "Resource": "arn:aws:s3:::bucket/no-forms/*",
        "Condition": {"StringEquals": {"s3:authType": "POST"}},
    }
    poster.client.put_public_access_block(Bucket="bucket", PublicAccessBlockConfiguration={"BlockPublicPolicy": False})
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement, denied]})
    poster.client.put_bucket_policy(Bucket="bucket", Policy=policy)
    assert poster.post({"key": "open/${filename}", "submit": "Send"}).status == 204
    assert poster.client.head_object(Bucket="bucket", Key="open/f.txt")["ContentLength"] == 4
    assert poster.post({"key": "other"}).error()["Code"] == "AccessDenied"
    assert poster.post(poster.signed("no-forms/a")).error()["Code"] == "AccessDenied"
