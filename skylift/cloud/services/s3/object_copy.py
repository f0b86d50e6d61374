"""Copies within this cloud: a file is shared on disk, so that a copy of one takes no room and hardly any time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NotRequired, TypedDict

from skylift.cloud.domain.bucket import Bucket, Object, ObjectVersion
from skylift.cloud.domain.identity import Caller
from skylift.cloud.services.api.operation import Check, Handler, Outdated, unprepared
from skylift.cloud.services.s3 import object_version as version
from skylift.cloud.services.s3 import rules, storage_class
from skylift.cloud.services.s3.acl import acl_of
from skylift.cloud.services.s3.checksum import Digested, described_checksums, digest_bytes
from skylift.cloud.services.s3.copy_source import names_bucket_in_host, read_source
from skylift.cloud.services.s3.error import access_denied, invalid_argument, invalid_request, no_such_bucket
from skylift.cloud.services.s3.expiration import expiring
from skylift.cloud.services.s3.metadata import parse_metadata
from skylift.cloud.services.s3.object import check_put, check_readable, quoted
from skylift.cloud.services.s3.object_tag import existing_context, from_header
from skylift.cloud.services.s3.operation import CREATED, SOURCE, on_object
from skylift.cloud.services.s3.precondition import check_source, check_write
from skylift.cloud.store.bucket import NULL, V, current, version_of
from skylift.cloud.store.bucket import named as named_version
from skylift.cloud.store.content import share
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import s3


def copy(
    tx: Tx, caller: Caller, params: s3.CopyObjectRequest, source: Object, found: Digested | None
) -> s3.CopyObjectOutput:
    """`found` was read of the source beforehand, if anything has to be."""
    bucket, key = rules.bucket_of(tx, caller, params), params["Key"]
    rules.check_key(key)
    rules.check_features(params)
    acl = acl_of(caller, bucket, params, new=True)
    refuse_changed(tx, caller, params, source)
    check_source(params, source, tx.now)
    storage_class.check_source(source, tx.now)
    directive = _directive(params.get("MetadataDirective"), "x-amz-metadata-directive")
    tagging = _directive(params.get("TaggingDirective"), "x-amz-tagging-directive")
    onto_itself = (source.bucket, source.key, source.latest) == (bucket.name, key, True)
    restored = storage_class.is_restored(source.restored_until, tx.now)
    changes = bucket.encryption_put or restored or params.keys() & {"ServerSideEncryption", "StorageClass"}
    if directive == "COPY" and onto_itself and not changes:
        raise invalid_request(
            "This copy request is illegal because it is trying to copy an object to itself without changing the "
            "object's metadata, storage class, website redirect location or encryption attributes."
        )
    if source.size > rules.MAX_PUT:
        raise invalid_request(
            f"The specified copy source is larger than the maximum allowable size for a copy source: {rules.MAX_PUT}"
        )
    if "IfMatch" in params or "IfNoneMatch" in params:
        check_write(params, current(tx, bucket.name, key))
    copied = replace(
        _as_one_piece(source, found),
        bucket=bucket.name,
        key=key,
        modified=tx.now,
        extents=share(tx, source.extents, found.joined if found else None),
        acl=acl,
        storage_class=rules.storage_class_of(params),
        restored_until=None,
    )
    if directive == "REPLACE":
        copied = replace(
            copied,
            content_type=rules.content_type(params),
            headers=rules.system_headers(params),
            metadata=parse_metadata(params.get("Metadata", {})),
        )
    if tagging == "REPLACE":
        copied = replace(copied, tags=from_header(params))
    copied = version.place(tx, bucket, copied)
    result: s3.CopyObjectResult = {
        "ETag": quoted(copied.etag),
        "LastModified": copied.modified,
        **described_checksums(copied.checksums),
    }
    if copied.checksums:
        result["ChecksumType"] = copied.checksum_type
    return {
        "CopyObjectResult": result,
        **rules.ENCRYPTION,
        **version.described(bucket, copied),
        **expiring(bucket, copied),
        **described_source(tx, source),
    }


class SourceVersion(TypedDict):
    CopySourceVersionId: NotRequired[str]


def described_source(tx: Tx, source: ObjectVersion) -> SourceVersion:
    """Which version was copied, if it has an id: `copy-in-place-versioned-re-enabled` of
    `test_s3_copy_object_in_place_versioned`, recorded on AWS in LocalStack's test_s3.snapshot.json."""
    return {} if source.version == NULL else {"CopySourceVersionId": source.version}


def refuse_changed(
    tx: Tx, caller: Caller, params: s3.CopyObjectRequest | s3.UploadPartCopyRequest, source: ObjectVersion
) -> None:
    """Raises Outdated where the request names another object now, or one with other properties. Its bytes stay."""
    if source_of(tx, ObjectVersion, caller, params) != without_bytes(source):
        raise Outdated


def without_bytes(found: ObjectVersion) -> ObjectVersion:
    return ObjectVersion(**{name: value for name, value in vars(found).items() if name not in ("extents", "parts")})


def source_of(tx: Tx, noun: type[V], caller: Caller, params: s3.CopyObjectRequest | s3.UploadPartCopyRequest) -> V:
    """The object that `CopySource` names."""
    name, key, named = source_name(params)
    bucket = tx.get(Bucket, name=name)
    if bucket is None:
        raise no_such_bucket(name)
    if params.get("ExpectedSourceBucketOwner", caller.account) != bucket.owner:
        raise access_denied()
    if named is not None:
        found = version_of(tx, ObjectVersion, name, key, named)
        if found is not None and found.delete_marker:
            raise invalid_request(
                "The source of a copy request may not specifically refer to a delete marker by version id."
            )
    return version.by_id(tx, noun, bucket, key, named)


def source_name(params: s3.CopyObjectRequest | s3.UploadPartCopyRequest) -> tuple[str, str, str | None]:
    """Bucket, key and version."""
    path, named = read_source(params["CopySource"])
    if names_bucket_in_host(params["CopySource"]):
        raise invalid_argument(
            "x-amz-copy-source",
            params["CopySource"],
            "A copy source has its bucket in the path, as bucket/key or https://s3.amazonaws.com/bucket/key",
        )
    name, slash, key = path.partition("/")
    if not (name and slash and key):
        # As recorded on AWS, also the value: `test_s3_copy_object_wrong_format` in LocalStack's test_s3.snapshot.json.
        raise invalid_argument("x-amz-copy-source", "x-amz-copy-source", "Invalid copy source object key")
    return name, key, named


def check_copy(tx: Tx, caller: Caller, params: s3.CopyObjectRequest) -> Iterable[Check]:
    name, key, named = source_name(params)
    yield from check_readable(tx, name, key, named)
    tags = None
    if _directive(params.get("TaggingDirective"), "x-amz-tagging-directive") == "COPY":
        # A copy takes the tags along, so that the caller needs the permissions to read and to write them.
        source = named_version(tx, name, key, named)
        tags = source.tags if source is not None else {}
        if source is not None and tags:
            noun = "ObjectTagging" if named is None else "ObjectVersionTagging"
            yield Check(f"s3:Get{noun}", rules.object_arn(name, key), existing_context(source))
    yield from check_put(tx, caller, params, tags)


def prepare_copy(tx: Tx, caller: Caller, params: s3.CopyObjectRequest) -> Handler:
    """Reads the source where its digests have to be made anew; see Operation.prepare."""
    source = source_of(tx, Object, caller, params)
    check_source(params, source, tx.now)
    storage_class.check_source(source, tx.now)
    if source.size > rules.MAX_PUT or not _has_to_be_read(source, params.get("ChecksumAlgorithm")):
        return partial(copy, source=source, found=None)
    found = digest_bytes(tx, source.extents, _algorithm(source, params.get("ChecksumAlgorithm")))
    return partial(copy, source=source, found=found)


def _directive(asked: str | None, header: str) -> str:
    directive = "COPY" if asked is None else asked
    if directive not in ("COPY", "REPLACE"):
        raise invalid_argument(header, directive, f"Unknown {header.split('-')[2]} directive.")
    return directive


def _algorithm(source: Object, wanted: str | None) -> str | None:
    """The algorithm of the copy's checksum: the requested one, by default the source's."""
    return wanted or next(iter(source.checksums), None)


def _has_to_be_read(source: Object, wanted: str | None) -> bool:
    as_it_is = wanted in (None, *source.checksums) and source.checksum_type == "FULL_OBJECT"
    return bool(source.parts) or not as_it_is or len(source.extents) > 1


def _as_one_piece(source: Object, found: Digested | None) -> Object:
    """A copy is one piece, with the ETag and checksum of one, however its source was uploaded."""
    source = replace(source, upload_id=None)
    if found is None:
        return source
    return replace(source, etag=found.md5, parts=(), checksums=found.checksums, checksum_type="FULL_OBJECT")


OPERATIONS = (
    on_object(
        "CopyObject",
        unprepared,
        check_copy,
        f"IfMatch IfNoneMatch MetadataDirective TaggingDirective ChecksumAlgorithm {SOURCE} {CREATED}",
        writes=True,
        prepare=prepare_copy,
    ),
)
