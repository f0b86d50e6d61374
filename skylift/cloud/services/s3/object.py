"""Objects: put, get, head, delete. Who wins among writers is decided by the one write transaction at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from skylift.cloud.bucket import Bucket, Object
from skylift.cloud.error import ServiceError
from skylift.cloud.identity import Caller
from skylift.cloud.services.api.authorize import denial, permits
from skylift.cloud.services.api.operation import Check
from skylift.cloud.services.s3 import object_version as version
from skylift.cloud.services.s3.byte_range import Slice, cut, requested
from skylift.cloud.services.s3.condition import with_request
from skylift.cloud.services.s3.error import invalid_argument, malformed_xml
from skylift.cloud.services.s3.object_tag import existing_context, from_header, requested_context
from skylift.cloud.services.s3.operation import BODY, CREATED, READ, on_bucket, on_object
from skylift.cloud.services.s3.precondition import check_match, check_read, check_write
from skylift.cloud.services.s3.rules import (
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
    system_headers,
)
from skylift.cloud.store.bucket import current, version_of
from skylift.cloud.store.content import body as content
from skylift.cloud.store.content import keep
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
    check_features(bucket, params)
    metadata, tags = checked_metadata(params), from_header(params)
    body = body_of(params)
    if "IfMatch" in params or "IfNoneMatch" in params:
        check_write(params, current(tx, bucket.name, key))
    made = Object(
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
        tags=tags,
    )
    stored = version.place(tx, bucket, made)
    answer = {
        "ETag": quoted(stored.etag),
        **ENCRYPTION,
        **version.described(bucket, stored),
        **described_checksums(stored.checksums),
    }
    return {**answer, "ChecksumType": stored.checksum_type} if stored.checksums else answer


def get(tx: Tx, caller: Caller, params: Any) -> dict[str, Any]:
    """The body can be sent to its end, also when the object is deleted meanwhile."""
    bucket, found, piece = _read(tx, caller, params)
    extents = found.extents if piece is None else cut(found.extents, piece.start, piece.length)
    answer = {**_described(found, piece, params), **version.described(bucket, found), "Body": content(tx, extents)}
    return {**answer, **_tag_count(tx, caller, found)}


def head(tx: Tx, caller: Caller, params: Any) -> dict[str, Any]:
    bucket, found, piece = _read(tx, caller, params)
    answer = {**_described(found, piece, params), **version.described(bucket, found)}
    return {**answer, **_tag_count(tx, caller, found)}


def delete(tx: Tx, caller: Caller, params: Any) -> dict[str, Any]:
    """Deleting what is not there succeeds, unless `IfMatch` says that it should be."""
    bucket = bucket_of(tx, caller, params)
    return _delete(tx, bucket, params, params.get("IfMatch"))


def delete_many(tx: Tx, caller: Caller, params: Any) -> dict[str, Any]:
    """Each key for itself: what one may not, or does not match its ETag, is listed under `Errors`."""
    bucket = bucket_of(tx, caller, params)
    listed = params["Delete"].get("Objects", [])
    if not 1 <= len(listed) <= MOST_DELETED:
        raise malformed_xml()
    deleted: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    for item in listed:
        named = {name: item[name] for name in ("Key", "VersionId") if name in item}
        try:
            answer = _delete_one(tx, caller, bucket, item)
        except ServiceError as error:
            errors.append({**named, "Code": error.code, "Message": error.message})
        else:
            if "DeleteMarker" in answer:
                named |= {"DeleteMarker": True, "DeleteMarkerVersionId": answer["VersionId"]}
            deleted.append(named)
    result: dict[str, Any] = {} if params["Delete"].get("Quiet", False) else {"Deleted": deleted}
    return {**result, "Errors": errors} if errors else result


def attributes(tx: Tx, caller: Caller, params: Any) -> dict[str, Any]:
    """GetObjectAttributes: what is asked for in `ObjectAttributes`, and nothing else."""
    bucket = bucket_of(tx, caller, params)
    found = version.find(tx, bucket, params)
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
    return {"LastModified": found.modified, **version.described(bucket, found), **chosen}


def quoted(etag: str) -> str:
    return f'"{etag}"'


def check_put(_tx: Tx, _caller: Caller, params: Any) -> Iterable[Check]:
    return _check_put(params, creates=True)


def check_upload(_tx: Tx, _caller: Caller, params: Any) -> Iterable[Check]:
    """An upload in parts needs the permission from its beginning, but creates an object at its end only."""
    return _check_put(params, creates=False)


def check_get(tx: Tx, _caller: Caller, params: Any) -> Iterable[Check]:
    yield from check_readable(tx, params["Bucket"], params["Key"], params.get("VersionId"))


def check_attributes(tx: Tx, _caller: Caller, params: Any) -> Iterable[Check]:
    bucket, key, named = params["Bucket"], params["Key"], params.get("VersionId")
    found = current(tx, bucket, key) if named is None else version_of(tx, bucket, key, named)
    context = existing_context(found)
    if named is None:
        yield Check("s3:GetObjectAttributes", object_arn(bucket, key), context)
    else:
        yield Check("s3:GetObjectVersionAttributes", object_arn(bucket, key), {**context, "s3:versionid": named})
    yield from check_readable(tx, bucket, key, named)


def check_readable(tx: Tx, bucket: str, key: str, named: str | None) -> Iterable[Check]:
    """Whoever may not list a bucket does not learn that a key is missing: the answer is 403, not 404.

    `named` is the id of the version that is asked for, which takes a permission of its own.
    """
    found = current(tx, bucket, key) if named is None else version_of(tx, bucket, key, named)
    context = existing_context(found)
    if named is None:
        yield Check("s3:GetObject", object_arn(bucket, key), context)
    else:
        yield Check("s3:GetObjectVersion", object_arn(bucket, key), {**context, "s3:versionid": named})
    if found is None:
        yield Check("s3:ListBucket", bucket_arn(bucket))


def check_acl(verb: str) -> Callable[[Tx, Caller, Any], Iterable[Check]]:
    def checks(tx: Tx, _caller: Caller, params: Any) -> Iterable[Check]:
        bucket, key, named = params["Bucket"], params["Key"], params.get("VersionId")
        found = current(tx, bucket, key) if named is None else version_of(tx, bucket, key, named)
        context = existing_context(found)
        if named is None:
            yield Check(f"s3:{verb}ObjectAcl", object_arn(bucket, key), context)
        else:
            yield Check(f"s3:{verb}ObjectVersionAcl", object_arn(bucket, key), {**context, "s3:versionid": named})
        if found is None:
            yield Check("s3:ListBucket", bucket_arn(bucket))

    return checks


def check_delete(_tx: Tx, _caller: Caller, params: Any) -> Iterable[Check]:
    arn = object_arn(params["Bucket"], params["Key"])
    yield _deletion(params["Bucket"], params)
    if params.get("IfMatch", "*") != "*":
        yield Check("s3:GetObject", arn)


def check_delete_many(_tx: Tx, _caller: Caller, _params: Any) -> Iterable[Check]:
    """Asked key by key in the operation itself: one that is forbidden does not fail the others."""
    return ()


def _check_put(params: Any, *, creates: bool) -> Iterable[Check]:
    """Tags and an ACL that come with an object take the permission that giving them later takes.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
    """
    arn = object_arn(params["Bucket"], params["Key"])
    tags = requested_context(from_header(params))
    yield Check("s3:PutObject", arn, {"s3:ObjectCreationOperation": "true" if creates else "false", **tags})
    if tags:
        yield Check("s3:PutObjectTagging", arn, tags)
    if "ACL" in params:
        yield Check("s3:PutObjectAcl", arn)
    if "IfMatch" in params:
        # The answer tells something about the object that is there.
        yield Check("s3:GetObject", arn)


def _read(tx: Tx, caller: Caller, params: Any) -> tuple[Bucket, Object, Slice | None]:
    if caller.kind == "anonymous" and any(name in params for name in _OVERRIDES):
        # Else anybody could have a page that a bucket shows to all say what its owner never wrote.
        raise ServiceError(
            "InvalidRequest", "Request specific response headers cannot be used for anonymous GET requests."
        )
    bucket = bucket_of(tx, caller, params)
    found = version.find(tx, bucket, params)
    check_read(params, found)
    return bucket, found, requested(params, found)


def _tag_count(tx: Tx, caller: Caller, found: Object) -> dict[str, int]:
    """How many tags there are is told to those who may read them."""
    if not found.tags:
        return {}
    check = Check("s3:GetObjectTagging", object_arn(found.bucket, found.key), existing_context(found))
    return {"TagCount": len(found.tags)} if permits(tx, caller, check).allowed else {}


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


def _delete_one(tx: Tx, caller: Caller, bucket: Bucket, item: Any) -> dict[str, Any]:
    check = with_request(tx, caller, {}, _deletion(bucket.name, item))
    decision = permits(tx, caller, check)
    if not decision.allowed:
        raise denial(caller, check, decision, "s3")
    return _delete(tx, bucket, item, item.get("ETag"))


def _deletion(bucket: str, item: Any) -> Check:
    """Deleting for good a version that is named takes a permission of its own."""
    arn, named = object_arn(bucket, item["Key"]), item.get("VersionId")
    if named is None:
        return Check("s3:DeleteObject", arn)
    return Check("s3:DeleteObjectVersion", arn, {"s3:versionid": named})


def _delete(tx: Tx, bucket: Bucket, item: Any, condition: str | None) -> dict[str, Any]:
    """`condition` is what the object's ETag has to match."""
    key, named = item["Key"], item.get("VersionId")
    if condition is not None:
        found = current(tx, bucket.name, key) if named is None else version_of(tx, bucket.name, key, named)
        check_match(condition, key, found)
    return version.delete(tx, bucket, key, named)


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


OPERATIONS = (
    on_object("PutObject", put, check_put, f"IfMatch IfNoneMatch {BODY} {CREATED}", writes=True),
    on_object("GetObject", get, check_get, READ),
    on_object("HeadObject", head, check_get, READ),
    on_object(
        "GetObjectAttributes",
        attributes,
        check_attributes,
        "VersionId ObjectAttributes MaxParts PartNumberMarker",
    ),
    on_object("DeleteObject", delete, check_delete, "VersionId IfMatch", writes=True),
    on_bucket(
        "DeleteObjects",
        delete_many,
        check_delete_many,
        "Delete.Objects.Key Delete.Objects.VersionId Delete.Objects.ETag Delete.Quiet ChecksumAlgorithm",
        writes=True,
    ),
)
