"""Signature version 2 of the query protocol, which apache-libcloud signs with in the older regions.

All that it says travels in the form: in the URL of a GET, in the body of a POST. All of the form is signed.

Source: "Signature Version 2 signing process" (AWS General Reference). botocore.auth.SigV2Auth is the other half.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from urllib.parse import quote, urlencode

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Signature
from skylift.cloud.wire.call import Credential, Request, SecretFor
from skylift.cloud.wire.decode_form import fields
from skylift.cloud.wire.signature import SKEW, mismatch, session_token, unknown_key

METHOD = "HmacSHA256"
_AUTHENTICATION = frozenset(
    ("AWSAccessKeyId", "Expires", "SecurityToken", "Signature", "SignatureMethod", "SignatureVersion", "Timestamp")
)
_MOMENT = re.compile(r"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(\.\d{1,9})?Z?")

Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class FormV2:
    """The signature in such a form. `made` is when; one with `Expires` instead is good until `end`."""

    access_key_id: str
    signature: str
    pairs: tuple[tuple[str, str], ...]
    token: str | None
    made: datetime | None
    end: datetime | None
    service: str = ""

    @property
    def credential(self) -> Credential:
        return Credential(self.access_key_id, self.token, "", self.service)

    def described(self, _payload: str | None) -> Signature:
        return Signature("REST-QUERY-STRING", "AWS", self.made)


def read_form_v2(request: Request, body: bytes) -> FormV2 | None:
    """None for a form that is not signed in this way. ServiceError where what it says makes no sense."""
    in_query, in_body = _pairs(request, body)
    names = [name for name, _ in (*in_query, *in_body)]
    if not {"AWSAccessKeyId", "Signature"} & set(names):
        return None
    if in_query and in_body:
        raise _incomplete("A form of signature version 2 is in the URL or in the body, not in both.")
    pairs = in_query or in_body
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise _incomplete(f"The parameter {twice[0]} occurs more than once.")
    given = dict(pairs)
    for name in ("AWSAccessKeyId", "Signature", "SignatureMethod", "SignatureVersion"):
        if not given.get(name):
            raise _incomplete(f"The request must contain the parameter {name}")
    if given["SignatureVersion"] != "2":
        raise _incomplete(
            f"The signature version {given['SignatureVersion']} is not supported. Sign with version 2 or 4."
        )
    if given["SignatureMethod"] != METHOD:
        raise _incomplete(f"The signature method {given['SignatureMethod']} is not supported. Sign with {METHOD}.")
    if ("Timestamp" in given) == ("Expires" in given):
        raise _incomplete("The request must contain either the parameter Timestamp or the parameter Expires.")
    if not given["AWSAccessKeyId"].isascii():
        raise unknown_key(given["AWSAccessKeyId"])
    return FormV2(
        given["AWSAccessKeyId"],
        given["Signature"],
        tuple(pairs),
        session_token(given.get("SecurityToken", "")),
        _moment(given["Timestamp"], "Timestamp") if "Timestamp" in given else None,
        _moment(given["Expires"], "Expires") if "Expires" in given else None,
    )


def verify_form_v2(request: Request, signed: FormV2, secret_for: SecretFor, now: datetime) -> None:
    """Return when the signature is right; ServiceError when it is not, or not of this time."""
    if signed.made is not None and abs(now - signed.made) > SKEW:
        raise ServiceError("RequestExpired", f"Request has expired. Timestamp date is {signed.made:%Y-%m-%dT%H:%M:%SZ}")
    if signed.end is not None and now > signed.end:
        raise ServiceError("RequestExpired", f"Request has expired. Expires date is {signed.end:%Y-%m-%dT%H:%M:%SZ}")
    secret = secret_for(signed.access_key_id, signed.token)
    to_sign = "\n".join((request.method, request.header("host").lower(), request.path or "/", _canonical(signed.pairs)))
    digest = hmac.digest(secret.encode(), to_sign.encode(), "sha256")
    if not hmac.compare_digest(base64.b64encode(digest), signed.signature.encode()):
        raise mismatch(signed.access_key_id, to_sign, signed.signature, signed.service)


def without_signature(request: Request, body: bytes) -> tuple[Request, bytes]:
    """The request without its caller."""
    in_query, in_body = ([pair for pair in pairs if pair[0] not in _AUTHENTICATION] for pairs in _pairs(request, body))
    target = f"{request.path}?{urlencode(in_query)}" if in_query else request.path
    return replace(request, target=target), urlencode(in_body).encode()


def _pairs(request: Request, body: bytes) -> tuple[Pairs, Pairs]:
    try:
        return request.query, fields(body.decode()) if body else ()
    except ValueError:
        raise ServiceError("MalformedQueryString", "The query string contains a syntax error.") from None


def _canonical(pairs: Pairs) -> str:
    """By the bytes of the names, with all but unreserved characters as percents."""
    kept = sorted((name.encode(), value.encode()) for name, value in pairs if name != "Signature")
    return "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in kept)


def _moment(text: str, name: str) -> datetime:
    found = _MOMENT.fullmatch(text)
    try:
        return datetime.strptime(found[1] if found else "", "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        raise ServiceError("InvalidParameterValue", f"Value ({text}) for parameter {name} is invalid.") from None


def _incomplete(message: str) -> ServiceError:
    return ServiceError("IncompleteSignature", message)
