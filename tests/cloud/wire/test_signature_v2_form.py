"""Forms signed by botocore with version 2, and what becomes of them when anything is changed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from botocore.auth import SigV2Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st
from test_signature import FORM, HOST, KEY, SECRET, TOKEN, secret_for

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.wire.call import Request
from skylift.cloud.wire.signature_v2_form import read_form_v2, verify_form_v2, without_signature

ASKED = {"Action": "DescribeKeyPairs", "Version": "2016-11-15", "KeyName.1": "a b+c/ü~*"}


def signed(
    method: str = "GET", asked: dict[str, str] = ASKED, token: str | None = None, secret: str = SECRET
) -> tuple[Request, bytes]:
    """A request as botocore signs and sends it."""
    in_body = method == "POST"
    made = AWSRequest(
        method,
        f"http://{HOST}/",
        params={} if in_body else dict(asked),
        data=dict(asked) if in_body else b"",
        headers=dict(FORM),
    )
    SigV2Auth(Credentials(KEY, secret, token)).add_auth(made)
    sent = made.prepare()
    parts = urlsplit(sent.url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    body = sent.body.encode() if isinstance(sent.body, str) else sent.body or b""
    return Request(method, target, (("Host", HOST), *FORM.items()), "127.0.0.1"), body


def verify(request: Request, body: bytes = b"", now: datetime | None = None) -> None:
    found = read_form_v2(request, body)
    assert found is not None
    verify_form_v2(request, found, secret_for, now or datetime.now(UTC))


def code_of(request: Request, body: bytes = b"", now: datetime | None = None) -> str:
    with pytest.raises(ServiceError) as refused:
        verify(request, body, now)
    return refused.value.code


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("token", [None, TOKEN])
def test_what_botocore_signs_is_right(method: str, token: str | None) -> None:
    request, body = signed(method, token=token)
    verify(request, body)
    found = read_form_v2(request, body)
    assert found is not None and found.token == token
    rest, rest_body = without_signature(request, body)
    assert dict(rest.query) == (ASKED if method == "GET" else {})
    assert rest_body.decode() == ("" if method == "GET" else urlencode(ASKED))


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text("abcXYZ.1é", min_size=1), st.text(st.characters(codec="utf-8")), min_size=1))
def test_whatever_is_asked(asked: dict[str, str]) -> None:
    for method in ("GET", "POST"):
        request, body = signed(method, asked)
        verify(request, body)


def changed(request: Request, old: str, new: str) -> Request:
    assert old in request.target
    return replace(request, target=request.target.replace(old, new))


def test_anything_that_is_changed_is_noticed() -> None:
    request, _ = signed()
    others = [
        changed(request, "DescribeKeyPairs", "DeleteKeyPair"),
        replace(request, target=f"{request.target}&DryRun=true"),
        replace(request, method="HEAD"),
        replace(request, headers=(("Host", "127.0.0.1:1"), *request.headers[1:])),
        signed(secret="another")[0],
    ]
    assert [code_of(other) for other in others] == ["SignatureDoesNotMatch"] * len(others)
    assert code_of(changed(request, KEY, "AKIANOBODYHASTHIS001")) == "InvalidAccessKeyId"


def test_a_form_is_good_for_a_quarter_of_an_hour() -> None:
    request, _ = signed()
    now = datetime.now(UTC)
    verify(request, now=now + timedelta(minutes=14))
    assert code_of(request, now=now + timedelta(minutes=16)) == "RequestExpired"
    assert code_of(request, now=now - timedelta(minutes=16)) == "RequestExpired"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"SignatureVersion": "1"}, "IncompleteSignature"),
        ({"SignatureMethod": "HmacSHA1"}, "IncompleteSignature"),
        ({"Signature": None}, "IncompleteSignature"),
        ({"AWSAccessKeyId": None}, "IncompleteSignature"),
        ({"AWSAccessKeyId": "é"}, "InvalidAccessKeyId"),
        ({"Timestamp": None}, "IncompleteSignature"),
        ({"Expires": "2026-01-01T00:00:00Z"}, "IncompleteSignature"),
        ({"Timestamp": "soon"}, "InvalidParameterValue"),
        ({"Timestamp": "2026-02-30T00:00:00Z"}, "InvalidParameterValue"),
        ({"SecurityToken": "é"}, "InvalidToken"),
    ],
)
def test_what_makes_no_sense_is_refused(change: dict[str, Any], code: str) -> None:
    request, _ = signed()
    pairs = {name: value for name, value in {**dict(request.query), **change}.items() if value is not None}
    assert code_of(replace(request, target=f"/?{urlencode(pairs)}")) == code


def test_nothing_is_there_twice_or_in_two_places() -> None:
    """Else one of them would be verified, and the other one heeded."""
    request, _ = signed()
    twice = replace(request, target=f"{request.target}&Action=DeleteKeyPair")
    assert code_of(twice) == "IncompleteSignature"
    assert code_of(request, b"DryRun=true") == "IncompleteSignature"
    assert code_of(request, b"\xff") == "MalformedQueryString"


def test_other_forms_are_not_signed_in_this_way() -> None:
    assert read_form_v2(Request("GET", "/?Action=GetCallerIdentity", (), "127.0.0.1"), b"") is None
