"""The signature of a POST upload, verified: it is over the form's policy, in version 4 or 2.

Sources: "Authenticating Requests: Browser-Based Uploads Using POST" (S3 API reference), and for version 2 the S3
developer guide. Which field is missed how was recorded on AWS: `test_post_request_missing_fields` and
`test_post_request_missing_signature` in LocalStack's tests/aws/services/s3/test_s3.snapshot.json.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Signature
from skylift.cloud.wire.call import Credential
from skylift.cloud.wire.signature import ALGORITHM, Verifier, mismatch, moment, read_posted, session_token, unknown_key

_VERSION_4 = ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Signature")
_VERSION_2 = ("AWSAccessKeyId", "Signature")


@dataclass(frozen=True)
class PostSignature:
    """The signer of a form's policy, and the signature."""

    credential: Credential
    signature: Signature


def verify_post(fields: Mapping[str, str], verifier: Verifier) -> PostSignature | None:
    """The form's signer; None if it is not signed. ServiceError if the signature is wrong."""
    if any(name.lower() in fields for name in _VERSION_4):
        _require(fields, "policy", *_VERSION_4)
        signed = read_posted(fields)
        given, expected = signed.signature, verifier.verify_policy(signed, fields["policy"])
        found = PostSignature(signed.credential, Signature("POST", ALGORITHM, moment(signed.stamp)))
    elif any(name.lower() in fields for name in _VERSION_2):
        _require(fields, "policy", *_VERSION_2)
        key_id, given = fields["awsaccesskeyid"], fields["signature"]
        if not key_id.isascii():
            raise unknown_key(key_id)
        token = session_token(fields.get("x-amz-security-token", ""))
        secret = verifier.secret_for(key_id, token)
        digest = hmac.digest(secret.encode(), fields["policy"].encode(), "sha1")
        expected = base64.b64encode(digest).decode()
        found = PostSignature(Credential(key_id, token, "", "s3"), Signature("POST", "AWS"))
    elif "policy" in fields:
        raise ServiceError("AccessDenied", "Access Denied", status=403)
    else:
        return None
    if not hmac.compare_digest(expected.encode(), given.encode()):
        raise mismatch(str(found.credential.access_key_id), fields["policy"], given)
    return found


def missing(name: str) -> ServiceError:
    return ServiceError(
        "InvalidArgument",
        f"Bucket POST must contain a field named '{name}'.  If it is specified, please check the order of the fields.",
        ArgumentName=name,
        ArgumentValue="",
    )


def _require(fields: Mapping[str, str], *names: str) -> None:
    for name in names:
        if name.lower() not in fields:
            raise missing(name)
