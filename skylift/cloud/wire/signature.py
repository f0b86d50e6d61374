"""Signature Version 4, verified: who signed, and whether this request is what was signed.

Sources: "AWS Signature Version 4 for API requests" (IAM user guide) and "Authenticating Requests" (S3 API reference).
Errors are in S3's vocabulary; errors.py says them in EC2's and IAM's words.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Literal, NamedTuple
from urllib.parse import quote, unquote_to_bytes

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Signature
from skylift.cloud.wire.call import Credential, Request, SecretFor
from skylift.cloud.wire.query_headers import is_header_parameter
from skylift.cloud.wire.rest_route import decoded_query

ALGORITHM: Literal["AWS4-HMAC-SHA256"] = "AWS4-HMAC-SHA256"
TERMINATOR = "aws4_request"
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
SKEW = timedelta(minutes=15)
LONGEST_PRESIGNED = 7 * 24 * 3600

_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your key and signing method."
)
"""S3's sentence, as recorded on AWS in LocalStack's test_s3.snapshot.json (`test_put_url_metadata_with_sig_s3v4`)."""
_MISMATCH_ELSEWHERE = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details."
)

_UNRESERVED = "-_.~"
_PAYLOAD = "x-amz-content-sha256"
_STAMP = "%Y%m%dT%H%M%SZ"
_NO_PART = "Authorization header requires '{}' parameter."
_GLOBAL = {"iam": "us-east-1", "sts": "us-east-1"}
"""Services with one endpoint for all regions, and the region that its clients sign for."""


@dataclass(frozen=True)
class Signed:
    """A request's signature, as its headers or its URL have it. `lifetime` is set for a presigned URL, in seconds."""

    access_key_id: str
    date: str
    region: str
    service: str
    stamp: str
    headers: tuple[str, ...]
    signature: str
    token: str | None
    lifetime: int | None = None

    @property
    def scope(self) -> str:
        return f"{self.date}/{self.region}/{self.service}/{TERMINATOR}"

    @property
    def credential(self) -> Credential:
        return Credential(self.access_key_id, self.token, self.region, self.service)

    def described(self, payload: str | None) -> Signature:
        """`payload` is the body's hash as the request declares it."""
        auth_type: Literal["REST-HEADER", "REST-QUERY-STRING"]
        auth_type = "REST-HEADER" if self.lifetime is None else "REST-QUERY-STRING"
        return Signature(auth_type, ALGORITHM, moment(self.stamp), payload or "")


@dataclass(frozen=True)
class SigningKey:
    """The derived key of a verified request, which also signs the chunks of its body."""

    key: bytes
    stamp: str
    scope: str

    def sign(self, text: str) -> str:
        return hmac.new(self.key, text.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()


def read(request: Request) -> Signed | None:
    """How the request is signed; None when it is not. ServiceError when what it says makes no sense."""
    authorization = request.header("authorization")
    parameters = dict(decoded_query(request))
    presigned = "X-Amz-Algorithm" in parameters or "X-Amz-Signature" in parameters
    if authorization and presigned:
        raise ServiceError(
            "InvalidArgument",
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter or the Authorization header "
            "should be specified",
        )
    if presigned:
        return _presigned(request, parameters)
    if authorization:
        return _in_header(request, authorization)
    return None


def declared_payload(request: Request, signed: Signed) -> str | None:
    """The body's hash as the request declares it: hex, or one of S3's words; None if the body itself has to be hashed.

    S3 needs it before it reads the body. Other services' bodies are small, and their clients do not declare it.
    """
    declared = _stated_payload(request, signed) or dict(decoded_query(request)).get("X-Amz-Content-Sha256")
    if declared or signed.service != "s3":
        return declared or None
    if signed.lifetime is not None:
        return UNSIGNED_PAYLOAD
    raise ServiceError("InvalidRequest", "Missing required header for this request: x-amz-content-sha256")


def _stated_payload(request: Request, signed: Signed) -> str:
    """The header, which S3 ignores beside a presigned address that does not sign it: `test_s3_ignored_special_headers`,
    validated on AWS in LocalStack's test_s3.py."""
    return "" if _ignores_payload(signed) else request.header(_PAYLOAD)


def _ignores_payload(signed: Signed) -> bool:
    return _is_presigned_for_s3(signed) and _PAYLOAD not in signed.headers


def _is_presigned_for_s3(signed: Signed) -> bool:
    return signed.service == "s3" and signed.lifetime is not None


class Verifier:
    """Verifies requests to a cloud of one region. `secret_for` blocks and may raise ServiceError."""

    def __init__(self, region: str, secret_for: SecretFor) -> None:
        self._region = region
        self.secret_for = secret_for

    def verify(self, request: Request, signed: Signed, payload_hash: str, now: datetime) -> SigningKey:
        """Return when the signature is right; ServiceError when it, its scope or its time is not."""
        self._check_region(signed)
        _check_time(signed, now)
        _check_headers(request, signed)
        secret = self.secret_for(signed.access_key_id, signed.token)
        canonical = _canonical_request(request, signed, payload_hash)
        to_sign = f"{ALGORITHM}\n{signed.stamp}\n{signed.scope}\n{_sha256(canonical)}"
        key = SigningKey(_signing_key(secret, signed), signed.stamp, signed.scope)
        if not hmac.compare_digest(key.sign(to_sign).encode(), signed.signature.encode("utf-8", "surrogateescape")):
            shown = {"CanonicalRequest": canonical, "CanonicalRequestBytes": _spaced_hex(canonical)}
            raise mismatch(signed.access_key_id, to_sign, signed.signature, signed.service, shown)
        return key

    def verify_policy(self, signed: Signed, policy: str) -> str:
        """The signature that a form's policy must have."""
        self._check_region(signed)
        secret = self.secret_for(signed.access_key_id, signed.token)
        return SigningKey(_signing_key(secret, signed), signed.stamp, signed.scope).sign(policy)

    def _check_region(self, signed: Signed) -> None:
        if signed.region in (self._region, _GLOBAL.get(signed.service)):
            return
        wrong = f"the region '{signed.region}' is wrong; expecting '{self._region}'"
        if signed.lifetime is not None:
            message = f"Error parsing the X-Amz-Credential parameter; {wrong}"
            raise ServiceError("AuthorizationQueryParametersError", message, Region=self._region)
        message = f"The authorization header is malformed; {wrong}"
        raise ServiceError("AuthorizationHeaderMalformed", message, Region=self._region)


def read_posted(fields: Mapping[str, str]) -> Signed:
    """The signature of a form's policy. `fields` has the signature's fields, by lower-case names."""
    if fields["x-amz-algorithm"] != ALGORITHM:
        raise _query_error(f'X-Amz-Algorithm only supports "{ALGORITHM}"')
    stamp = fields["x-amz-date"]
    if moment(stamp) is None:
        raise _query_error("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"")
    scope = _credential(fields["x-amz-credential"], "AuthorizationQueryParametersError")
    if scope.date != stamp[:8] or scope.service != "s3":
        raise _query_error(
            f'The X-Amz-Credential of a form must be for "{stamp[:8]}", as its X-Amz-Date is, and for s3.'
        )
    return Signed(*scope, stamp, (), fields["x-amz-signature"], session_token(fields.get("x-amz-security-token", "")))


def _in_header(request: Request, authorization: str) -> Signed:
    algorithm, _, rest = authorization.partition(" ")
    if algorithm != ALGORITHM:
        raise _other_mechanism()
    parts = {}
    for part in rest.split(","):
        name, _, value = part.strip().partition("=")
        parts[name] = value
    missing = [name for name in ("Credential", "Signature", "SignedHeaders") if not parts.get(name)]
    if missing:
        raise ServiceError("IncompleteSignature", " ".join(map(_NO_PART.format, missing)))
    stamp = _header_stamp(request)
    scope = _credential(parts["Credential"], "IncompleteSignature")
    if scope.date != stamp[:8]:
        raise ServiceError(
            "AuthorizationHeaderMalformed",
            f'The authorization header is malformed; Invalid credential date "{scope.date}". '
            f'This date is not the same as X-Amz-Date: "{stamp[:8]}".',
        )
    return Signed(
        *scope,
        stamp,
        tuple(parts["SignedHeaders"].split(";")),
        parts["Signature"],
        session_token(request.header("x-amz-security-token")),
    )


def _presigned(request: Request, parameters: dict[str, str]) -> Signed:
    needed = ("Algorithm", "Credential", "Signature", "Date", "SignedHeaders", "Expires")
    if any(f"X-Amz-{name}" not in parameters for name in needed):
        raise _query_error(
            "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, "
            "X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters."
        )
    if parameters["X-Amz-Algorithm"] != ALGORITHM:
        raise _query_error(f'X-Amz-Algorithm only supports "{ALGORITHM}"')
    stamp = parameters["X-Amz-Date"]
    if moment(stamp) is None:
        raise _query_error("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"")
    scope = _credential(parameters["X-Amz-Credential"], "AuthorizationQueryParametersError")
    if scope.date != stamp[:8]:
        raise _query_error(
            f'Invalid credential date "{scope.date}". This date is not the same as X-Amz-Date: "{stamp[:8]}".'
        )
    return Signed(
        *scope,
        stamp,
        tuple(parameters["X-Amz-SignedHeaders"].split(";")),
        parameters["X-Amz-Signature"],
        session_token(parameters.get("X-Amz-Security-Token") or request.header("x-amz-security-token")),
        _lifetime(parameters["X-Amz-Expires"]),
    )


def _lifetime(text: str) -> int:
    if not re.fullmatch("-?[0-9]{1,12}", text):
        raise _query_error("X-Amz-Expires should be a number")
    seconds = int(text)
    if seconds < 0:
        raise _query_error("X-Amz-Expires must be non-negative")
    if seconds > LONGEST_PRESIGNED:
        raise _query_error(
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than "
            f"{LONGEST_PRESIGNED} seconds"
        )
    return seconds


class _Scope(NamedTuple):
    """The scope of a signature: `KEY/20261125/us-east-1/s3/aws4_request`."""

    access_key_id: str
    date: str
    region: str
    service: str


def _credential(text: str, code: str) -> _Scope:
    parts = text.split("/")
    if len(parts) < 5 or not parts[0]:
        if code == "AuthorizationQueryParametersError":
            # As recorded on AWS: `test_presigned_double_encoded_credentials` in LocalStack's test_s3.snapshot.json.
            raise _query_error(
                "Error parsing the X-Amz-Credential parameter; the Credential is mal-formed; expecting "
                f'"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/{TERMINATOR}".'
            )
        raise ServiceError(
            code,
            f"Credential must have at least 5 slash-delimited elements, like ACCESSKEY/YYYYMMDD/REGION/SERVICE/"
            f'{TERMINATOR}, got: "{text}"',
        )
    *key, date, region, service, terminator = parts
    if not text.isascii():
        raise unknown_key(text)
    if terminator != TERMINATOR:
        raise ServiceError(code, f"Credential should be scoped with a valid terminator: '{TERMINATOR}'.")
    return _Scope("/".join(key), date, region, service)


def mismatch(
    access_key_id: str, to_sign: str, given: str, service: str = "s3", more: Mapping[str, str] | None = None
) -> ServiceError:
    """The error for a signature that does not match the text `to_sign`."""
    detail = {
        "AWSAccessKeyId": access_key_id,
        "StringToSign": to_sign,
        "SignatureProvided": given,
        "StringToSignBytes": _spaced_hex(to_sign),
        **(more or {}),
    }
    message = _MISMATCH if service == "s3" else _MISMATCH_ELSEWHERE
    return ServiceError("SignatureDoesNotMatch", message, status=None, headers=None, **detail)


def unknown_key(access_key_id: str) -> ServiceError:
    """For a key of letters that no key has."""
    return ServiceError(
        "InvalidAccessKeyId",
        "The AWS Access Key Id you provided does not exist in our records.",
        AWSAccessKeyId=access_key_id,
    )


def session_token(text: str) -> str | None:
    """A session token as a request has it, None where it has none. ServiceError when no token could be like this."""
    if not text.isascii():
        raise ServiceError("InvalidToken", "The provided token is malformed or otherwise invalid.")
    return text or None


def _header_stamp(request: Request) -> str:
    given = request.header("x-amz-date")
    if given:
        if moment(given) is not None:
            return given
        raise ServiceError("IncompleteSignature", f"Date must be in ISO-8601 'basic format'. Got '{given}'.")
    date = request.header("date")
    if not date:
        raise ServiceError(
            "IncompleteSignature",
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.",
        )
    try:
        stamp = parsedate_to_datetime(date).astimezone(UTC).strftime(_STAMP)
    except (ValueError, OverflowError):
        stamp = ""
    if moment(stamp) is None:
        # Also dates before the year 1000 or, in UTC, after 9999.
        raise ServiceError("IncompleteSignature", f"Date must be an HTTP date. Got '{date}'.")
    return stamp


@lru_cache(maxsize=64)
def moment(stamp: str) -> datetime | None:
    """Asked for several times in a request, and the same in all requests of a second."""
    try:
        return datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None


def _check_time(signed: Signed, now: datetime) -> None:
    made = moment(signed.stamp)
    assert made is not None, "read() lets no other stamp pass"
    if signed.lifetime is None:
        if abs(now - made) > SKEW:
            raise ServiceError(
                "RequestTimeTooSkewed",
                "The difference between the request time and the current time is too large.",
                RequestTime=signed.stamp,
                ServerTime=_told(now),
                MaxAllowedSkewMilliseconds=str(int(SKEW.total_seconds() * 1000)),
            )
        return
    if made - now > SKEW:
        raise ServiceError("AccessDenied", "Request is not yet valid", ServerTime=_told(now))
    end = made + timedelta(seconds=signed.lifetime)
    if now > end:
        detail = {"X-Amz-Expires": str(signed.lifetime), "Expires": _told(end), "ServerTime": _told(now)}
        raise ServiceError("RequestExpired", "Request has expired.", status=None, headers=None, **detail)


def _told(moment: datetime) -> str:
    """A moment as errors have it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _check_headers(request: Request, signed: Signed) -> None:
    """Headers that a thief of the signature could change must be signed: the host, and everything in `x-amz-`."""
    must = ["host"] + [name for name in request.headers_by_name if name.startswith("x-amz-")]
    missing = [name for name in must if name not in signed.headers]
    if _ignores_payload(signed):
        missing = [name for name in missing if name != _PAYLOAD]
    if missing:
        raise ServiceError(
            "AccessDenied",
            "There were headers present in the request which were not signed"
            # S3 has them in a separate member.
            + ("" if signed.service == "s3" else f": {', '.join(missing)}"),
            status=403,
            HeadersNotSigned=", ".join(missing),
        )


def _canonical_request(request: Request, signed: Signed, payload_hash: str) -> str:
    headers = "".join(f"{name}:{_header_value(request, signed, name)}\n" for name in signed.headers)
    return "\n".join(
        (
            request.method,
            _canonical_path(request.path, twice=signed.service != "s3"),
            _canonical_query(request),
            headers,
            ";".join(signed.headers),
            payload_hash,
        )
    )


def _canonical_path(path: str, *, twice: bool) -> str:
    """S3 encodes the path once and leaves dots and double slashes alone; elsewhere it is cleaned and encoded again."""
    if not twice:
        return quote(unquote_to_bytes(path.encode("utf-8", "surrogateescape")), safe="/" + _UNRESERVED) or "/"
    kept: list[str] = []
    for part in path.split("/"):
        if part == "..":
            kept[-1:] = []
        elif part not in ("", "."):
            kept.append(part)
    end = "/" if kept and path.endswith("/") else ""
    return quote("/" + "/".join(kept) + end, safe="/" + _UNRESERVED, errors="surrogateescape")


def _canonical_query(request: Request) -> str:
    pairs = [(_encoded(name), _encoded(value)) for name, value in decoded_query(request) if name != "X-Amz-Signature"]
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def _header_value(request: Request, signed: Signed, name: str) -> str:
    """A header that a presigned S3 URL signs may be in its query string, where the SDK for JavaScript puts it:
    `test_presigned_url_v4_signed_headers_in_qs`, validated on AWS in LocalStack's test_s3.py. A header with the body's
    hash does not count there. It has to be sent: otherwise any body would be accepted."""
    values = request.headers_by_name.get(name, ())
    if not values and _is_presigned_for_s3(signed) and name.startswith("x-amz-") and is_header_parameter(name):
        values = tuple(value for parameter, value in decoded_query(request) if parameter.lower() == name)
    return ",".join(" ".join(value.split()) for value in values)


def _encoded(text: str) -> str:
    return quote(text, safe=_UNRESERVED)


def _signing_key(secret: str, signed: Signed) -> bytes:
    return _derived(secret, signed.date, signed.region, signed.service)


@lru_cache(maxsize=64)
def _derived(secret: str, date: str, region: str, service: str) -> bytes:
    """The same for a client's requests of one day. The secret is read for each request, so a key that was deleted
    signs nothing."""
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, TERMINATOR):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _query_error(message: str) -> ServiceError:
    return ServiceError("AuthorizationQueryParametersError", message)


def _other_mechanism() -> ServiceError:
    return ServiceError(
        "InvalidRequest", f"The authorization mechanism you have provided is not supported. Please use {ALGORITHM}."
    )


def _spaced_hex(text: str) -> str:
    """The bytes of a text as S3's errors show them, so that characters that look alike can be told apart."""
    return text.encode("utf-8", "surrogateescape").hex(" ")
