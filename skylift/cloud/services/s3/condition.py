"""Condition keys of S3 that any request may carry, read from its parameters.

https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from skylift.cloud.domain.identity import Caller, Signature
from skylift.cloud.services.api.operation import Check, Checks, Params
from skylift.cloud.services.s3.copy_source import spelled_source
from skylift.cloud.store.database import Tx

KEYS = {
    "ACL": "s3:x-amz-acl",
    "CopySource": "s3:x-amz-copy-source",
    "GrantFullControl": "s3:x-amz-grant-full-control",
    "GrantRead": "s3:x-amz-grant-read",
    "GrantReadACP": "s3:x-amz-grant-read-acp",
    "GrantWrite": "s3:x-amz-grant-write",
    "GrantWriteACP": "s3:x-amz-grant-write-acp",
    "IfMatch": "s3:if-match",
    "IfNoneMatch": "s3:if-none-match",
    "MetadataDirective": "s3:x-amz-metadata-directive",
    "ObjectOwnership": "s3:x-amz-object-ownership",
    "ServerSideEncryption": "s3:x-amz-server-side-encryption",
    "StorageClass": "s3:x-amz-storage-class",
}


def with_request_keys(checks: Checks) -> Checks:
    """The same checks, each with the keys that the request's parameters and signature stand for."""

    def keyed(tx: Tx, caller: Caller, params: Params) -> Iterable[Check]:
        return (with_request(tx, caller, params, check) for check in checks(tx, caller, params))

    return keyed


def with_request(tx: Tx, caller: Caller, params: Params, check: Check) -> Check:
    """Keys of the check itself take precedence."""
    context = {key: str(params[name]) for name, key in KEYS.items() if name in params}
    if "CopySource" in params:
        context[KEYS["CopySource"]] = spelled_source(str(params["CopySource"]))
    context["s3:ResourceAccount"] = caller.account
    context |= _of_signature(tx.now, caller.signature)
    if caller.tls_version:
        context["s3:TlsVersion"] = caller.tls_version
    return replace(check, context={**context, **(check.context or {})})


def _of_signature(now: datetime, signature: Signature | None) -> dict[str, str]:
    """An anonymous request has none of these keys."""
    if signature is None:
        return {}
    keys: dict[str, str] = {"s3:authType": signature.auth_type, "s3:signatureversion": signature.version}
    if signature.payload:
        keys["s3:x-amz-content-sha256"] = signature.payload
    if signature.made is not None:
        milliseconds = (now - signature.made) // timedelta(milliseconds=1)
        keys["s3:signatureAge"] = str(max(0, milliseconds))
    return keys
