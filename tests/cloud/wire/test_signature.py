"""Signatures made by botocore, and what becomes of them when anything is changed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from botocore.auth import HmacV1QueryAuth, S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.wire.call import Request
from skylift.cloud.wire.codecs import codecs_for
from skylift.cloud.wire.signature import Verifier, declared_payload, read
from skylift.cloud.wire.signature_v2 import read_v2, verify_v2

KEY, SECRET, TOKEN = "AKIASIGNATURETESTS01", "a/secret+key", "a/session+token=="
REGION = "us-east-1"
HOST = "127.0.0.1:4520"
FORM = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}


def secret_for(access_key_id: str, session_token: str | None) -> str:
    if access_key_id != KEY:
        raise ServiceError("InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
    return SECRET


def signed(
    signer: type[Any] = SigV4Auth,
    *,
    service: str = "sts",
    region: str = REGION,
    method: str = "POST",
    path: str = "/",
    body: bytes = b"Action=GetCallerIdentity&Version=2011-06-15",
    headers: dict[str, str] | None = None,
    secret: str = SECRET,
    token: str | None = None,
    **options: Any,
) -> tuple[Request, bytes]:
    """A request as botocore signs and sends it."""
    asked = AWSRequest(method, f"http://{HOST}{path}", data=body, headers=headers or {})
    signer(Credentials(KEY, secret, token), service, region, **options).add_auth(asked)
    sent = asked.prepare()
    parts = urlsplit(sent.url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    return Request(
        method, target, (("Host", HOST), *((k, _text(v)) for k, v in sent.headers.items())), "127.0.0.1"
    ), body


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else value


def verify(request: Request, body: bytes = b"", now: datetime | None = None, region: str = REGION) -> None:
    found = read(request)
    assert found is not None
    declared = declared_payload(request, found) or hashlib.sha256(body).hexdigest()
    Verifier(region, secret_for).verify(request, found, declared, now or datetime.now(UTC))


def code_of(request: Request, body: bytes = b"", **how: Any) -> str:
    with pytest.raises(ServiceError) as refused:
        verify(request, body, **how)
    return refused.value.code


@pytest.mark.parametrize("token", [None, TOKEN])
@pytest.mark.parametrize(
    ("signer", "service", "method", "path", "body"),
    [
        (SigV4Auth, "sts", "POST", "/", b"Action=GetCallerIdentity&Version=2011-06-15"),
        (SigV4Auth, "ec2", "GET", "/?Action=DescribeVpcs&Version=2016-11-15&VpcId.1=a%20b", b""),
        (SigV4QueryAuth, "sts", "GET", "/?Action=GetCallerIdentity&Version=2011-06-15", b""),
        (S3SigV4Auth, "s3", "PUT", "/abc/a%20b//c/../d~%C3%BC", b"content"),
        (S3SigV4Auth, "s3", "GET", "/abc?list-type=2&prefix=a%2Fb&delimiter=%2F&uploads", b""),
        (S3SigV4QueryAuth, "s3", "GET", "/abc/a%20b?response-content-type=text%2Fplain", b""),
        (S3SigV4QueryAuth, "s3", "PUT", "/abc/k", b""),
    ],
)
def test_botocore_signs_and_we_agree(
    signer: type[Any], service: str, method: str, path: str, body: bytes, token: str | None
) -> None:
    request, body = signed(signer, service=service, method=method, path=path, body=body, token=token)
    verify(request, body)
    found = read(request)
    assert found is not None
    assert found.credential.access_key_id == KEY
    assert found.credential.session_token == token
    assert (found.credential.service, found.credential.region) == (service, REGION)


# What a URL may have in it after `/abc/` and after `?prefix=`, percent-encoded by the client.
@settings(max_examples=60)
@given(key=st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=20))
def test_any_key_is_signed_alike(key: str) -> None:
    path = f"/abc/{quote(key, safe='/~')}?prefix={quote(key, safe='-_.~')}"
    for signer in (S3SigV4Auth, S3SigV4QueryAuth):
        verify(signed(signer, service="s3", method="GET", path=path, body=b"")[0])


def with_header(request: Request, name: str, value: str) -> Request:
    kept = tuple(pair for pair in request.headers if pair[0].lower() != name.lower())
    return replace(request, headers=(*kept, (name, value)))


Change = Callable[[Request], Request]
TAMPERED: dict[str, Change] = {
    "method": lambda request: replace(request, method="DELETE"),
    "path": lambda request: replace(request, target=request.target.replace("/abc", "/abd")),
    "query": lambda request: replace(request, target=request.target.replace("prefix=a", "prefix=b")),
    "more query": lambda request: replace(request, target=request.target + "&versionId=1"),
    "host": lambda request: with_header(request, "Host", "elsewhere"),
    "signed header": lambda request: with_header(request, "Range", "bytes=1-2"),
}


@pytest.mark.parametrize("signer", [S3SigV4Auth, S3SigV4QueryAuth])
@pytest.mark.parametrize("change", TAMPERED)
def test_tampering_is_noticed(signer: type[Any], change: str) -> None:
    request, _ = signed(
        signer, service="s3", method="GET", path="/abc?prefix=a", body=b"", headers={"Range": "bytes=0-1"}
    )
    verify(request)
    assert code_of(TAMPERED[change](request)) == "SignatureDoesNotMatch"


def test_another_body_is_noticed() -> None:
    request, body = signed(headers=FORM)
    verify(request, body)
    assert code_of(request, body + b"&DurationSeconds=900") == "SignatureDoesNotMatch"


@pytest.mark.parametrize("signer", [S3SigV4Auth, S3SigV4QueryAuth])
def test_an_unsigned_amz_header_is_refused(signer: type[Any]) -> None:
    request, _ = signed(signer, service="s3", method="PUT", path="/abc/k", body=b"")
    assert code_of(with_header(request, "x-amz-acl", "public-read")) == "AccessDenied"


def test_the_token_belongs_to_the_signature() -> None:
    request, body = signed(token=TOKEN)
    assert code_of(with_header(request, "X-Amz-Security-Token", "another"), body) == "SignatureDoesNotMatch"


def test_keys() -> None:
    request, body = signed(secret="wrong")
    assert code_of(request, body) == "SignatureDoesNotMatch"
    stranger = with_header(request, "Authorization", request.header("authorization").replace(KEY, "AKIANOBODY"))
    assert code_of(stranger, body) == "InvalidAccessKeyId"


@pytest.mark.parametrize(("minutes", "right"), [(0, True), (14, True), (-14, True), (16, False), (-16, False)])
def test_a_clock_may_be_a_quarter_of_an_hour_off(minutes: int, right: bool) -> None:
    request, body = signed()
    now = datetime.now(UTC) + timedelta(minutes=minutes)
    if right:
        verify(request, body, now)
    else:
        assert code_of(request, body, now=now) == "RequestTimeTooSkewed"


def test_a_presigned_url_ends() -> None:
    request, _ = signed(S3SigV4QueryAuth, service="s3", method="GET", path="/abc/k", body=b"", expires=3600)
    verify(request, now=datetime.now(UTC) + timedelta(minutes=59))
    assert code_of(request, now=datetime.now(UTC) + timedelta(minutes=61)) == "RequestExpired"
    assert code_of(request, now=datetime.now(UTC) - timedelta(minutes=16)) == "AccessDenied"


@pytest.mark.parametrize("expires", [604801, -1, "soon"])
def test_a_presigned_url_lasts_a_week_at_most(expires: Any) -> None:
    request, _ = signed(S3SigV4QueryAuth, service="s3", method="GET", path="/abc/k", body=b"", expires=expires)
    with pytest.raises(ServiceError, match="X-Amz-Expires") as refused:
        read(request)
    assert refused.value.code == "AuthorizationQueryParametersError"


@pytest.mark.parametrize(
    ("signer", "service", "code"),
    [
        (S3SigV4Auth, "s3", "AuthorizationHeaderMalformed"),
        (S3SigV4QueryAuth, "s3", "AuthorizationQueryParametersError"),
        (SigV4Auth, "ec2", "AuthorizationHeaderMalformed"),
    ],
)
def test_another_region(signer: type[Any], service: str, code: str) -> None:
    request, body = signed(signer, service=service, region="eu-west-1", method="GET", path="/abc", body=b"")
    with pytest.raises(ServiceError, match="the region 'eu-west-1' is wrong; expecting 'us-east-1'") as refused:
        verify(request, body)
    assert refused.value.code == code
    assert refused.value.detail["Region"] == "us-east-1"


def test_global_services_are_signed_for_the_first_region_everywhere() -> None:
    request, body = signed(service="iam")
    verify(request, body, region="eu-west-1")
    request, body = signed(service="ec2")
    assert code_of(request, body, region="eu-west-1") == "AuthorizationHeaderMalformed"


SCOPE = f"Credential={KEY}/20261125/us-east-1/s3/aws4_request"
REST = "SignedHeaders=host;x-amz-date, Signature=" + "0" * 64


@pytest.mark.parametrize(
    ("authorization", "code", "says"),
    [
        ("AWS AKIA:signature", "InvalidRequest", "not supported"),
        ("Bearer token", "InvalidRequest", "not supported"),
        ("AWS4-ECDSA-P256-SHA256 Credential=a", "InvalidRequest", "not supported"),
        (f"AWS4-HMAC-SHA256 {REST}", "IncompleteSignature", "'Credential'"),
        (f"AWS4-HMAC-SHA256 {SCOPE}, SignedHeaders=host", "IncompleteSignature", "'Signature'"),
        (f"AWS4-HMAC-SHA256 Credential=AKIA, {REST}", "IncompleteSignature", "5 slash-delimited"),
        (f"AWS4-HMAC-SHA256 {SCOPE.replace('aws4', 'aws5')}, {REST}", "IncompleteSignature", "terminator"),
        (f"AWS4-HMAC-SHA256 {SCOPE.replace('1125', '1124')}, {REST}", "AuthorizationHeaderMalformed", "20261124"),
    ],
)
def test_nonsense_in_the_header(authorization: str, code: str, says: str) -> None:
    headers = (("Host", HOST), ("X-Amz-Date", "20261125T083000Z"), ("Authorization", authorization))
    with pytest.raises(ServiceError, match=says) as refused:
        read(Request("GET", "/abc", headers, "127.0.0.1"))
    assert refused.value.code == code


@pytest.mark.parametrize("date", [{}, {"X-Amz-Date": "yesterday"}, {"Date": "yesterday"}])
def test_a_date_is_needed(date: dict[str, str]) -> None:
    headers = {"Host": HOST, "Authorization": f"AWS4-HMAC-SHA256 {SCOPE}, {REST}", **date}
    with pytest.raises(ServiceError, match="Date") as refused:
        read(Request("GET", "/abc", tuple(headers.items()), "127.0.0.1"))
    assert refused.value.code == "IncompleteSignature"


def test_the_host_must_be_signed() -> None:
    request, body = signed()
    found = read(request)
    assert found is not None
    without = replace(found, headers=tuple(name for name in found.headers if name != "host"))
    with pytest.raises(ServiceError, match="host"):
        Verifier(REGION, secret_for).verify(request, without, hashlib.sha256(body).hexdigest(), datetime.now(UTC))


def test_one_signature_is_enough() -> None:
    request, _ = signed(S3SigV4QueryAuth, service="s3", method="GET", path="/abc/k", body=b"")
    with pytest.raises(ServiceError, match="Only one auth mechanism"):
        read(with_header(request, "Authorization", "AWS4-HMAC-SHA256 Credential=a"))


def test_s3_must_say_what_its_body_hashes_to() -> None:
    request, _ = signed(service="s3", method="GET", path="/abc", body=b"")
    found = read(request)
    assert found is not None
    with pytest.raises(ServiceError, match="x-amz-content-sha256"):
        declared_payload(request, found)


def test_unsigned_is_not_an_error_here() -> None:
    assert read(Request("GET", "/abc/k", (("Host", HOST),), "127.0.0.1")) is None


@pytest.mark.parametrize(
    ("service", "error", "expected"),
    [
        ("ec2", "SignatureDoesNotMatch", ("AuthFailure", 401)),
        ("ec2", "RequestTimeTooSkewed", ("AuthFailure", 401)),
        ("ec2", "RequestExpired", ("RequestExpired", 400)),
        ("ec2", "AuthorizationHeaderMalformed", ("AuthFailure", 401)),
        ("iam", "InvalidAccessKeyId", ("InvalidClientTokenId", 403)),
        ("iam", "RequestTimeTooSkewed", ("SignatureDoesNotMatch", 403)),
        ("iam", "IncompleteSignature", ("IncompleteSignature", 403)),
        ("s3", "RequestTimeTooSkewed", ("RequestTimeTooSkewed", 403)),
        ("s3", "RequestExpired", ("AccessDenied", 403)),
        ("s3", "AuthorizationHeaderMalformed", ("AuthorizationHeaderMalformed", 400)),
    ],
)
def test_each_protocol_has_its_own_words(service: str, error: str, expected: tuple[str, int]) -> None:
    request = Request("GET", "/", (), "127.0.0.1")
    response = codecs_for(service)[0].refuse(ServiceError(error, "no"), request, "ID")
    code, status = expected
    assert f"<Code>{code}</Code>".encode() in response.body
    assert response.status == status


def presigned_v2(path: str, *, method: str = "GET", token: str | None = None, expires: int = 60) -> Request:
    asked = AWSRequest(
        method, f"http://{HOST}{path}", headers={"x-amz-acl": "private"}, auth_path=path.split("?", maxsplit=1)[0]
    )
    HmacV1QueryAuth(Credentials(KEY, SECRET, token), expires=expires).add_auth(asked)
    parts = urlsplit(asked.url)
    return Request(method, f"{parts.path}?{parts.query}", (("Host", HOST),), "127.0.0.1")


def verify_old(request: Request, now: datetime | None = None) -> None:
    found = read_v2(request)
    assert found is not None
    verify_v2(request, found, secret_for, now or datetime.now(UTC), None)


@pytest.mark.parametrize("token", [None, TOKEN])
@pytest.mark.parametrize("path", ["/abc/k%20%C3%BC", "/abc/k?versionId=1&response-content-type=text%2Fx", "/abc/?acl"])
def test_urls_of_version_2(path: str, token: str | None) -> None:
    request = presigned_v2(path, token=token)
    verify_old(request)
    found = read_v2(request)
    assert found is not None
    assert found.credential.session_token == token


OLD_TAMPERED: dict[str, Change] = {
    "method": lambda request: replace(request, method="PUT"),
    "path": lambda request: replace(request, target=request.target.replace("/abc/", "/abd/")),
    "subresource": lambda request: replace(request, target=request.target + "&acl"),
    "version": lambda request: replace(request, target=request.target.replace("versionId=1", "versionId=2")),
    "header in the query": lambda request: replace(request, target=request.target.replace("private", "public-read")),
    "more headers": lambda request: with_header(request, "x-amz-copy-source", "/abc/secret"),
    "time": lambda request: replace(request, target=request.target.replace("Expires=1", "Expires=2")),
}


@pytest.mark.parametrize("change", OLD_TAMPERED)
def test_tampering_with_version_2_is_noticed(change: str) -> None:
    changed = OLD_TAMPERED[change](presigned_v2("/abc/k?versionId=1"))
    with pytest.raises(ServiceError) as refused:
        verify_old(changed)
    assert refused.value.code == "SignatureDoesNotMatch"


def test_version_2_ends_and_covers_what_it_can() -> None:
    with pytest.raises(ServiceError, match="expired"):
        verify_old(presigned_v2("/abc/k"), datetime.now(UTC) + timedelta(seconds=61))
    with pytest.raises(ServiceError, match="AWS4-HMAC-SHA256"):
        verify_old(presigned_v2("/abc/k?renameObject"))
    with pytest.raises(ServiceError, match="Expires"):
        read_v2(Request("GET", "/abc/k?AWSAccessKeyId=a&Signature=b", (), "127.0.0.1"))


def test_the_bytes_that_were_to_be_signed_are_told() -> None:
    """As S3's "REST Error Responses" shows them, so that characters that look alike can be told apart."""
    request, _ = signed(S3SigV4Auth, service="s3", method="GET", path="/abc/k", body=b"")
    with pytest.raises(ServiceError) as refused:
        verify(with_header(request, "Authorization", request.header("authorization")[:-4] + "0000"))
    detail = refused.value.detail
    for name in ("StringToSign", "CanonicalRequest"):
        assert bytes.fromhex(detail[f"{name}Bytes"]).decode() == detail[name]
    with pytest.raises(ServiceError) as refused:
        verify_old(OLD_TAMPERED["method"](presigned_v2("/abc/k")))
    detail = refused.value.detail
    assert bytes.fromhex(detail["StringToSignBytes"]).decode() == detail["StringToSign"]


def test_s3_refuses_signatures_in_its_own_words() -> None:
    """Recorded on AWS: `test_put_url_metadata_with_sig_s3v4` in LocalStack's test_s3.snapshot.json."""
    request, _ = signed(S3SigV4Auth, service="s3", method="GET", path="/abc/k", body=b"")
    with pytest.raises(ServiceError) as refused:
        verify(with_header(request, "Authorization", request.header("authorization")[:-4] + "0000"))
    assert refused.value.message.endswith("Check your key and signing method.")
    with pytest.raises(ServiceError) as refused:
        verify(with_header(request, "x-amz-acl", "private"))
    assert refused.value.message == "There were headers present in the request which were not signed"
    assert refused.value.detail["HeadersNotSigned"] == "x-amz-acl"
