"""Copies within this cloud: the bytes are shared on disk, so that a copy takes no room and hardly any time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

from skylift.cloud.bucket import Bucket, Object
from skylift.cloud.identity import Caller
from skylift.cloud.services.checksum import Running
from skylift.cloud.services.object import check_put, check_readable, quoted, store
from skylift.cloud.services.operation import Check
from skylift.cloud.services.precondition import check_source, check_write
from skylift.cloud.services.s3_error import (
    access_denied,
    invalid_argument,
    invalid_request,
    no_such_bucket,
    not_implemented,
)
from skylift.cloud.services.s3_rules import (
    ENCRYPTION,
    MAX_PUT,
    bucket_of,
    check_features,
    check_key,
    checked_metadata,
    content_type,
    described_checksums,
    object_of,
    system_headers,
)
from skylift.cloud.store.bucket import share
from skylift.cloud.store.database import Tx


def copy(tx: Tx, caller: Caller, params: Any) -> dict[str, Any]:
    bucket, key = bucket_of(tx, caller, params), params["Key"]
    check_key(key)
    check_features(params)
    source = source_of(tx, caller, params)
    check_source(params, source)
    directive = params.get("MetadataDirective", "COPY")
    if directive not in ("COPY", "REPLACE"):
        raise invalid_argument("x-amz-metadata-directive", directive, "Unknown metadata directive.")
    if directive == "COPY" and (source.bucket, source.key) == (bucket.name, key):
        raise invalid_request(
            "This copy request is illegal because it is trying to copy an object to itself without changing the "
            "object's metadata, storage class, website redirect location or encryption attributes."
        )
    if source.size > MAX_PUT:
        raise invalid_request(
            f"The specified copy source is larger than the maximum allowable size for a copy source: {MAX_PUT}"
        )
    existing = tx.get(Object, bucket=bucket.name, key=key)
    check_write(params, existing)
    copied = replace(
        _as_one_piece(tx, source, params.get("ChecksumAlgorithm")),
        bucket=bucket.name,
        key=key,
        modified=tx.now,
        extents=share(tx, source.extents),
    )
    if directive == "REPLACE":
        copied = replace(
            copied,
            content_type=content_type(params),
            headers=system_headers(params),
            metadata=checked_metadata(params),
        )
    store(tx, copied, existing)
    result = {
        "ETag": quoted(copied.etag),
        "LastModified": copied.modified,
        **described_checksums(copied.checksums),
    }
    if copied.checksums:
        result["ChecksumType"] = copied.checksum_type
    return {"CopyObjectResult": result, **ENCRYPTION}


def source_of(tx: Tx, caller: Caller, params: Any) -> Object:
    """The object that `CopySource` names."""
    name, key = source_name(params)
    bucket = tx.get(Bucket, name=name)
    if bucket is None:
        raise no_such_bucket(name)
    if params.get("ExpectedSourceBucketOwner", caller.account) != bucket.owner:
        raise access_denied()
    return object_of(tx, name, key)


def source_name(params: Any) -> tuple[str, str]:
    """Bucket and key from a header like `/bucket/percent%20encoded`."""
    source: str = params["CopySource"]
    path, question, version = source.partition("?versionId=")
    if question and version != "null":
        raise not_implemented("x-amz-copy-source", source)
    name, slash, key = unquote(path).removeprefix("/").partition("/")
    if not (name and slash and key):
        raise invalid_argument(
            "x-amz-copy-source", source, "Copy Source must mention the source bucket and key: sourcebucket/sourcekey"
        )
    return name, key


def check_copy(tx: Tx, caller: Caller, params: Any) -> Iterable[Check]:
    yield from check_readable(tx, *source_name(params), "s3:GetObject")
    yield from check_put(tx, caller, params)


def _as_one_piece(tx: Tx, source: Object, wanted: str | None) -> Object:
    """A copy is one piece, with the ETag and checksum of one, however its source was uploaded.

    `wanted` is the algorithm of the copy's checksum; by default it stays that of the source.
    """
    known = next(iter(source.checksums), None)
    algorithm = wanted or known
    as_it_is = algorithm == known and source.checksum_type == "FULL_OBJECT"
    if as_it_is and not source.parts:
        return source
    if not as_it_is and not Running.can(algorithm):
        raise not_implemented("x-amz-checksum-algorithm", algorithm)
    running = Running(None if as_it_is else algorithm)
    for chunk in tx.files.read(source.extents):
        running.update(chunk)
    return replace(
        source,
        etag=running.md5,
        parts=(),
        checksums=source.checksums if as_it_is else running.checksums,
        checksum_type="FULL_OBJECT",
    )
