"""What S3 answers browsers: each question and answer here was recorded on AWS.

The recordings are LocalStack's, validated against AWS between 2023 and 2025:
https://github.com/localstack/localstack/blob/main/tests/aws/services/s3/test_s3_cors.snapshot.json. What is not in
them has its source beside it.
"""

from __future__ import annotations

import http.client
from typing import Any
from xml.etree import ElementTree

import pytest
from botocore.exceptions import ClientError
from serverless_cloud import Cloud

PAGE = "https://localhost:4200"
RULE = {"AllowedOrigins": [PAGE], "AllowedMethods": ["GET"], "MaxAgeSeconds": 3000, "AllowedHeaders": ["*"]}
VARY = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"
REFUSED = (
    "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, request method / "
    "Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource's CORS spec."
)


@pytest.fixture(name="s3")
def s3_fixture(cloud: Cloud) -> Any:
    """A client, and an object that all may read."""
    s3 = cloud.client()
    s3.create_bucket(Bucket="bucket", ObjectOwnership="ObjectWriter")
    s3.delete_public_access_block(Bucket="bucket")
    s3.put_object(Bucket="bucket", Key="key", Body=b"test-cors", ACL="public-read")
    return s3


class Browser:
    def __init__(self, cloud: Cloud) -> None:
        self._host = cloud.url.removeprefix("http://")

    def asks(
        self, path: str, origin: str = "", method: str = "", headers: str = "", **more: str
    ) -> tuple[int, dict[str, str]]:
        """A preflight: status, and headers if it is granted or members of the error if not."""
        status, answered, body = self._send("OPTIONS", path, origin, method, headers, **more)
        if status == 200:
            assert (body, answered["Content-Length"]) == (b"", "0") and "Content-Type" not in answered
            return status, _shared(answered)
        error = ElementTree.fromstring(body)
        assert answered["Content-Type"] == "application/xml" and not _shared(answered)
        told = {each.tag: each.text or "" for each in error}
        assert told.pop("RequestId") == answered["x-amz-request-id"] and told.pop("HostId") == answered["x-amz-id-2"]
        return status, told

    def gets(self, origin: str = "", method: str = "", headers: str = "") -> dict[str, str]:
        """The headers for a page that come with the object, which comes in any case."""
        status, answered, body = self._send("GET", "/bucket/key", origin, method, headers)
        assert (status, body) == (200, b"test-cors")
        return _shared(answered)

    def _send(
        self, verb: str, path: str, origin: str, method: str, headers: str, **more: str
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        connection = http.client.HTTPConnection(self._host)
        named = {
            "Origin": origin,
            "Access-Control-Request-Method": method,
            "Access-Control-Request-Headers": headers,
            **more,
        }
        try:
            connection.request(verb, path, headers={name: value for name, value in named.items() if value})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()


def _shared(headers: http.client.HTTPMessage) -> dict[str, str]:
    prefix = "access-control-"
    return {name: value for name, value in headers.items() if name.lower().startswith(prefix) or name == "Vary"}


@pytest.fixture(name="browser")
def browser_fixture(cloud: Cloud) -> Browser:
    return Browser(cloud)


def granted(origin: str, methods: str = "GET", **more: str) -> dict[str, str]:
    answer = {"Access-Control-Allow-Methods": methods, "Access-Control-Allow-Origin": origin, "Vary": VARY}
    if origin != "*":
        answer["Access-Control-Allow-Credentials"] = "true"
    return answer | {f"Access-Control-{name.replace('_', '-')}": value for name, value in more.items()}


def forbidden(message: str, method: str, resource: str) -> tuple[int, dict[str, str]]:
    told = {"Code": "AccessForbidden", "Message": message, "Method": method, "ResourceType": resource}
    return 403, told


def bad(message: str) -> tuple[int, dict[str, str]]:
    return 400, {"Code": "BadRequest", "Message": message}


NO_ORIGIN = bad("Insufficient information. Origin request header needed.")


def test_a_bucket_without_rules(s3: Any, browser: Browser) -> None:
    off = "CORSResponse: CORS is not enabled for this bucket."
    assert browser.asks("/bucket/key") == NO_ORIGIN
    assert browser.asks("/bucket/key", "whatever", "PUT") == forbidden(off, "PUT", "BUCKET")
    assert browser.asks("/bucket/key", "whatever") == forbidden(off, "OPTIONS", "BUCKET")
    assert browser.gets() == browser.gets("whatever") == {}


def test_a_bucket_that_does_not_exist(s3: Any, browser: Browser) -> None:
    assert browser.asks("/missing/key") == NO_ORIGIN
    missing = forbidden("CORSResponse: Bucket not found", "OPTIONS", "BUCKET")
    assert browser.asks("/missing/key", "whatever") == missing


def test_origins(s3: Any, browser: Browser) -> None:
    def allow(*origins: str) -> None:
        rule = RULE | {"AllowedOrigins": list(origins), "AllowedMethods": ["GET", "PUT"]}
        s3.put_bucket_cors(Bucket="bucket", CORSConfiguration={"CORSRules": [rule]})

    allow(PAGE)
    assert browser.asks("/bucket/key") == browser.asks("/bucket/key", method="PUT") == NO_ORIGIN
    yes = granted(PAGE, "GET, PUT", Max_Age="3000")
    assert browser.asks("/bucket/key", PAGE, "PUT") == (200, yes)
    assert browser.gets(PAGE) == yes
    other = PAGE.replace("https", "http")
    assert browser.asks("/bucket/key", other, "PUT") == forbidden(REFUSED, "PUT", "OBJECT")
    assert browser.gets() == browser.gets(other) == {}

    allow("*")
    anybody = granted("*", "GET, PUT", Max_Age="3000")
    assert browser.asks("/bucket/key", "http://random:1234", "PUT") == (200, anybody)
    assert browser.gets("http://random:1234") == anybody

    allow("http://*.origin.com")
    origin = "http://test.origin.com"
    assert browser.asks("/bucket", origin, "GET") == (200, granted(origin, "GET, PUT", Max_Age="3000"))
    assert browser.asks("/bucket", f"{origin}/", "GET") == forbidden(REFUSED, "GET", "BUCKET")


def test_the_bucket_may_be_in_the_host(s3: Any, browser: Browser) -> None:
    """As in all of the recorded questions; an address with a path has the bucket first, and the key after it."""
    s3.put_bucket_cors(Bucket="bucket", CORSConfiguration={"CORSRules": [RULE]})
    yes = granted(PAGE, Max_Age="3000")
    assert browser.asks("/key", PAGE, "GET", Host="bucket.localhost") == (200, yes)
    assert browser.asks("/key", PAGE, "PUT", Host="bucket.localhost") == forbidden(REFUSED, "PUT", "OBJECT")
    assert browser.asks("/", PAGE, "PUT", Host="bucket.localhost") == forbidden(REFUSED, "PUT", "BUCKET")
    missing = forbidden("CORSResponse: Bucket not found", "PUT", "BUCKET")
    assert browser.asks("/key", PAGE, "PUT", Host="missing.localhost") == missing


def test_methods(s3: Any, browser: Browser) -> None:
    """A request that is no preflight and has a preflight's headers is judged by these."""
    s3.put_bucket_cors(Bucket="bucket", CORSConfiguration={"CORSRules": [RULE]})
    yes = granted(PAGE, Max_Age="3000")
    assert browser.asks("/bucket/key", PAGE, "GET") == (200, yes)
    assert browser.gets(PAGE) == yes
    assert browser.gets(PAGE, method="PUT") == {}
    assert browser.asks("/bucket/key", PAGE, "PUT") == forbidden(REFUSED, "PUT", "OBJECT")
    # https://github.com/scality/cloudserver/pull/518, which was compared with AWS.
    assert browser.asks("/bucket/key", PAGE) == bad("Invalid Access-Control-Request-Method: null")
    assert browser.asks("/bucket/key", PAGE, "get") == bad("Invalid Access-Control-Request-Method: get")


def test_headers(s3: Any, browser: Browser) -> None:
    yes = granted(PAGE, Max_Age="3000")
    s3.put_bucket_cors(Bucket="bucket", CORSConfiguration={"CORSRules": [RULE]})
    for names in ("x-amz-request-payer", "x-amz-request-payer, x-amz-expected-bucket-owner"):
        wanted = yes | {"Access-Control-Allow-Headers": names}
        assert browser.asks("/bucket/key", PAGE, "GET", names) == (200, wanted)

    some = ["x-amz-expected-bucket-owner", "x-AMZ-server-SIDE-encryption"]
    s3.put_bucket_cors(Bucket="bucket", CORSConfiguration={"CORSRules": [RULE | {"AllowedHeaders": some}]})
    assert s3.get_bucket_cors(Bucket="bucket")["CORSRules"][0]["AllowedHeaders"] == some
    refused = forbidden(REFUSED, "GET", "OBJECT")
    assert browser.asks("/bucket/key", PAGE, "GET", "x-amz-request-payer") == refused
    both = yes | {"Access-Control-Allow-Headers": "x-amz-expected-bucket-owner, x-amz-server-side-encryption"}
    for names in (
        "x-AMZ-expected-BUCKET-owner, x-amz-server-side-encryption",
        "x-amz-expected-bucket-owner,x-amz-server-side-encryption",
    ):
        assert browser.asks("/bucket/key", PAGE, "GET", names) == (200, both)
    assert browser.gets(PAGE, headers="x-amz-request-payer") == {}
    assert browser.gets(PAGE) == yes


def test_a_rule_that_says_as_little_as_it_may(s3: Any, browser: Browser) -> None:
    rule = {"AllowedOrigins": ["*"], "AllowedMethods": ["GET"]}
    s3.put_bucket_cors(Bucket="bucket", CORSConfiguration={"CORSRules": [rule]})
    assert s3.get_bucket_cors(Bucket="bucket")["CORSRules"] == [rule]
    assert browser.asks("/bucket/key", "localhost:4566", "GET") == (200, granted("*"))
    refused = forbidden(REFUSED, "GET", "OBJECT")
    assert browser.asks("/bucket/key", "localhost:4566", "GET", "x-amz-request-payer") == refused

    rule["ExposeHeaders"] = ["x-amz-id-2", "x-amz-request-id", "x-amz-request-payer"]
    s3.put_bucket_cors(Bucket="bucket", CORSConfiguration={"CORSRules": [rule]})
    wanted = granted("*", Expose_Headers="x-amz-id-2, x-amz-request-id, x-amz-request-payer")
    assert browser.asks("/bucket/key", "localhost:4566", "GET") == (200, wanted)


def test_an_origin_may_be_empty(s3: Any, browser: Browser) -> None:
    """Terraform's own tests put such a one: `TestAccS3Bucket_Security_corsEmptyOrigin`."""
    rule = {"AllowedOrigins": [""], "AllowedMethods": ["GET", "PUT", "HEAD"]}
    s3.put_bucket_cors(Bucket="bucket", CORSConfiguration={"CORSRules": [rule]})
    assert s3.get_bucket_cors(Bucket="bucket")["CORSRules"] == [rule]
    assert browser.asks("/bucket/key", PAGE, "GET") == forbidden(REFUSED, "GET", "OBJECT")


def test_rules_come_and_go(s3: Any) -> None:
    def asked(call: Any, **more: Any) -> tuple[int, dict[str, str]]:
        try:
            return call(Bucket="bucket", **more)["ResponseMetadata"]["HTTPStatusCode"], {}
        except ClientError as error:
            answer: Any = error.response
            return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]

    unset = {
        "Code": "NoSuchCORSConfiguration",
        "Message": "The CORS configuration does not exist",
        "BucketName": "bucket",
    }
    assert asked(s3.delete_bucket_cors) == (204, {})
    assert asked(s3.get_bucket_cors) == (404, unset)
    assert asked(s3.put_bucket_cors, CORSConfiguration={"CORSRules": [RULE]}) == (200, {})
    assert asked(s3.delete_bucket_cors) == (204, {})
    assert asked(s3.get_bucket_cors) == (404, unset)
    empty = {
        "Code": "MalformedXML",
        "Message": "The XML you provided was not well-formed or did not validate against our published schema",
    }
    assert asked(s3.put_bucket_cors, CORSConfiguration={"CORSRules": []}) == (400, empty)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"AllowedMethods": ["GET", "PUT", "HEAD", "MYMETHOD"]},
            "Found unsupported HTTP method in CORS config. Unsupported method is MYMETHOD",
        ),
        # https://github.com/versity/versitygw/issues/1870 shows AWS's answer.
        ({"AllowedOrigins": ["*example*.com"]}, 'AllowedOrigin "*example*.com" can not have more than one wildcard.'),
        # https://github.com/google/neuroglancer/issues/788 shows AWS's answer.
        (
            {"ExposeHeaders": ["x-amz-meta-*"]},
            'ExposeHeader "x-amz-meta-*" contains wildcard. We currently do not support wildcard for ExposeHeader.',
        ),
        # For either list: https://github.com/scality/cloudserver/pull/497, and s3err.go of versitygw.
        ({"AllowedHeaders": ["a b"]}, 'AllowedHeader "a b" contains invalid character.'),
        ({"ExposeHeaders": ["a\nSet-Cookie: b"]}, 'AllowedHeader "a\nSet-Cookie: b" contains invalid character.'),
        ({"ExposeHeaders": ["x-é"]}, 'AllowedHeader "x-é" contains invalid character.'),
    ],
)
def test_a_rule_that_cannot_be(s3: Any, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ClientError) as raised:
        s3.put_bucket_cors(Bucket="bucket", CORSConfiguration={"CORSRules": [RULE | wrong]})
    answer: Any = raised.value.response
    assert (answer["Error"]["Code"], answer["Error"]["Message"]) == ("InvalidRequest", message)


@pytest.mark.parametrize("names", ["a b", "x-amz-date,,x", "x-\xe9"])
def test_names_of_headers_that_are_none(s3: Any, browser: Browser, names: str) -> None:
    """https://github.com/versity/versitygw, `ParseCORSHeaders` in auth/bucket_cors.go"""
    s3.put_bucket_cors(Bucket="bucket", CORSConfiguration={"CORSRules": [RULE]})
    status, told = browser.asks("/bucket/key", PAGE, "GET", names)
    assert (status, told["Code"]) == (400, "BadRequest")
    assert told["Message"].startswith('Access-Control-Request-Headers "')
    assert told["Message"].endswith('" contains invalid character.')
