"""Objects: put, get, head, delete. Who wins among writers is decided by the one write transaction at a time."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, NotRequired, TypedDict, cast

from skylift.cloud.domain.bucket import Bucket, Object, ObjectVersion
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.services.api.authorize import authorize, permits
from skylift.cloud.services.api.operation import Check, Checks, Handler, in_turns, unprepared
from skylift.cloud.services.s3 import object_version as version
from skylift.cloud.services.s3 import rules, storage_class
from skylift.cloud.services.s3.acl import acl_of, asked
from skylift.cloud.services.s3.byte_range import Slice, cut, requested
from skylift.cloud.services.s3.checksum import Checksums, described_checksums
from skylift.cloud.services.s3.condition import with_request
from skylift.cloud.services.s3.error import invalid_argument, malformed_xml
from skylift.cloud.services.s3.expiration import Expiring, expiring
from skylift.cloud.services.s3.metadata import described_metadata, parse_metadata
from skylift.cloud.services.s3.object_tag import existing_context, from_header, requested_context
from skylift.cloud.services.s3.object_version import OfObject
from skylift.cloud.services.s3.operation import BODY, CREATED, OWNER, PAYER, READ, on_object, operation
from skylift.cloud.services.s3.precondition import check_match, check_read, check_write
from skylift.cloud.store.bucket import NULL, current, weight
from skylift.cloud.store.bucket import named as named_version
from skylift.cloud.store.content import body as content
from skylift.cloud.store.content import keep
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import s3

MOST_DELETED = 1000
MOST_AT_ONCE = 1 << 20
"""The most bytes of rows that DeleteObjects removes before other writers have their turn, but for one that has more."""
NO_TAGS: Mapping[str, str] = {}

_ATTRIBUTES = ("ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize")

_OVERRIDES = {
    "ResponseCacheControl": "CacheControl",
    "ResponseContentDisposition": "ContentDisposition",
    "ResponseContentEncoding": "ContentEncoding",
    "ResponseContentLanguage": "ContentLanguage",
    "ResponseContentType": "ContentType",
    "ResponseExpires": "Expires",
}


class _Named(TypedDict):
    """An object of a list that DeleteObjects is given."""

    Key: str
    VersionId: NotRequired[str]


class _Write(TypedDict):
    """The members by which the permissions for making an object are checked."""

    Bucket: str
    Key: str
    ACL: NotRequired[str]
    GrantFullControl: NotRequired[str]
    GrantRead: NotRequired[str]
    GrantReadACP: NotRequired[str]
    GrantWriteACP: NotRequired[str]
    IfMatch: NotRequired[str]
    Tagging: NotRequired[str]


class _TagCount(TypedDict):
    TagCount: NotRequired[int]


class _Checksums(Checksums):
    ChecksumType: NotRequired[str]


class _Read(rules.SystemHeaders, rules.Encrypted, _Checksums):
    """The common members of the answers of GetObject and HeadObject."""

    AcceptRanges: str
    LastModified: datetime
    ContentLength: int
    ETag: str
    ContentType: str
    Metadata: dict[str, str]
    ContentRange: NotRequired[str]
    PartsCount: NotRequired[int]


def put(tx: Tx, caller: Caller, params: s3.PutObjectRequest) -> s3.PutObjectOutput:
    bucket, key = rules.bucket_of(tx, caller, params), params["Key"]
    rules.check_key(key)
    rules.check_features(params)
    acl = acl_of(caller, bucket, params, new=True)
    metadata, tags = parse_metadata(params.get("Metadata", {})), from_header(params)
    body = rules.body_of(params)
    if "IfMatch" in params or "IfNoneMatch" in params:
        check_write(params, current(tx, bucket.name, key))
    made = Object(
        bucket=bucket.name,
        key=key,
        size=body.size,
        etag=body.md5,
        modified=tx.now,
        extents=keep(tx, body),
        content_type=rules.content_type(params),
        headers=rules.system_headers(params),
        metadata=metadata,
        checksums=body.checksums,
        tags=tags,
        acl=acl,
        storage_class=rules.storage_class_of(params),
    )
    stored = version.place(tx, bucket, made)
    answer: s3.PutObjectOutput = {
        "ETag": quoted(stored.etag),
        **rules.ENCRYPTION,
        # No `null` where versioning is suspended: `test_put_object_on_suspended_bucket`, recorded on AWS in
        # LocalStack's tests/aws/services/s3/test_s3_api.snapshot.json.
        **(version.described(bucket, stored) if stored.version != NULL else {}),
        **expiring(bucket, stored),
        **described_checksums(stored.checksums),
    }
    if stored.checksums:
        answer["ChecksumType"] = stored.checksum_type
    return answer


def get(tx: Tx, caller: Caller, params: s3.GetObjectRequest) -> s3.GetObjectOutput:
    """The body can be sent to its end, also when the object is deleted meanwhile."""
    bucket, found, piece = _read(tx, caller, params)
    storage_class.check_read(found, tx.now)
    extents = found.extents if piece is None else cut(found.extents, piece.start, piece.length)
    return {
        **_described(found, piece, params),
        **version.described(bucket, found),
        **_expiring(bucket, found, params),
        **storage_class.described(found, tx.now),
        "Body": content(tx, extents),
        **_tag_count(tx, caller, found),
    }


def head(tx: Tx, caller: Caller, params: s3.HeadObjectRequest) -> s3.HeadObjectOutput:
    bucket, found, piece = _read(tx, caller, params)
    return {
        **_described(found, piece, params),
        **version.described(bucket, found),
        **_expiring(bucket, found, params),
        **storage_class.described(found, tx.now),
        **_tag_count(tx, caller, found),
    }


def delete(tx: Tx, caller: Caller, params: s3.DeleteObjectRequest) -> s3.DeleteObjectOutput:
    """Succeeds without the object, unless `IfMatch` is given."""
    bucket = rules.bucket_of(tx, caller, params)
    return _delete(tx, bucket, params, params.get("IfMatch"))


@dataclass
class _Deleting:
    """The answer to DeleteObjects, as it comes about. Each key is for itself: what one may not delete, or does not
    match its ETag, is listed under `Errors`."""

    quiet: bool
    deleted: list[s3.DeletedObject] = field(default_factory=list)
    errors: list[s3.Error] = field(default_factory=list)

    def refuse(self, item: s3.ObjectIdentifier, error: ServiceError) -> None:
        if error.detail.get("ArgumentName") == "versionId":
            # Here S3 has one word for all: `test_delete_objects` in LocalStack's test_s3_api.snapshot.json.
            error = version.no_such_version(item["Key"], item["VersionId"])
        self.errors.append({**_named(item), "Code": error.code, "Message": error.message})

    def note(self, item: s3.ObjectIdentifier, answer: s3.DeleteObjectOutput) -> None:
        gone: s3.DeletedObject = {**_named(item)}
        if "DeleteMarker" in answer:
            gone |= {"DeleteMarker": True, "DeleteMarkerVersionId": answer["VersionId"]}
        self.deleted.append(gone)

    def answer(self) -> s3.DeleteObjectsOutput:
        result: s3.DeleteObjectsOutput = {} if self.quiet else {"Deleted": self.deleted}
        if self.errors:
            result["Errors"] = self.errors
        return result


def prepare_delete_many(tx: Tx, caller: Caller, params: s3.DeleteObjectsRequest) -> Sequence[Handler]:
    """Asks for all permissions, and divides the keys by how much there is to remove; see Operation.prepare."""
    bucket = rules.bucket_of(tx, caller, params)
    listed = params["Delete"].get("Objects", [])
    if not 1 <= len(listed) <= MOST_DELETED:
        raise malformed_xml()
    deleting = _Deleting(params["Delete"].get("Quiet", False))
    weighed: list[tuple[s3.ObjectIdentifier, int]] = []
    for item in listed:
        checks = _deletion(tx, bucket.name, item, item.get("ETag"))
        try:
            authorize(tx, caller, (with_request(tx, caller, {}, check) for check in checks), service="s3")
        except ServiceError as refusal:
            deleting.refuse(item, refusal)
            continue
        weighed.append((item, weight(tx, bucket.name, item["Key"], item.get("VersionId"))))
    return [partial(delete_many, deleting=deleting, items=items) for items in in_turns(weighed, MOST_AT_ONCE)]


def delete_many(
    tx: Tx, caller: Caller, params: s3.DeleteObjectsRequest, deleting: _Deleting, items: Iterable[s3.ObjectIdentifier]
) -> s3.DeleteObjectsOutput:
    bucket = rules.bucket_of(tx, caller, params)
    for item in items:
        try:
            deleting.note(item, _delete(tx, bucket, item, item.get("ETag")))
        except ServiceError as refusal:
            deleting.refuse(item, refusal)
    return deleting.answer()


def _named(item: s3.ObjectIdentifier) -> _Named:
    named: _Named = {"Key": item["Key"]}
    if "VersionId" in item:
        named["VersionId"] = item["VersionId"]
    return named


def attributes(tx: Tx, caller: Caller, params: s3.GetObjectAttributesRequest) -> s3.GetObjectAttributesOutput:
    """GetObjectAttributes: the attributes that `ObjectAttributes` names."""
    bucket = rules.bucket_of(tx, caller, params)
    found = version.find(tx, Object, bucket, params)
    asked = params["ObjectAttributes"]
    unknown = [name for name in asked if name not in _ATTRIBUTES]
    if unknown:
        raise invalid_argument("x-amz-object-attributes", unknown[0], "Invalid attribute name specified.")
    answer: s3.GetObjectAttributesOutput = {"LastModified": found.modified, **version.described(bucket, found)}
    if "ETag" in asked:
        answer["ETag"] = found.etag
    if "Checksum" in asked and found.checksums:
        # Here without how many parts it is made of: `get-object-attrs` of
        # `test_complete_multipart_parts_checksum_composite`, recorded on AWS in LocalStack's test_s3.snapshot.json.
        values = {algorithm: value.partition("-")[0] for algorithm, value in found.checksums.items()}
        answer["Checksum"] = {**described_checksums(values), "ChecksumType": found.checksum_type}
    parts = _parts(found, params)
    if "ObjectParts" in asked and parts is not None:
        answer["ObjectParts"] = parts
    if "StorageClass" in asked:
        answer["StorageClass"] = found.storage_class
    if "ObjectSize" in asked:
        answer["ObjectSize"] = found.size
    return answer


def quoted(etag: str) -> str:
    return f'"{etag}"'


def check_put(tx: Tx, _caller: Caller, params: _Write, copied: Mapping[str, str] | None = None) -> Iterable[Check]:
    bucket, key = params["Bucket"], params["Key"]
    tags = from_header(params) if copied is None else copied
    yield from _check_put(bucket, key, creates=True, tags=tags, acl=asked(params))
    if "IfMatch" in params:
        # The answer reveals something about the existing object.
        yield _reading(tx, bucket, key, None)


def check_create_upload(_tx: Tx, _caller: Caller, params: s3.CreateMultipartUploadRequest) -> Iterable[Check]:
    return _check_put(params["Bucket"], params["Key"], creates=False, tags=from_header(params), acl=asked(params))


def check_part(_tx: Tx, _caller: Caller, params: s3.UploadPartRequest | s3.UploadPartCopyRequest) -> Iterable[Check]:
    """An upload in parts needs the permission from its beginning, but creates an object at its end only."""
    return _check_put(params["Bucket"], params["Key"], creates=False)


def check_get(tx: Tx, _caller: Caller, params: s3.GetObjectRequest | s3.HeadObjectRequest) -> Iterable[Check]:
    yield from check_readable(tx, params["Bucket"], params["Key"], params.get("VersionId"))


def check_attributes(tx: Tx, _caller: Caller, params: s3.GetObjectAttributesRequest) -> Iterable[Check]:
    bucket, key, named = params["Bucket"], params["Key"], params.get("VersionId")
    found = named_version(tx, bucket, key, named)
    context = existing_context(found)
    if named is None:
        yield Check("s3:GetObjectAttributes", rules.object_arn(bucket, key), context)
    else:
        yield Check("s3:GetObjectVersionAttributes", rules.object_arn(bucket, key), {**context, "s3:versionid": named})
    yield from check_readable(tx, bucket, key, named)


def check_readable(tx: Tx, bucket: str, key: str, named: str | None) -> Iterable[Check]:
    """A caller who may not list the bucket does not learn that a key is missing: the answer is 403, not 404.

    `named` is the id of the version that is asked for, which takes a permission of its own.
    """
    yield _reading(tx, bucket, key, named)
    if named_version(tx, bucket, key, named) is None:
        yield Check("s3:ListBucket", rules.bucket_arn(bucket))


def check_acl(verb: str) -> Checks:
    def checks(tx: Tx, _caller: Caller, params: OfObject) -> Iterable[Check]:
        bucket, key, named = params["Bucket"], params["Key"], params.get("VersionId")
        found = named_version(tx, bucket, key, named)
        context = existing_context(found)
        if named is None:
            yield Check(f"s3:{verb}ObjectAcl", rules.object_arn(bucket, key), context)
        else:
            yield Check(f"s3:{verb}ObjectVersionAcl", rules.object_arn(bucket, key), {**context, "s3:versionid": named})
        if found is None:
            yield Check("s3:ListBucket", rules.bucket_arn(bucket))

    return checks


def check_delete(tx: Tx, _caller: Caller, params: s3.DeleteObjectRequest) -> Iterable[Check]:
    yield from _deletion(tx, params["Bucket"], params, params.get("IfMatch"))


def check_delete_many(_tx: Tx, _caller: Caller, _params: object) -> Iterable[Check]:
    """Asked key by key in `prepare_delete_many`: one that is forbidden does not fail the others."""
    return ()


def _reading(tx: Tx, bucket: str, key: str, named: str | None) -> Check:
    """Reading a version by its id takes a permission of its own."""
    arn, context = rules.object_arn(bucket, key), existing_context(named_version(tx, bucket, key, named))
    if named is None:
        return Check("s3:GetObject", arn, context)
    return Check("s3:GetObjectVersion", arn, {**context, "s3:versionid": named})


def _check_put(
    bucket: str, key: str, *, creates: bool, tags: Mapping[str, str] = NO_TAGS, acl: bool = False
) -> Iterable[Check]:
    """Tags and an ACL that come with an object take the permission that giving them later takes.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
    """
    arn = rules.object_arn(bucket, key)
    asked = requested_context(tags)
    yield Check("s3:PutObject", arn, {"s3:ObjectCreationOperation": "true" if creates else "false", **asked})
    if asked:
        yield Check("s3:PutObjectTagging", arn, asked)
    if acl:
        yield Check("s3:PutObjectAcl", arn)


def _read(
    tx: Tx, caller: Caller, params: s3.GetObjectRequest | s3.HeadObjectRequest
) -> tuple[Bucket, Object, Slice | None]:
    if caller.kind == "anonymous" and any(name in params for name in _OVERRIDES):
        # Otherwise anybody could change what a public page of a bucket appears to contain.
        raise ServiceError(
            "InvalidRequest", "Request specific response headers cannot be used for anonymous GET requests."
        )
    bucket = rules.bucket_of(tx, caller, params)
    found = version.find(tx, Object, bucket, params)
    check_read(params, found, tx.now)
    return bucket, found, requested(params, found)


def _expiring(bucket: Bucket, found: Object, params: OfObject) -> Expiring:
    """A request that names a version gets none, even if it is the current one."""
    return {} if "VersionId" in params else expiring(bucket, found)


def _tag_count(tx: Tx, caller: Caller, found: ObjectVersion) -> _TagCount:
    """The number of tags, for a caller who may read them."""
    if not found.tags:
        return {}
    check = Check("s3:GetObjectTagging", rules.object_arn(found.bucket, found.key), existing_context(found))
    return {"TagCount": len(found.tags)} if permits(tx, caller, check).allowed else {}


def _described(found: Object, piece: Slice | None, params: s3.GetObjectRequest | s3.HeadObjectRequest) -> _Read:
    answer: _Read = {
        "AcceptRanges": "bytes",
        "LastModified": found.modified,
        "ContentLength": found.size if piece is None else piece.length,
        "ETag": quoted(found.etag),
        "ContentType": found.content_type,
        "Metadata": described_metadata(found.metadata),
        **rules.described_headers(found.headers),
        **rules.ENCRYPTION,
    }
    if piece is not None and piece.length:
        answer["ContentRange"] = piece.content_range(found.size)
    if piece is not None and piece.part and found.parts:
        answer["PartsCount"] = len(found.parts)
    # In any letters: `test_s3_get_object_checksum`, recorded on AWS in LocalStack's test_s3.snapshot.json.
    if params.get("ChecksumMode", "").upper() == "ENABLED":
        answer |= _checksums(found, piece)
    given: Mapping[str, object] = params
    overridden = {name: _latin(override, given[override]) for override, name in _OVERRIDES.items() if override in given}
    return answer | cast(rules.SystemHeaders, overridden) if overridden else answer


def _latin(override: str, value: object) -> object:
    """As recorded on AWS: `test_get_response_overrides_unicode_metadata_with_sig_s3` in LocalStack's
    test_s3.snapshot.json."""
    if isinstance(value, str) and any(character > "\xff" for character in value):
        named = re.sub("(?<=[a-z])(?=[A-Z])", "-", override).lower()
        raise invalid_argument(named, value, "Header value cannot be represented using ISO-8859-1.")
    return value


def _checksums(found: Object, piece: Slice | None) -> _Checksums:
    """Checksums of exactly the bytes in the answer: all of the object, or a part where its checksum is made of the
    parts'. Another slice has none: `get-object-part-checksum` of `test_complete_multipart_parts_checksum_full_object`,
    recorded on AWS in LocalStack's test_s3.snapshot.json."""
    checksums: Mapping[str, str] = {}
    if piece is not None and piece.part and found.checksum_type == "COMPOSITE":
        checksums = piece.checksums
    elif piece is None or piece.length == found.size:
        checksums = found.checksums
    return {**described_checksums(checksums), "ChecksumType": found.checksum_type} if checksums else {}


def _deletion(tx: Tx, bucket: str, item: _Named, condition: str | None) -> Iterator[Check]:
    """Deleting a version by its id takes a permission of its own, and to ask whether its ETag is `condition` that to
    read it."""
    arn, named = rules.object_arn(bucket, item["Key"]), item.get("VersionId")
    if named is None:
        yield Check("s3:DeleteObject", arn)
    else:
        yield Check("s3:DeleteObjectVersion", arn, {"s3:versionid": named})
    if condition not in (None, "*"):
        yield _reading(tx, bucket, item["Key"], named)


def _delete(tx: Tx, bucket: Bucket, item: _Named, condition: str | None) -> s3.DeleteObjectOutput:
    """`condition` is what the object's ETag has to match."""
    key, named = item["Key"], item.get("VersionId")
    if condition is not None:
        check_match(condition, key, named_version(tx, bucket.name, key, named))
    return version.delete(tx, bucket, key, named)


def _parts(found: Object, params: s3.GetObjectAttributesRequest) -> s3.GetObjectAttributesParts | None:
    """S3 counts the parts of every multipart object, and lists them where the checksum is made of theirs."""
    if not found.parts:
        return None
    if not found.parts[0].checksums or found.checksum_type != "COMPOSITE":
        return {"TotalPartsCount": len(found.parts)}
    limit, after = rules.checked_limit(params.get("MaxParts"), "max-parts"), params.get("PartNumberMarker", 0)
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
        f"VersionId ObjectAttributes MaxParts PartNumberMarker {PAYER}",
    ),
    on_object("DeleteObject", delete, check_delete, f"VersionId IfMatch {PAYER}", writes=True),
    operation(
        "DeleteObjects",
        unprepared,
        check_delete_many,
        f"Bucket {OWNER} {PAYER} ChecksumAlgorithm Delete.Quiet Delete.Objects.Key Delete.Objects.VersionId "
        "Delete.Objects.ETag",
        writes=True,
        prepare=prepare_delete_many,
    ),
)
