"""S3's presigned URLs of signature version 2, which boto3 still makes by default.

Only URLs, and only for S3: every client signs its own requests with version 4.

Source: "Signing and authenticating REST requests", query string authentication (S3 developer guide).
"""

from __future__ import annotations

import base64
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Signature
from skylift.cloud.wire.call import Credential, Request, SecretFor
from skylift.cloud.wire.rest_route import decoded_query
from skylift.cloud.wire.signature import mismatch, session_token, unknown_key

_SIGNED_PARAMETERS = frozenset(
    """
    accelerate acl analytics cors delete encryption inventory lifecycle location logging metrics notification
    object-lock partNumber policy publicAccessBlock replication requestPayment restore select select-type tagging
    torrent uploadId uploads versionId versioning versions website response-cache-control
    response-content-disposition response-content-encoding response-content-language response-content-type
    response-expires
    """.split()
)
# These only choose what a listing shows. Anything else could turn the URL into another operation unnoticed.
_HARMLESS = frozenset("delimiter encoding-type key-marker list-type marker max-keys prefix start-after x-id".split())
_AUTHENTICATION = frozenset(("AWSAccessKeyId", "Signature", "Expires"))
_IN_QUERY = frozenset(("content-md5", "content-type"))


@dataclass(frozen=True)
class PresignedV2:
    """The signature in such a URL. `end` is when it stops being valid."""

    access_key_id: str
    signature: str
    end: int
    token: str | None
    service: str = "s3"

    @property
    def credential(self) -> Credential:
        return Credential(self.access_key_id, self.token, "", "s3")

    def described(self, payload: str | None) -> Signature:
        return Signature("REST-QUERY-STRING", "AWS", None, payload or "")


def read_v2(request: Request) -> PresignedV2 | None:
    """None for any other request. ServiceError when the URL's parameters make no sense."""
    query = dict(decoded_query(request))
    if "AWSAccessKeyId" not in query or "Signature" not in query:
        return None
    end = query.get("Expires", "")
    if not (end.isascii() and end.isdecimal()) or len(end) > 12:
        raise ServiceError(
            "AccessDenied",
            "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters",
            status=403,
        )
    if not query["AWSAccessKeyId"].isascii():
        raise unknown_key(query["AWSAccessKeyId"])
    token = session_token(query.get("x-amz-security-token") or request.header("x-amz-security-token"))
    return PresignedV2(query["AWSAccessKeyId"], query["Signature"], int(end), token)


def verify_v2(
    request: Request, signed: PresignedV2, secret_for: SecretFor, now: datetime, bucket_in_host: str | None
) -> None:
    """Return when the signature is right; ServiceError when it is not, or its time is over."""
    if now.timestamp() > signed.end:
        raise ServiceError(
            "RequestExpired",
            "Request has expired.",
            Expires=datetime.fromtimestamp(signed.end, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            ServerTime=now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        )
    # Only one of the two would be signed, and the other one obeyed. boto3 puts some headers into the query string as
    # well as sending them: there the header is both signed and obeyed.
    for name in sorted({name.lower() for name, _ in request.query} & request.headers_by_name.keys()):
        if name.startswith("x-amz-"):
            raise ServiceError(
                "InvalidArgument",
                f"{name} is given both as a header and in the query string.",
                ArgumentName=name,
                ArgumentValue=request.header(name),
            )
    for name, _ in request.query:
        known = name in _SIGNED_PARAMETERS | _HARMLESS | _AUTHENTICATION | _IN_QUERY
        if not known and not name.lower().startswith("x-amz-"):
            raise ServiceError(
                "InvalidRequest",
                f"Signature version 2 does not cover the parameter {name}. Please use AWS4-HMAC-SHA256.",
            )
    secret = secret_for(signed.access_key_id, signed.token)
    path = f"/{bucket_in_host}{request.path}" if bucket_in_host else request.path
    # Clients sign a bucket with a slash after it, whether or not they send one.
    paths = [path] if path.count("/") != 1 else [path, f"{path}/"]
    to_sign = [_string_to_sign(request, signed, each) for each in paths]
    if not any(_matches(secret, each, signed.signature) for each in to_sign):
        raise mismatch(signed.access_key_id, to_sign[0], signed.signature)


def _matches(secret: str, to_sign: str, signature: str) -> bool:
    digest = hmac.digest(secret.encode(), to_sign.encode("utf-8", "surrogateescape"), "sha1")
    return hmac.compare_digest(base64.b64encode(digest), signature.encode("utf-8", "surrogateescape"))


def _string_to_sign(request: Request, signed: PresignedV2, path: str) -> str:
    query = dict(request.query)

    def standard(name: str) -> str:
        return request.header(name) or query.get(name, "")

    amz = {name: ",".join(values) for name, values in request.headers_by_name.items() if name.startswith("x-amz-")}
    amz |= {name.lower(): value for name, value in request.query if name.lower().startswith("x-amz-")}
    lines = [request.method, standard("content-md5"), standard("content-type"), str(signed.end)]
    lines += [f"{name}:{value.strip()}" for name, value in sorted(amz.items())]
    return "\n".join([*lines, path + _subresources(request)])


def _subresources(request: Request) -> str:
    kept = sorted(pair for pair in request.query if pair[0] in _SIGNED_PARAMETERS)
    if not kept:
        return ""
    return "?" + "&".join(f"{name}={value}" if value else name for name, value in kept)
