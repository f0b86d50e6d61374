"""Every operation of S3 that this cloud carries out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from skylift.cloud.identity import Caller
from skylift.cloud.services import bucket, bucket_policy, object_list, upload, upload_completion
from skylift.cloud.services import object as objects
from skylift.cloud.services import object_copy as copies
from skylift.cloud.services.operation import Check, Handler, Operation
from skylift.cloud.services.s3_condition import with_request_keys
from skylift.cloud.services.s3_rules import CHECKSUM_MEMBERS, SYSTEM_HEADERS
from skylift.cloud.store.database import Tx

Checks = Callable[[Tx, Caller, Any], Iterable[Check]]

OWNER = "ExpectedBucketOwner"
CHECKSUMS = " ".join(["ChecksumAlgorithm", *CHECKSUM_MEMBERS])
BODY = f"Body ContentLength ContentMD5 {CHECKSUMS}"
CREATED = f"ACL StorageClass ServerSideEncryption ContentType Metadata {' '.join(SYSTEM_HEADERS)}"
READ = (
    "IfMatch IfNoneMatch IfModifiedSince IfUnmodifiedSince Range PartNumber ChecksumMode ResponseCacheControl "
    "ResponseContentDisposition ResponseContentEncoding ResponseContentLanguage ResponseContentType ResponseExpires"
)
SOURCE = (
    "CopySource CopySourceIfMatch CopySourceIfNoneMatch CopySourceIfModifiedSince CopySourceIfUnmodifiedSince "
    "ExpectedSourceBucketOwner"
)
# OptionalObjectAttributes asks for RestoreStatus, which only archived objects have; none here is archived.
LISTED = "Prefix Delimiter MaxKeys EncodingType OptionalObjectAttributes"


def _operation(name: str, handler: Handler, checks: Checks, takes: str, *, writes: bool) -> Operation:
    return Operation("s3", name, handler, frozenset(takes.split()), with_request_keys(checks), writes)


def _bucket(name: str, handler: Handler, checks: Checks, takes: str = "", *, writes: bool = False) -> Operation:
    return _operation(name, handler, checks, f"Bucket {OWNER} {takes}", writes=writes)


def _object(name: str, handler: Handler, checks: Checks, takes: str = "", *, writes: bool = False) -> Operation:
    return _operation(name, handler, checks, f"Bucket Key {OWNER} {takes}", writes=writes)


BUCKETS = (
    _operation(
        "CreateBucket",
        bucket.create,
        bucket.check_create,
        "Bucket ACL ObjectOwnership CreateBucketConfiguration.LocationConstraint CreateBucketConfiguration.Tags",
        writes=True,
    ),
    _operation(
        "ListBuckets",
        bucket.list_all,
        bucket.check_list,
        "MaxBuckets ContinuationToken Prefix BucketRegion",
        writes=False,
    ),
    _bucket("HeadBucket", bucket.head, bucket.check("ListBucket")),
    _bucket("GetBucketLocation", bucket.location, bucket.check("GetBucketLocation")),
    _bucket("DeleteBucket", bucket.delete, bucket.check("DeleteBucket"), writes=True),
    _bucket(
        "PutBucketTagging",
        bucket.put_tags,
        bucket.check("PutBucketTagging"),
        "Tagging ContentMD5 ChecksumAlgorithm",
        writes=True,
    ),
    _bucket("GetBucketTagging", bucket.get_tags, bucket.check("GetBucketTagging")),
    _bucket("DeleteBucketTagging", bucket.delete_tags, bucket.check("PutBucketTagging"), writes=True),
)

OBJECTS = (
    _bucket(
        "ListObjectsV2",
        object_list.list_v2,
        object_list.check_list,
        f"{LISTED} ContinuationToken StartAfter FetchOwner",
    ),
    _bucket("ListObjects", object_list.list_v1, object_list.check_list, f"{LISTED} Marker"),
    _object("PutObject", objects.put, objects.check_put, f"IfMatch IfNoneMatch {BODY} {CREATED}", writes=True),
    _object("GetObject", objects.get, objects.check_get, READ),
    _object("HeadObject", objects.head, objects.check_get, READ),
    _object(
        "GetObjectAttributes",
        objects.attributes,
        objects.check_attributes,
        "ObjectAttributes MaxParts PartNumberMarker",
    ),
    _object("DeleteObject", objects.delete, objects.check_delete, "IfMatch", writes=True),
    _bucket(
        "DeleteObjects",
        objects.delete_many,
        objects.check_delete_many,
        "Delete.Objects.Key Delete.Objects.ETag Delete.Quiet ChecksumAlgorithm",
        writes=True,
    ),
    _object(
        "CopyObject",
        copies.copy,
        copies.check_copy,
        f"IfMatch IfNoneMatch MetadataDirective ChecksumAlgorithm {SOURCE} {CREATED}",
        writes=True,
    ),
)

UPLOADS = (
    _object(
        "CreateMultipartUpload",
        upload.create,
        objects.check_put,
        f"ChecksumAlgorithm ChecksumType {CREATED}",
        writes=True,
    ),
    _object("UploadPart", upload.put_part, objects.check_put, f"UploadId PartNumber {BODY}", writes=True),
    _object(
        "UploadPartCopy",
        upload.copy_part,
        upload.check_copy_part,
        f"UploadId PartNumber CopySourceRange {SOURCE}",
        writes=True,
    ),
    _object(
        "CompleteMultipartUpload",
        upload_completion.complete,
        objects.check_put,
        "UploadId MultipartUpload.Parts.PartNumber MultipartUpload.Parts.ETag ChecksumType MpuObjectSize IfMatch "
        "IfNoneMatch " + " ".join(f"{name} MultipartUpload.Parts.{name}" for name in CHECKSUM_MEMBERS),
        writes=True,
    ),
    _object("AbortMultipartUpload", upload.abort, upload.check("AbortMultipartUpload"), "UploadId", writes=True),
    _object(
        "ListParts",
        upload.list_parts,
        upload.check("ListMultipartUploadParts"),
        "UploadId MaxParts PartNumberMarker",
    ),
    _bucket(
        "ListMultipartUploads",
        upload.list_all,
        upload.check_list,
        "Prefix Delimiter KeyMarker UploadIdMarker MaxUploads EncodingType",
    ),
)

BUCKET_POLICIES = (
    _bucket(
        "PutBucketPolicy",
        bucket_policy.put,
        bucket.check("PutBucketPolicy"),
        "Policy ContentMD5 ChecksumAlgorithm",
        writes=True,
    ),
    _bucket("GetBucketPolicy", bucket_policy.get, bucket.check("GetBucketPolicy")),
    _bucket("GetBucketPolicyStatus", bucket_policy.status, bucket.check("GetBucketPolicyStatus")),
    _bucket("DeleteBucketPolicy", bucket_policy.delete, bucket.check("DeleteBucketPolicy"), writes=True),
)

S3_OPERATIONS: tuple[Operation, ...] = (*BUCKETS, *OBJECTS, *UPLOADS, *BUCKET_POLICIES)
