"""Condition keys of S3 that any request may carry, read from its parameters.

https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from skylift.cloud.identity import Caller
from skylift.cloud.services.operation import Check
from skylift.cloud.store.database import Tx

Checks = Callable[[Tx, Caller, Any], Iterable[Check]]

KEYS = {
    "ACL": "s3:x-amz-acl",
    "CopySource": "s3:x-amz-copy-source",
    "MetadataDirective": "s3:x-amz-metadata-directive",
    "ObjectOwnership": "s3:x-amz-object-ownership",
    "ServerSideEncryption": "s3:x-amz-server-side-encryption",
    "StorageClass": "s3:x-amz-storage-class",
}


def with_request_keys(checks: Checks) -> Checks:
    """The same checks, each with the keys that the request's parameters stand for. What a check says itself wins."""

    def keyed(tx: Tx, caller: Caller, params: Any) -> Iterable[Check]:
        # A copy's source may be written with a slash before the bucket; policies are written without it.
        context = {key: str(params[name]).removeprefix("/") for name, key in KEYS.items() if name in params}
        context["s3:ResourceAccount"] = caller.account
        return (replace(check, context={**context, **(check.context or {})}) for check in checks(tx, caller, params))

    return keyed
