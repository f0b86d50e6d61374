"""Conditional requests: If-Match and its kin, as RFC 9110 orders them and S3's user guide details them."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING

from skylift.cloud.domain.bucket import Object
from skylift.cloud.services.s3.error import no_such_key, not_implemented, not_modified, precondition_failed

if TYPE_CHECKING:
    from aws_shapes import s3

_MEMBERS = {
    "IfMatch": "If-Match",
    "IfNoneMatch": "If-None-Match",
    "IfModifiedSince": "If-Modified-Since",
    "IfUnmodifiedSince": "If-Unmodified-Since",
}


def etag_matches(condition: str, etag: str) -> bool:
    """Whether a header's list of entity tags, or `*`, covers an ETag that is given without quotes."""
    if condition.strip() == "*":
        return True
    listed = re.findall(r'(?:W/)?"([^"]*)"', condition) or [item.strip() for item in condition.split(",")]
    return etag in listed


def check_read(params: s3.GetObjectRequest | s3.HeadObjectRequest, found: Object, now: datetime) -> None:
    """A read's conditions: 412 PreconditionFailed, or 304 when the client's copy is still good."""
    if "IfMatch" in params:
        if not etag_matches(params["IfMatch"], found.etag):
            raise precondition_failed(_MEMBERS["IfMatch"])
    elif "IfUnmodifiedSince" in params and _modified_since(found, params["IfUnmodifiedSince"]):
        raise precondition_failed(_MEMBERS["IfUnmodifiedSince"])
    if "IfNoneMatch" in params:
        if etag_matches(params["IfNoneMatch"], found.etag):
            raise not_modified(found.etag)
    elif "IfModifiedSince" in params and _unmodified_since(found, params["IfModifiedSince"], now):
        raise not_modified(found.etag)


def check_source(params: s3.CopyObjectRequest | s3.UploadPartCopyRequest, source: Object, now: datetime) -> None:
    """A copy's conditions on its source; all failures are 412 PreconditionFailed."""
    if "CopySourceIfMatch" in params:
        if not etag_matches(params["CopySourceIfMatch"], source.etag):
            raise precondition_failed("x-amz-copy-source-If-Match")
    elif "CopySourceIfUnmodifiedSince" in params and _modified_since(source, params["CopySourceIfUnmodifiedSince"]):
        raise precondition_failed("x-amz-copy-source-If-Unmodified-Since")
    if "CopySourceIfNoneMatch" in params:
        if etag_matches(params["CopySourceIfNoneMatch"], source.etag):
            raise precondition_failed("x-amz-copy-source-If-None-Match")
    elif "CopySourceIfModifiedSince" in params and _unmodified_since(source, params["CopySourceIfModifiedSince"], now):
        raise precondition_failed("x-amz-copy-source-If-Modified-Since")


def check_write(
    params: s3.CompleteMultipartUploadRequest | s3.CopyObjectRequest | s3.PutObjectRequest, existing: Object | None
) -> None:
    """A write's conditions: `If-None-Match: *` for a key that must be new, `If-Match` for one still unchanged."""
    if "IfNoneMatch" in params:
        if params["IfNoneMatch"] != "*":
            raise not_implemented(_MEMBERS["IfNoneMatch"], params["IfNoneMatch"])
        if existing is not None:
            raise precondition_failed(_MEMBERS["IfNoneMatch"])
    if "IfMatch" in params:
        check_match(params["IfMatch"], params["Key"], existing)


def check_match(condition: str, key: str, existing: Object | None) -> None:
    if existing is None:
        raise no_such_key(key)
    if not etag_matches(condition, existing.etag):
        raise precondition_failed(_MEMBERS["IfMatch"])


def _modified_since(found: Object, since: datetime) -> bool:
    """HTTP's dates have whole seconds."""
    return found.modified.replace(microsecond=0) > since


def _unmodified_since(found: Object, since: datetime, now: datetime) -> bool:
    """A date that is still to come says nothing, as RFC 9110 and S3 have it."""
    return since <= now and not _modified_since(found, since)
