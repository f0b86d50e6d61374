"""Multipart uploads: parts arrive in any order and become one object, without a byte being copied."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NotRequired, TypedDict

from skylift.cloud.domain.bucket import Extent, Object, ObjectVersion, Part, Upload
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.services.api.operation import Check, Checks, Handler, unprepared
from skylift.cloud.services.s3 import object as objects
from skylift.cloud.services.s3 import rules, storage_class
from skylift.cloud.services.s3.acl import acl_of
from skylift.cloud.services.s3.byte_range import cut
from skylift.cloud.services.s3.checksum import (
    DEFAULT_ALGORITHM,
    TYPES,
    Checksums,
    Digested,
    described_checksums,
    digest_bytes,
)
from skylift.cloud.services.s3.error import invalid_argument, invalid_request, no_such_upload
from skylift.cloud.services.s3.metadata import parse_metadata
from skylift.cloud.services.s3.object import check_part, check_readable, quoted
from skylift.cloud.services.s3.object_copy import (
    described_source,
    refuse_changed,
    source_name,
    source_of,
    without_bytes,
)
from skylift.cloud.services.s3.object_list import Encode, encoder
from skylift.cloud.services.s3.object_tag import from_header
from skylift.cloud.services.s3.operation import BODY, CREATED, PAYER, SOURCE, on_bucket, on_object
from skylift.cloud.services.s3.precondition import check_source
from skylift.cloud.store.bucket import deletions, list_uploads, parts
from skylift.cloud.store.content import discard, discard_parts, keep, share
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import s3

MOST_PARTS = 10_000
ANONYMOUS = "65a011a29cdf8ec533ec3d1ccaae921c"
"""The canonical id that S3 has for anybody who signs nothing."""
_COPY_RANGE = re.compile(r"bytes=(\d{1,19})-(\d{1,19})", re.ASCII)


def create(tx: Tx, caller: Caller, params: s3.CreateMultipartUploadRequest) -> s3.CreateMultipartUploadOutput:
    bucket, key = rules.bucket_of(tx, caller, params), params["Key"]
    rules.check_key(key)
    rules.check_features(params)
    if caller.kind == "anonymous":
        raise ServiceError(
            "AccessDenied", "Anonymous users cannot initiate multipart uploads.  Please authenticate.", status=403
        )
    acl = acl_of(caller, bucket, params, new=True)
    algorithm, checksum_type = _checksum_choice(params)
    upload = Upload(
        id=_new_id(tx),
        bucket=bucket.name,
        key=key,
        started=tx.now,
        initiator=caller.arn,
        content_type=rules.content_type(params),
        headers=rules.system_headers(params),
        metadata=parse_metadata(params.get("Metadata", {})),
        checksum_algorithm=algorithm,
        checksum_type=checksum_type,
        tags=from_header(params),
        deletions=deletions(tx, bucket.name, key),
        acl=acl,
        storage_class=rules.storage_class_of(params),
    )
    tx.add(upload)
    return {"Bucket": bucket.name, "Key": key, "UploadId": upload.id, **rules.ENCRYPTION, **_checksum_kind(upload)}


def put_part(tx: Tx, caller: Caller, params: s3.UploadPartRequest) -> s3.UploadPartOutput:
    upload, number = upload_of(tx, caller, params), _checked_number(params)
    body = rules.body_of(params)
    algorithm = upload.checksum_algorithm
    if algorithm and algorithm not in body.checksums:
        sent = next(iter(body.checksums), "null").lower()
        raise invalid_request(
            f"Checksum Type mismatch occurred, expected checksum Type: {algorithm.lower()}, "
            f"actual checksum Type: {sent}"
        )
    part = Part(
        upload_id=upload.id,
        number=number,
        size=body.size,
        md5=body.md5,
        modified=tx.now,
        extents=keep(tx, body),
        checksums=body.checksums if algorithm else {DEFAULT_ALGORITHM: body.crc64nvme},
    )
    _store(tx, part)
    return {"ETag": quoted(part.md5), **rules.ENCRYPTION, **described_checksums(body.checksums)}


def copy_part(
    tx: Tx,
    caller: Caller,
    params: s3.UploadPartCopyRequest,
    source: ObjectVersion,
    piece: tuple[Extent, ...],
    found: Digested,
) -> s3.UploadPartCopyOutput:
    """`found` was read of a piece of the source beforehand."""
    upload, number = upload_of(tx, caller, params), _checked_number(params)
    refuse_changed(tx, caller, params, source)
    part = Part(
        upload_id=upload.id,
        number=number,
        size=sum(extent.length for extent in piece),
        md5=found.md5,
        modified=tx.now,
        extents=share(tx, piece, found.joined),
        checksums=found.checksums,
    )
    _store(tx, part)
    result: s3.CopyPartResult = {
        "ETag": quoted(part.md5),
        "LastModified": part.modified,
        **_own_checksums(upload, part),
    }
    return {"CopyPartResult": result, **rules.ENCRYPTION, **described_source(tx, source)}


def prepare_copy_part(tx: Tx, caller: Caller, params: s3.UploadPartCopyRequest) -> Handler:
    """Reads the bytes that are to be copied, for their digests; see Operation.prepare."""
    upload, source = upload_of(tx, caller, params), source_of(tx, Object, caller, params)
    check_source(params, source, tx.now)
    storage_class.check_source(source, tx.now)
    piece = _source_range(params, source)
    found = digest_bytes(tx, piece, upload.checksum_algorithm or DEFAULT_ALGORITHM)
    return partial(copy_part, source=without_bytes(source), piece=piece, found=found)


def abort(tx: Tx, caller: Caller, params: s3.AbortMultipartUploadRequest) -> s3.AbortMultipartUploadOutput:
    upload = upload_of(tx, caller, params)
    discard_upload(tx, upload)
    return {}


def discard_upload(tx: Tx, upload: Upload) -> None:
    discard_parts(tx, upload.id)
    tx.remove(upload)


def list_parts(tx: Tx, caller: Caller, params: s3.ListPartsRequest) -> s3.ListPartsOutput:
    upload = upload_of(tx, caller, params)
    limit = rules.checked_limit(params.get("MaxParts"), "max-parts")
    after = params.get("PartNumberMarker", 0)
    found = parts(tx, upload.id, after, limit + 1)
    page = found[:limit]
    answer: s3.ListPartsOutput = {
        "Bucket": upload.bucket,
        "Key": upload.key,
        "UploadId": upload.id,
        "PartNumberMarker": after,
        "NextPartNumberMarker": page[-1].number if page else 0,
        "MaxParts": limit,
        "IsTruncated": 0 < len(page) < len(found),
        "Initiator": _initiator(upload),
        "Owner": rules.owner(caller.account),
        "StorageClass": upload.storage_class,
        **_checksum_kind(upload),
    }
    if page:
        answer["Parts"] = [
            {
                "PartNumber": part.number,
                "LastModified": part.modified,
                "ETag": quoted(part.md5),
                "Size": part.size,
                **_own_checksums(upload, part),
            }
            for part in page
        ]
    return answer


def list_all(tx: Tx, caller: Caller, params: s3.ListMultipartUploadsRequest) -> s3.ListMultipartUploadsOutput:
    bucket = rules.bucket_of(tx, caller, params)
    encode = encoder(params.get("EncodingType"))
    limit = rules.checked_limit(params.get("MaxUploads"), "max-uploads")
    prefix, delimiter, marker = params.get("Prefix", ""), params.get("Delimiter", ""), params.get("KeyMarker", "")
    # Without a key the marker of the upload says nothing; S3 ignores it.
    id_marker = params.get("UploadIdMarker", "") if marker else ""
    marked = tx.get(Upload, id=id_marker) if id_marker else None
    if marked is not None and (marked.bucket, marked.key) != (bucket.name, marker):
        raise invalid_argument("upload-id-marker", id_marker, "Invalid uploadId marker")
    page = list_uploads(
        tx, bucket.name, prefix=prefix, delimiter=delimiter, after=marker, after_id=id_marker, limit=max(limit, 1)
    )
    items = page.items[:limit]
    answer: s3.ListMultipartUploadsOutput = {
        "Bucket": bucket.name,
        "KeyMarker": encode(marker),
        "UploadIdMarker": id_marker,
        "MaxUploads": limit,
        "IsTruncated": page.truncated and limit > 0,
    }
    uploads = [_described(item, caller, encode) for item in items if isinstance(item, Upload)]
    prefixes: list[s3.CommonPrefix] = [{"Prefix": encode(item)} for item in items if isinstance(item, str)]
    if uploads:
        answer["Uploads"] = uploads
    if prefixes:
        answer["CommonPrefixes"] = prefixes
    if prefix:
        answer["Prefix"] = encode(prefix)
    if delimiter:
        answer["Delimiter"] = encode(delimiter)
    if "EncodingType" in params:
        answer["EncodingType"] = params["EncodingType"]
    key, upload_id = _next_markers(items, truncated=answer["IsTruncated"])
    answer["NextKeyMarker"], answer["NextUploadIdMarker"] = encode(key), upload_id
    return answer


def _next_markers(items: Sequence[Upload | str], *, truncated: bool) -> tuple[str, str]:
    """Those of the last upload, also where nothing is left: `test_list_multiparts_next_marker` in LocalStack's
    test_s3_list_operations.snapshot.json. Where a page ends with a common prefix, S3 names no marker, which nobody
    can go on from; here it is the prefix."""
    last = items[-1] if items else None
    if truncated and isinstance(last, str):
        return last, ""
    uploads = [item for item in items if isinstance(item, Upload)]
    return (uploads[-1].key, uploads[-1].id) if uploads else ("", "")


class OfUpload(rules.OfBucket):
    """The members of every request that names an upload."""

    Key: str
    UploadId: str


class _ChecksumKind(TypedDict):
    ChecksumAlgorithm: NotRequired[str]
    ChecksumType: NotRequired[str]


def upload_of(tx: Tx, caller: Caller, params: OfUpload) -> Upload:
    bucket = rules.bucket_of(tx, caller, params)
    upload = tx.get(Upload, id=params["UploadId"])
    if upload is None or (upload.bucket, upload.key) != (bucket.name, params["Key"]):
        raise no_such_upload(params["UploadId"])
    return upload


def check(action: str) -> Checks:
    """The caller must be allowed `action` on the object that the upload is to become."""
    return lambda _tx, _caller, params: [Check(f"s3:{action}", rules.object_arn(params["Bucket"], params["Key"]))]


def check_copy_part(tx: Tx, caller: Caller, params: s3.UploadPartCopyRequest) -> Iterable[Check]:
    yield from check_readable(tx, *source_name(params))
    yield from check_part(tx, caller, params)


def check_list(_tx: Tx, _caller: Caller, params: s3.ListMultipartUploadsRequest) -> Iterable[Check]:
    return [Check("s3:ListBucketMultipartUploads", rules.bucket_arn(params["Bucket"]))]


def _checksum_choice(params: s3.CreateMultipartUploadRequest) -> tuple[str | None, str]:
    algorithm, checksum_type = params.get("ChecksumAlgorithm"), params.get("ChecksumType")
    if algorithm is None:
        if checksum_type is not None:
            raise invalid_request(
                "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header."
            )
        return None, "FULL_OBJECT"
    if algorithm not in TYPES:
        raise invalid_request(
            "Checksum algorithm provided is unsupported. Please try again with any of the valid types: "
            f"[{', '.join(sorted(TYPES))}]"
        )
    if checksum_type not in (None, *TYPES[algorithm]):
        raise invalid_request(
            f"The {checksum_type} checksum type cannot be used with the {algorithm.lower()} checksum algorithm."
        )
    return algorithm, checksum_type or TYPES[algorithm][0]


def _initiator(upload: Upload) -> s3.Initiator:
    """The initiator of an upload. The account's own user is named like the owner."""
    if not upload.initiator:
        # An earlier version let them.
        return {"ID": ANONYMOUS, "DisplayName": ""}
    _, _, _, _, account, resource = upload.initiator.split(":", 5)
    if resource == "root":
        return {"ID": rules.canonical_id(account), "DisplayName": account}
    kind, _, name = resource.partition("/")
    return {"ID": upload.initiator, "DisplayName": name.rpartition("/")[2] if kind == "user" else name}


def _checksum_kind(upload: Upload) -> _ChecksumKind:
    if upload.checksum_algorithm is None:
        return {}
    return {"ChecksumAlgorithm": upload.checksum_algorithm, "ChecksumType": upload.checksum_type}


def _own_checksums(upload: Upload, part: Part) -> Checksums:
    """Those of a part that its upload asked for. What S3 computes by itself it does not tell, as recorded on AWS in
    `test_complete_multipart_parts_checksum_default` of LocalStack's tests/aws/services/s3/test_s3.snapshot.json.
    """
    return described_checksums(part.checksums) if upload.checksum_algorithm else {}


def _checked_number(params: s3.UploadPartCopyRequest | s3.UploadPartRequest) -> int:
    number = params["PartNumber"]
    if not 1 <= number <= MOST_PARTS:
        raise invalid_argument(
            "partNumber", number, f"Part number must be an integer between 1 and {MOST_PARTS}, inclusive"
        )
    return number


def _store(tx: Tx, part: Part) -> None:
    """A part that comes again takes the place of the first."""
    replaced = tx.get(Part, upload_id=part.upload_id, number=part.number)
    if replaced is None:
        tx.add(part)
    else:
        tx.save(part)
        discard(tx, replaced.extents)


def _source_range(params: s3.UploadPartCopyRequest, source: Object) -> tuple[Extent, ...]:
    """The bytes of the source that are to be copied. Raises InvalidArgument, InvalidRequest for too many."""
    piece = _asked_range(params, source)
    if sum(extent.length for extent in piece) > rules.MAX_PUT:
        raise invalid_request(
            f"The specified copy source is larger than the maximum allowable size for a copy source: {rules.MAX_PUT}"
        )
    return piece


def _asked_range(params: s3.UploadPartCopyRequest, source: Object) -> tuple[Extent, ...]:
    """The refusals are those of `test_upload_part_copy_range`, as recorded on AWS in LocalStack's
    tests/aws/services/s3/test_s3_api.snapshot.json."""
    asked = params.get("CopySourceRange")
    if asked is None:
        return source.extents
    found = _COPY_RANGE.fullmatch(asked)
    first, last = (int(number) for number in found.groups()) if found else (1, 0)
    if last < first:
        raise invalid_argument(
            "x-amz-copy-source-range",
            asked,
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the "
            "zero-based offsets of the first and last bytes to copy",
        )
    if first >= source.size:
        raise invalid_request("The specified copy range is invalid for the source object size")
    if last >= source.size:
        raise invalid_argument(
            "x-amz-copy-source-range", asked, f"Range specified is not valid for source object of size: {source.size}"
        )
    return cut(source.extents, first, last + 1 - first)


def _described(upload: Upload, caller: Caller, encode: Encode) -> s3.MultipartUpload:
    return {
        "UploadId": upload.id,
        "Key": encode(upload.key),
        "Initiated": upload.started,
        "StorageClass": upload.storage_class,
        "Owner": rules.owner(caller.account),
        "Initiator": _initiator(upload),
        **_checksum_kind(upload),
    }


def _new_id(tx: Tx) -> str:
    """Begins with the time, so that uploads of one key are listed in the order they were started."""
    return f"{int(tx.now.timestamp() * 1_000_000):016x}.{secrets.token_urlsafe(48)}"


OPERATIONS = (
    on_object(
        "CreateMultipartUpload",
        create,
        objects.check_create_upload,
        f"ChecksumAlgorithm ChecksumType {CREATED}",
        writes=True,
    ),
    on_object("UploadPart", put_part, objects.check_part, f"UploadId PartNumber {BODY}", writes=True),
    on_object(
        "UploadPartCopy",
        unprepared,
        check_copy_part,
        f"UploadId PartNumber CopySourceRange {SOURCE}",
        writes=True,
        prepare=prepare_copy_part,
    ),
    on_object("AbortMultipartUpload", abort, check("AbortMultipartUpload"), f"UploadId {PAYER}", writes=True),
    on_object(
        "ListParts", list_parts, check("ListMultipartUploadParts"), f"UploadId MaxParts PartNumberMarker {PAYER}"
    ),
    on_bucket(
        "ListMultipartUploads",
        list_all,
        check_list,
        f"Prefix Delimiter KeyMarker UploadIdMarker MaxUploads EncodingType {PAYER}",
    ),
)
