"""Conditional requests: If-Match and related headers, in the order of RFC 9110 and the details of S3's user guide."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING

from skylift.cloud.domain.bucket import ObjectVersion, Upload
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.services.s3.error import (
    condition_not_implemented,
    conditional_conflict,
    no_such_key,
    not_modified,
    precondition_failed,
)

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


def check_read(params: s3.GetObjectRequest | s3.HeadObjectRequest, found: ObjectVersion, now: datetime) -> None:
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


def check_source(params: s3.CopyObjectRequest | s3.UploadPartCopyRequest, source: ObjectVersion, now: datetime) -> None:
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
    params: s3.CompleteMultipartUploadRequest | s3.CopyObjectRequest | s3.PutObjectRequest,
    existing: ObjectVersion | None,
) -> None:
    """A write's conditions: `If-None-Match: *` for a key that must be new, `If-Match` for one still unchanged."""
    asked = [name for name in ("IfMatch", "IfNoneMatch") if name in params]
    if len(asked) > 1:
        headers = ",".join(_MEMBERS[name] for name in asked)
        raise condition_not_implemented(headers, "Multiple conditional request headers present in the request")
    if params.get("IfNoneMatch", "*") != "*":
        raise _no_such_value("IfNoneMatch")
    if params.get("IfMatch") == "*":
        raise _no_such_value("IfMatch")
    if "IfNoneMatch" in params and existing is not None:
        raise precondition_failed(_MEMBERS["IfNoneMatch"])
    if "IfMatch" in params:
        check_match(params["IfMatch"], params["Key"], existing)


def check_completion(
    params: s3.CompleteMultipartUploadRequest, upload: Upload, existing: ObjectVersion | None, *, deleted: bool
) -> None:
    """The conditions of a write that began with the upload: what was written to the key since is in conflict with it,
    and so is its deletion.

    As recorded on AWS in `test_multipart_if_match_with_put` and its neighbours of LocalStack's
    tests/aws/services/s3/test_s3_api.snapshot.json.
    """
    check_write(params, existing)
    if "IfMatch" in params and existing is not None and existing.modified > upload.started:
        raise conditional_conflict(_MEMBERS["IfMatch"], params["Key"])
    if "IfNoneMatch" in params and deleted:
        raise conditional_conflict(_MEMBERS["IfNoneMatch"], params["Key"])


def _no_such_value(member: str) -> ServiceError:
    return condition_not_implemented(
        _MEMBERS[member], f"We don't accept the provided value of {_MEMBERS[member]} header for this API"
    )


def check_match(condition: str, key: str, existing: ObjectVersion | None) -> None:
    if existing is None:
        raise no_such_key(key)
    if not etag_matches(condition, existing.etag):
        raise precondition_failed(_MEMBERS["IfMatch"])


def _modified_since(found: ObjectVersion, since: datetime) -> bool:
    """HTTP's dates have whole seconds."""
    return found.modified.replace(microsecond=0) > since


def _unmodified_since(found: ObjectVersion, since: datetime, now: datetime) -> bool:
    """A date that is still to come says nothing, as RFC 9110 and S3 have it."""
    return since <= now and not _modified_since(found, since)
