"""Objects: put, get, head, delete. Who wins among writers is decided by the one write transaction at a time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from skylift.cloud.bucket import Object
from skylift.cloud.error import ServiceError
from skylift.cloud.identity import Caller
from skylift.cloud.services.authorize import denial, permits
from skylift.cloud.services.byte_range import Slice, cut, requested
from skylift.cloud.services.operation import Check
from skylift.cloud.services.precondition import check_match, check_read, check_write
from skylift.cloud.services.s3_error import invalid_argument, malformed_xml, no_such_key
from skylift.cloud.services.s3_rules import (
    ENCRYPTION,
    body_of,
    bucket_arn,
    bucket_of,
    check_features,
    check_key,
    checked_limit,
    checked_metadata,
    content_type,
    described_checksums,
    described_headers,
    object_arn,
    object_of,
    system_headers,
)
from skylift.cloud.store.bucket import discard, keep
from skylift.cloud.store.database import Tx

MOST_DELETED = 1000

_OVERRIDES = {
    "ResponseCacheControl": "CacheControl",
    "ResponseContentDisposition": "ContentDisposition",
    "ResponseContentEncoding": "ContentEncoding",
    "ResponseContentLanguage": "ContentLanguage",
    "ResponseContentType": "ContentType",
    "ResponseExpires": "Expires",
}


def put(tx: Tx, caller: Caller, params: Any) -> dict[str, Any]:
    bucket, key = bucket_of(tx, caller, params), params["Key"]
    check_key(key)
    check_features(params)
    metadata = checked_metadata(params)
    body = body_of(params)
    existing = tx.get(Object, bucket=bucket.name, key=key)
    check_write(params, existing)
    stored = Object(
        bucket=bucket.name,
        key=key,
        size=body.size,
        etag=body.md5,
        modified=tx.now,
        extents=keep(tx, body),
        content_type=content_type(params),
        headers=system_headers(params),
        metadata=metadata,
        checksums=body.checksums,
    )
    store(tx, stored, existing)
    answer = {"ETag": quoted(stored.etag), **ENCRYPTION, **described_checksums(stored.checksums)}
    return {**answer, "ChecksumType": stored.checksum_type} if stored.checksums else answer


def get(tx: Tx, caller: Caller, params: Any) -> dict[str, Any]:
    """The body's files stay on disk while the answer is being sent, also when the object is deleted meanwhile."""
    found, piece = _read(tx, caller, params)
    extents = found.extents if piece is None else cut(found.extents, piece.start, piece.length)
    return {**_described(found, piece, params), "Body": tx.files.body(extents)}


def head(tx: Tx, caller: Caller, params: Any) -> dict[str, Any]:
    found, piece = _read(tx, caller, params)
    return _described(found, piece, params)


def delete(tx: Tx, caller: Caller, params: Any) -> dict[str, Any]:
    """Deleting what is not there succeeds, unless `IfMatch` says that it should be."""
    bucket = bucket_of(tx, caller, params)
    existing = tx.get(Object, bucket=bucket.name, key=params["Key"])
    if "IfMatch" in params:
        check_match(params["IfMatch"], params["Key"], existing)
    if existing is not None:
        _remove(tx, existing)
    return {}


def delete_many(tx: Tx, caller: Caller, params: Any) -> dict[str, Any]:
    """Each key for itself: what one may not, or does not match its ETag, is listed under `Errors`."""
    bucket = bucket_of(tx, caller, params)
    listed = params["Delete"].get("Objects", [])
    if not 1 <= len(listed) <= MOST_DELETED:
        raise malformed_xml()
    deleted: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    for item in listed:
        key = item["Key"]
        try:
            _delete_one(tx, caller, bucket.name, item)
        except ServiceError as error:
            errors.append({"Key": key, "Code": error.code, "Message": error.message})
        else:
            deleted.append({"Key": key})
    answer = {} if params["Delete"].get("Quiet", False) else {"Deleted": deleted}
    return {**answer, "Errors": errors} if errors else answer


def attributes(tx: Tx, caller: Caller, params: Any) -> dict[str, Any]:
    """GetObjectAttributes: what is asked for in `ObjectAttributes`, and nothing else."""
    bucket = bucket_of(tx, caller, params)
    found = object_of(tx, bucket.name, params["Key"])
    checksum: dict[str, Any] = described_checksums(found.checksums)
    if checksum:
        checksum["ChecksumType"] = found.checksum_type
    possible = {
        "ETag": found.etag,
        "Checksum": checksum,
        "ObjectParts": _parts(found, params),
        "StorageClass": "STANDARD",
        "ObjectSize": found.size,
    }
    unknown = [name for name in params["ObjectAttributes"] if name not in possible]
    if unknown:
        raise invalid_argument("x-amz-object-attributes", unknown[0], "Invalid attribute name specified.")
    chosen = {name: possible[name] for name in params["ObjectAttributes"] if possible[name] not in ({}, None)}
    return {"LastModified": found.modified, **chosen}


def store(tx: Tx, stored: Object, existing: Object | None) -> None:
    """Add the object, or put it in the place of the one that has the key."""
    if existing is None:
        tx.add(stored)
    else:
        tx.save(stored)
        discard(tx, existing.extents)


def quoted(etag: str) -> str:
    return f'"{etag}"'


def check_put(_tx: Tx, _caller: Caller, params: Any) -> Iterable[Check]:
    arn = object_arn(params["Bucket"], params["Key"])
    yield Check("s3:PutObject", arn, _write_context(params))
    if "IfMatch" in params:
        # The answer tells something about the object that is there.
        yield Check("s3:GetObject", arn)


def check_get(tx: Tx, _caller: Caller, params: Any) -> Iterable[Check]:
    yield from check_readable(tx, params["Bucket"], params["Key"], "s3:GetObject")


def check_attributes(tx: Tx, _caller: Caller, params: Any) -> Iterable[Check]:
    yield Check("s3:GetObjectAttributes", object_arn(params["Bucket"], params["Key"]))
    yield from check_readable(tx, params["Bucket"], params["Key"], "s3:GetObject")


def check_readable(tx: Tx, bucket: str, key: str, action: str) -> Iterable[Check]:
    """Whoever may not list a bucket does not learn that a key is missing: the answer is 403, not 404."""
    yield Check(action, object_arn(bucket, key))
    if tx.get(Object, bucket=bucket, key=key) is None:
        yield Check("s3:ListBucket", bucket_arn(bucket))


def check_delete(_tx: Tx, _caller: Caller, params: Any) -> Iterable[Check]:
    arn = object_arn(params["Bucket"], params["Key"])
    yield Check("s3:DeleteObject", arn, _write_context(params))
    if params.get("IfMatch", "*") != "*":
        yield Check("s3:GetObject", arn)


def check_delete_many(_tx: Tx, _caller: Caller, _params: Any) -> Iterable[Check]:
    """Asked key by key in the operation itself: one that is forbidden does not fail the others."""
    return ()


def _write_context(params: Any) -> dict[str, str | tuple[str, ...]]:
    names = {
        "IfMatch": "s3:if-match",
        "IfNoneMatch": "s3:if-none-match",
        "ACL": "s3:x-amz-acl",
        "StorageClass": "s3:x-amz-storage-class",
        "ServerSideEncryption": "s3:x-amz-server-side-encryption",
    }
    return {key: params[name] for name, key in names.items() if name in params}


def _read(tx: Tx, caller: Caller, params: Any) -> tuple[Object, Slice | None]:
    bucket = bucket_of(tx, caller, params)
    found = tx.get(Object, bucket=bucket.name, key=params["Key"])
    if found is None:
        raise no_such_key(params["Key"])
    check_read(params, found)
    return found, requested(params, found)


def _described(found: Object, piece: Slice | None, params: Any) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "AcceptRanges": "bytes",
        "LastModified": found.modified,
        "ContentLength": found.size if piece is None else piece.length,
        "ETag": quoted(found.etag),
        "ContentType": found.content_type,
        "Metadata": dict(found.metadata),
        **described_headers(found.headers),
        **ENCRYPTION,
    }
    if piece is not None and piece.length:
        answer["ContentRange"] = piece.content_range(found.size)
    if piece is not None and piece.part and found.parts:
        answer["PartsCount"] = len(found.parts)
    if params.get("ChecksumMode") == "ENABLED":
        answer |= _checksums(found, piece)
    return answer | {name: params[override] for override, name in _OVERRIDES.items() if override in params}


def _checksums(found: Object, piece: Slice | None) -> dict[str, str]:
    """Checksums of exactly the bytes in the answer; a slice that is no part has none."""
    checksums = found.checksums if piece is None else piece.checksums
    return {**described_checksums(checksums), "ChecksumType": found.checksum_type} if checksums else {}


def _delete_one(tx: Tx, caller: Caller, bucket: str, item: Any) -> None:
    check = Check("s3:DeleteObject", object_arn(bucket, item["Key"]))
    decision = permits(tx, caller, check)
    if not decision.allowed:
        raise denial(caller, check, decision, "s3")
    existing = tx.get(Object, bucket=bucket, key=item["Key"])
    if "ETag" in item:
        check_match(item["ETag"], item["Key"], existing)
    if existing is not None:
        _remove(tx, existing)


def _remove(tx: Tx, existing: Object) -> None:
    tx.remove(existing)
    discard(tx, existing.extents)


def _parts(found: Object, params: Any) -> dict[str, Any] | None:
    """S3 counts the parts of every multipart object, and lists them when they have checksums of their own."""
    if not found.parts:
        return None
    if not found.parts[0].checksums:
        return {"TotalPartsCount": len(found.parts)}
    limit, after = checked_limit(params, "MaxParts", "max-parts"), params.get("PartNumberMarker", 0)
    following = [part for part in found.parts if part.number > after]
    page = following[:limit]
    return {
        "TotalPartsCount": len(found.parts),
        "PartNumberMarker": after,
        "NextPartNumberMarker": page[-1].number if page else 0,
        "MaxParts": limit,
        "IsTruncated": len(following) > len(page),
        "Parts": [
            {"PartNumber": part.number, "Size": part.size, **described_checksums(part.checksums)} for part in page
        ],
    }
