"""The end of a multipart upload: the parts that the request lists become the object, without a byte being copied."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING
from urllib.parse import quote

from skylift.cloud.domain.bucket import Bucket, Object, ObjectPart, ObjectVersion, Part, Upload
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.services.api.operation import Handler, Outdated, unprepared
from skylift.cloud.services.s3 import object as objects
from skylift.cloud.services.s3 import object_version as version
from skylift.cloud.services.s3.checksum import (
    DEFAULT_ALGORITHM,
    TYPES,
    combined,
    composite,
    described_checksums,
    etag_of_parts,
    stated_checksums,
)
from skylift.cloud.services.s3.error import bad_digest, invalid_request, malformed_xml
from skylift.cloud.services.s3.expiration import expiring
from skylift.cloud.services.s3.object import quoted
from skylift.cloud.services.s3.operation import PAYER, on_object
from skylift.cloud.services.s3.precondition import check_completion
from skylift.cloud.services.s3.rules import CHECKSUM_MEMBERS, ENCRYPTION, bucket_of
from skylift.cloud.services.s3.upload import upload_of
from skylift.cloud.store.bucket import completed, current, deletions, seal
from skylift.cloud.store.content import discard_parts
from skylift.cloud.store.database import Tx
from skylift.cloud.store.mapping import written

if TYPE_CHECKING:
    from aws_shapes import s3

SMALLEST_PART = 5 << 20
_MD5 = re.compile(r"[0-9a-f]{32}")


def prepare_complete(tx: Tx, caller: Caller, params: s3.CompleteMultipartUploadRequest) -> Handler:
    """Checks all parts, which may be 10,000, and makes the object of them; see Operation.prepare."""
    bucket = bucket_of(tx, caller, params)
    before = completed(tx, bucket.name, params["Key"], params["UploadId"])
    if before is not None and _listed_etag(params) == before.etag:
        # A client whose answer was lost asks again, and gets it: S3 does not even look at conditions then.
        answer = _answer(bucket, before)
        return lambda _tx, _caller, _params: answer
    upload = upload_of(tx, caller, params)
    _check_mode(params, upload)
    chosen = _chosen_parts(params, upload, {part.number: part for part in tx.find(Part, upload_id=upload.id)})
    size = sum(part.size for part in chosen)
    if params.get("MpuObjectSize", size) != size:
        raise invalid_request(
            f"The provided 'x-amz-mp-object-size' header value {params['MpuObjectSize']} does not match what was "
            f"computed: {size}"
        )
    made = _made(upload, chosen, size, *_whole_checksum(params, upload, chosen))
    numbers = json.dumps([part.number for part in chosen])
    return partial(complete, made=made, sealed=seal(tx, upload.id), numbers=numbers)


def complete(
    tx: Tx, caller: Caller, params: s3.CompleteMultipartUploadRequest, made: Object, sealed: str, numbers: str
) -> s3.CompleteMultipartUploadOutput:
    """`made` is the object of the parts with these `numbers`, as long as all are as they were `sealed`."""
    bucket, upload = bucket_of(tx, caller, params), tx.get(Upload, id=params["UploadId"])
    if upload is None or seal(tx, upload.id) != sealed:
        raise Outdated
    deleted = deletions(tx, upload.bucket, upload.key) > upload.deletions
    check_completion(params, upload, current(tx, upload.bucket, upload.key), deleted=deleted)
    stored = version.place(tx, bucket, replace(made, modified=tx.now))
    discard_parts(tx, upload.id, "AND number NOT IN (SELECT value FROM json_each(?))", numbers)
    tx.remove(upload)
    return _answer(bucket, stored)


def _made(upload: Upload, chosen: list[Part], size: int, checksums: dict[str, str], checksum_type: str) -> Object:
    return Object(
        bucket=upload.bucket,
        key=upload.key,
        size=size,
        etag=etag_of_parts([part.md5 for part in chosen]),
        modified=upload.started,
        extents=written(extent for part in chosen for extent in part.extents),
        content_type=upload.content_type,
        headers=upload.headers,
        metadata=upload.metadata,
        checksums=checksums,
        checksum_type=checksum_type,
        parts=written(
            ObjectPart(part.number, part.size, part.checksums if upload.checksum_algorithm else {}) for part in chosen
        ),
        tags=upload.tags,
        acl=upload.acl,
        upload_id=upload.id,
        storage_class=upload.storage_class,
    )


def _answer(bucket: Bucket, stored: ObjectVersion) -> s3.CompleteMultipartUploadOutput:
    answer: s3.CompleteMultipartUploadOutput = {
        # Relative: S3 names a host here, and this cloud's name for itself is not known to it.
        "Location": f"/{stored.bucket}/{quote(stored.key)}",
        "Bucket": stored.bucket,
        "Key": stored.key,
        "ETag": quoted(stored.etag),
        **ENCRYPTION,
        **version.described(bucket, stored),
        **expiring(bucket, stored),
        **described_checksums(stored.checksums),
    }
    if stored.checksums:
        answer["ChecksumType"] = stored.checksum_type
    return answer


def _listed_etag(params: s3.CompleteMultipartUploadRequest) -> str | None:
    """The ETag of an object of just the parts that the request lists."""
    listed = [item.get("ETag", "").strip('"') for item in params.get("MultipartUpload", {}).get("Parts", [])]
    return etag_of_parts(listed) if listed and all(_MD5.fullmatch(etag) for etag in listed) else None


def _chosen_parts(params: s3.CompleteMultipartUploadRequest, upload: Upload, arrived: dict[int, Part]) -> list[Part]:
    """The parts that the request lists, each as it arrived, in ascending order and large enough."""
    if "MultipartUpload" not in params:
        # `test_multipart_complete_multipart_too_small`, recorded on AWS in LocalStack's test_s3.snapshot.json.
        raise invalid_request("You must specify at least one part")
    listed = params["MultipartUpload"].get("Parts", [])
    if not listed or any("PartNumber" not in item or "ETag" not in item for item in listed):
        raise malformed_xml()
    numbers = [item["PartNumber"] for item in listed]
    if any(following <= number for number, following in pairwise(numbers)):
        raise ServiceError(
            "InvalidPartOrder",
            "The list of parts was not in ascending order. Parts must be ordered by part number.",
            status=400,
            UploadId=upload.id,
        )
    chosen = [_chosen_part(item, upload, arrived.get(item["PartNumber"])) for item in listed]
    for part in chosen[:-1]:
        if part.size < SMALLEST_PART:
            raise ServiceError(
                "EntityTooSmall",
                "Your proposed upload is smaller than the minimum allowed size",
                status=400,
                ETag=part.md5,
                MinSizeAllowed=str(SMALLEST_PART),
                PartNumber=str(part.number),
                ProposedSize=str(part.size),
            )
    return chosen


def _chosen_part(item: s3.CompletedPart, upload: Upload, part: Part | None) -> Part:
    agrees = part is not None and item["ETag"].strip('"') == part.md5
    stated = stated_checksums(item)
    algorithm = upload.checksum_algorithm
    others = [each for each in stated if each != algorithm] if algorithm else []
    if others:
        # `complete-part-with-checksum` of `test_multipart_parts_checksum_exceptions_composite`, recorded on AWS in
        # LocalStack's test_s3.snapshot.json.
        raise ServiceError(
            "BadDigest",
            f"The {others[0].lower()} you specified for part {item['PartNumber']} did not match what we received.",
            status=400,
        )
    if algorithm and upload.checksum_type == "COMPOSITE" and algorithm not in stated:
        raise invalid_request(
            f"The upload was created using a {algorithm.lower()} checksum. The complete request must include the "
            f"checksum for each part. It was missing for part {item['PartNumber']} in the request."
        )
    if part is None or not agrees or not stated.items() <= part.checksums.items():
        raise ServiceError(
            "InvalidPart",
            "One or more of the specified parts could not be found.  The part may not have been uploaded, or the "
            "specified entity tag may not match the part's entity tag.",
            status=400,
            UploadId=upload.id,
            PartNumber=str(item["PartNumber"]),
            ETag=item["ETag"].strip('"'),
        )
    return part


def _check_mode(params: s3.CompleteMultipartUploadRequest, upload: Upload) -> None:
    """Before the parts are looked at: `complete-part-with-bad-checksum-type` of
    `test_multipart_parts_checksum_exceptions_composite`, recorded on AWS in LocalStack's test_s3.snapshot.json."""
    mode = upload.checksum_type if upload.checksum_algorithm else None
    if "ChecksumType" in params and params["ChecksumType"] != mode:
        raise invalid_request(
            f"The upload was created using the {mode or 'null'} checksum mode. The complete request must use the same "
            "checksum mode."
        )


def _whole_checksum(
    params: s3.CompleteMultipartUploadRequest, upload: Upload, chosen: list[Part]
) -> tuple[dict[str, str], str]:
    """The object's checksum, which has to be the one that the request states, if it does.

    As recorded on AWS in LocalStack's test_s3.snapshot.json: what is stated without its type is taken for a composite
    one (`test_multipart_parts_checksum_exceptions_full_object`), and of an upload without an algorithm another one is
    ignored (`test_complete_multipart_parts_checksum_default`).
    """
    algorithm, checksum_type = upload.checksum_algorithm or DEFAULT_ALGORITHM, upload.checksum_type
    stated = stated_checksums(params)
    values = [part.checksums[algorithm] for part in chosen]
    if checksum_type == "COMPOSITE":
        value = composite(algorithm, values)
    else:
        value = combined(algorithm, zip(values, [part.size for part in chosen], strict=True))
    if upload.checksum_algorithm is None:
        stated = {name: claimed for name, claimed in stated.items() if name == algorithm}
    of_composite = checksum_type == "FULL_OBJECT" and "COMPOSITE" in TYPES[algorithm] and "ChecksumType" not in params
    if stated and (of_composite or stated != {algorithm: value}):
        raise bad_digest(algorithm.lower())
    return {algorithm: value}, checksum_type


OPERATIONS = (
    on_object(
        "CompleteMultipartUpload",
        unprepared,
        objects.check_put,
        "UploadId MultipartUpload.Parts.PartNumber MultipartUpload.Parts.ETag ChecksumType MpuObjectSize IfMatch "
        f"IfNoneMatch {PAYER} " + " ".join(f"{name} MultipartUpload.Parts.{name}" for name in CHECKSUM_MEMBERS),
        writes=True,
        prepare=prepare_complete,
    ),
)
