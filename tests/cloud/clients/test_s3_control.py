"""Requests to S3 Control beside those to S3, which are signed for the same service."""

from __future__ import annotations

import urllib.error
import urllib.request
from typing import Any

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from serverless_cloud import ACCOUNT, REGION, Cloud

TAGS = "/v20180820/tags/arn%3Aaws%3As3%3A%3A%3Abucket"


def answer(cloud: Cloud, path: str, method: str = "GET", body: bytes = b"", **headers: str) -> tuple[int, bytes]:
    request = AWSRequest(method, f"{cloud.url}{path}", headers=headers, data=body)
    S3SigV4Auth(Credentials(cloud.key, cloud.secret), "s3", REGION).add_auth(request)
    return plain(cloud, path, method, body, dict(request.headers))


def plain(cloud: Cloud, path: str, method: str, body: bytes, headers: dict[str, Any]) -> tuple[int, bytes]:
    request = urllib.request.Request(f"{cloud.url}{path}", data=body or None, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request) as found:
            return found.status, found.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_a_bucket_may_be_called_like_the_version(cloud: Cloud) -> None:
    s3 = cloud.client()
    s3.create_bucket(Bucket="v20180820")
    s3.put_object(Bucket="v20180820", Key="tags/arn:aws:s3:::bucket", Body=b"mine")
    assert s3.get_object(Bucket="v20180820", Key="tags/arn:aws:s3:::bucket")["Body"].read() == b"mine"
    assert answer(cloud, TAGS) == (200, b"mine")
    # The account's number alone makes nothing of another request.
    assert answer(cloud, "/v20180820?list-type=2", **{"x-amz-account-id": ACCOUNT})[0] == 200


def test_by_any_name_of_the_endpoint(cloud: Cloud) -> None:
    """A client that knows it by a number needs no name with the account's in front."""
    cloud.client().create_bucket(Bucket="bucket")
    status, body = answer(cloud, TAGS, **{"x-amz-account-id": ACCOUNT})
    assert (status, b"<ListTagsForResourceResult" in body) == (200, True)


@pytest.mark.parametrize(
    ("path", "method", "body", "status", "code"),
    [
        ("/v20180820/tags/", "GET", b"", 405, b"MethodNotAllowed"),
        ("/v20180820/nothing/at/all", "GET", b"", 405, b"MethodNotAllowed"),
        ("/v20180820/jobs", "GET", b"", 501, b"NotImplemented"),
        ("/v20180820/tags/%FF", "GET", b"", 400, b"InvalidURI"),
        (f"{TAGS}?tagKeys=a&tagKeys=%FF", "DELETE", b"", 400, b"InvalidURI"),
        (TAGS, "DELETE", b"", 400, b"InvalidRequest"),
        (f"{TAGS}?other=1", "GET", b"", 400, b"InvalidArgument"),
        (TAGS, "POST", b"", 400, b"MissingRequestBodyError"),
        (TAGS, "POST", b"<Other/>", 400, b"MalformedXML"),
        (TAGS, "POST", b"<TagResourceRequest><Tags><Tag><Key>a</Key></Tag></Tags></TagResourceRequest>", 400, b"Malf"),
        (
            TAGS,
            "POST",
            b"<TagResourceRequest><Tags><Tag><Key/><Value/></Tag></Tags></TagResourceRequest>",
            400,
            b"MalformedXML",
        ),
        (TAGS, "POST", b"<!DOCTYPE a><TagResourceRequest/>", 400, b"MalformedXML"),
        ("/v20180820/tags/arn%3Aaws%3As3%3A%3A%3A%3Cb%3E", "GET", b"", 404, b"NoSuchResource"),
    ],
)
def test_what_makes_no_sense(cloud: Cloud, path: str, method: str, body: bytes, status: int, code: bytes) -> None:
    cloud.client().create_bucket(Bucket="bucket")
    found, text = answer(cloud, path, method, body, **{"x-amz-account-id": ACCOUNT})
    assert (found, code in text) == (status, True), text
    assert b"<ErrorResponse><Error><Code>" in text


def test_who_does_not_sign_is_nobody(cloud: Cloud) -> None:
    cloud.client().create_bucket(Bucket="bucket")
    status, text = plain(cloud, TAGS, "GET", b"", {"x-amz-account-id": ACCOUNT})
    assert (status, b"<ErrorResponse><Error><Code>" in text) == (403, True)
