"""Conditional requests: If-Match and its kin, as RFC 9110 orders them and S3's user guide details them."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from skylift.cloud.bucket import Object
from skylift.cloud.services.s3.error import no_such_key, not_implemented, not_modified, precondition_failed

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


def check_read(params: Any, found: Object) -> None:
    """A read's conditions: 412 PreconditionFailed, or 304 when the client's copy is still good."""
    if "IfMatch" in params:
        if not etag_matches(params["IfMatch"], found.etag):
            raise precondition_failed(_MEMBERS["IfMatch"])
    elif "IfUnmodifiedSince" in params and _modified_since(found, params["IfUnmodifiedSince"]):
        raise precondition_failed(_MEMBERS["IfUnmodifiedSince"])
    if "IfNoneMatch" in params:
        if etag_matches(params["IfNoneMatch"], found.etag):
            raise not_modified(found.etag)
    elif "IfModifiedSince" in params and not _modified_since(found, params["IfModifiedSince"]):
        raise not_modified(found.etag)


def check_source(params: Any, source: Object) -> None:
    """A copy's conditions on its source; all failures are 412 PreconditionFailed."""
    own = {member: params[f"CopySource{member}"] for member in _MEMBERS if f"CopySource{member}" in params}
    if "IfMatch" in own:
        if not etag_matches(own["IfMatch"], source.etag):
            raise precondition_failed("x-amz-copy-source-If-Match")
    elif "IfUnmodifiedSince" in own and _modified_since(source, own["IfUnmodifiedSince"]):
        raise precondition_failed("x-amz-copy-source-If-Unmodified-Since")
    if "IfNoneMatch" in own:
        if etag_matches(own["IfNoneMatch"], source.etag):
            raise precondition_failed("x-amz-copy-source-If-None-Match")
    elif "IfModifiedSince" in own and not _modified_since(source, own["IfModifiedSince"]):
        raise precondition_failed("x-amz-copy-source-If-Modified-Since")


def check_write(params: Any, existing: Object | None) -> None:
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
