"""Every operation of S3 that this cloud carries out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from skylift.cloud.identity import Caller
from skylift.cloud.services.api.operation import Check, Handler, Operation
from skylift.cloud.services.s3 import (
    bucket,
    bucket_policy,
    bucket_setting,
    cors,
    object_list,
    object_tag,
    upload,
    upload_completion,
    version_list,
)
from skylift.cloud.services.s3 import object as objects
from skylift.cloud.services.s3 import object_copy as copies
from skylift.cloud.services.s3.condition import with_request_keys
from skylift.cloud.services.s3.empty_listings import ABSENT
from skylift.cloud.services.s3.rules import CHECKSUM_MEMBERS, SYSTEM_HEADERS
from skylift.cloud.store.database import Tx

Checks = Callable[[Tx, Caller, Any], Iterable[Check]]

OWNER = "ExpectedBucketOwner"
CHECKSUMS = " ".join(["ChecksumAlgorithm", *CHECKSUM_MEMBERS])
BODY = f"Body ContentLength ContentMD5 {CHECKSUMS}"
CREATED = f"Tagging ACL StorageClass ServerSideEncryption ContentType Metadata {' '.join(SYSTEM_HEADERS)}"
READ = (
    "VersionId IfMatch IfNoneMatch IfModifiedSince IfUnmodifiedSince Range PartNumber ChecksumMode "
    "ResponseCacheControl ResponseContentDisposition ResponseContentEncoding ResponseContentLanguage "
    "ResponseContentType ResponseExpires"
)
SOURCE = (
    "CopySource CopySourceIfMatch CopySourceIfNoneMatch CopySourceIfModifiedSince CopySourceIfUnmodifiedSince "
    "ExpectedSourceBucketOwner"
)
# OptionalObjectAttributes asks for RestoreStatus, which only archived objects have; none here is archived.
LISTED = "Prefix Delimiter MaxKeys EncodingType OptionalObjectAttributes"


def _operation(
    name: str, handler: Handler, checks: Checks, takes: str, *, writes: bool, prepare: Handler | None = None
) -> Operation:
    return Operation("s3", name, handler, frozenset(takes.split()), with_request_keys(checks), writes, prepare)


def _bucket(name: str, handler: Handler, checks: Checks, takes: str = "", *, writes: bool = False) -> Operation:
    return _operation(name, handler, checks, f"Bucket {OWNER} {takes}", writes=writes)


def _object(
    name: str,
    handler: Handler,
    checks: Checks,
    takes: str = "",
    *,
    writes: bool = False,
    prepare: Handler | None = None,
) -> Operation:
    return _operation(name, handler, checks, f"Bucket Key {OWNER} {takes}", writes=writes, prepare=prepare)


def _setting(name: str, handler: Handler, takes: str, action: str | None = None) -> Operation:
    """Puts or deletes something that a bucket is told about itself."""
    checks = bucket.check(action or name)
    return _bucket(name, handler, checks, f"{takes} ContentMD5 ChecksumAlgorithm" if takes else "", writes=True)


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
        "VersionId ObjectAttributes MaxParts PartNumberMarker",
    ),
    _object("DeleteObject", objects.delete, objects.check_delete, "VersionId IfMatch", writes=True),
    _bucket(
        "DeleteObjects",
        objects.delete_many,
        objects.check_delete_many,
        "Delete.Objects.Key Delete.Objects.VersionId Delete.Objects.ETag Delete.Quiet ChecksumAlgorithm",
        writes=True,
    ),
    _object(
        "CopyObject",
        copies.copy,
        copies.check_copy,
        f"IfMatch IfNoneMatch MetadataDirective TaggingDirective ChecksumAlgorithm {SOURCE} {CREATED}",
        writes=True,
        prepare=copies.prepare_copy,
    ),
)

UPLOADS = (
    _object(
        "CreateMultipartUpload",
        upload.create,
        objects.check_upload,
        f"ChecksumAlgorithm ChecksumType {CREATED}",
        writes=True,
    ),
    _object("UploadPart", upload.put_part, objects.check_upload, f"UploadId PartNumber {BODY}", writes=True),
    _object(
        "UploadPartCopy",
        upload.copy_part,
        upload.check_copy_part,
        f"UploadId PartNumber CopySourceRange {SOURCE}",
        writes=True,
        prepare=upload.prepare_copy_part,
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


VERSIONS_AND_TAGS = (
    _bucket(
        "ListObjectVersions",
        version_list.list_all,
        version_list.check_list,
        f"{LISTED} KeyMarker VersionIdMarker",
    ),
    _object(
        "PutObjectTagging",
        object_tag.put,
        object_tag.check("Put"),
        "VersionId Tagging ContentMD5 ChecksumAlgorithm",
        writes=True,
    ),
    _object("GetObjectTagging", object_tag.get, object_tag.check("Get"), "VersionId"),
    _object("DeleteObjectTagging", object_tag.delete, object_tag.check("Delete"), "VersionId", writes=True),
    _object("GetObjectAcl", bucket_setting.get_object_acl, objects.check_acl("Get"), "VersionId"),
    _object(
        "PutObjectAcl",
        bucket_setting.put_object_acl,
        objects.check_acl("Put"),
        "VersionId ACL AccessControlPolicy ContentMD5 ChecksumAlgorithm",
        writes=True,
    ),
)

SETTINGS = (
    _setting("PutBucketVersioning", bucket_setting.put_versioning, "VersioningConfiguration.Status"),
    _bucket("GetBucketVersioning", bucket_setting.get_versioning, bucket.check("GetBucketVersioning")),
    _setting("PutBucketOwnershipControls", bucket_setting.put_ownership, "OwnershipControls"),
    _bucket("GetBucketOwnershipControls", bucket_setting.get_ownership, bucket.check("GetBucketOwnershipControls")),
    _setting("DeleteBucketOwnershipControls", bucket_setting.delete_ownership, "", "PutBucketOwnershipControls"),
    _setting(
        "PutPublicAccessBlock",
        bucket_setting.put_public_access,
        "PublicAccessBlockConfiguration",
        "PutBucketPublicAccessBlock",
    ),
    _bucket(
        "GetPublicAccessBlock",
        bucket_setting.get_public_access,
        bucket.check("GetBucketPublicAccessBlock"),
    ),
    _setting("DeletePublicAccessBlock", bucket_setting.delete_public_access, "", "PutBucketPublicAccessBlock"),
    _setting(
        "PutBucketEncryption",
        bucket_setting.put_encryption,
        "ServerSideEncryptionConfiguration.Rules.ApplyServerSideEncryptionByDefault.SSEAlgorithm "
        "ServerSideEncryptionConfiguration.Rules.BucketKeyEnabled",
        "PutEncryptionConfiguration",
    ),
    _bucket("GetBucketEncryption", bucket_setting.get_encryption, bucket.check("GetEncryptionConfiguration")),
    _setting("DeleteBucketEncryption", bucket_setting.delete_encryption, "", "PutEncryptionConfiguration"),
    _setting("PutBucketCors", cors.put, "CORSConfiguration", "PutBucketCORS"),
    _bucket("GetBucketCors", cors.get, bucket.check("GetBucketCORS")),
    _setting("DeleteBucketCors", cors.delete, "", "PutBucketCORS"),
    _setting("PutBucketAcl", bucket_setting.put_acl, "ACL AccessControlPolicy"),
    _bucket("GetBucketAcl", bucket_setting.get_acl, bucket.check("GetBucketAcl")),
    # What is never there
    *(_bucket(one.operation, one.get, bucket.check(one.action), one.takes) for one in ABSENT),
)

S3_OPERATIONS: tuple[Operation, ...] = (
    *BUCKETS,
    *OBJECTS,
    *UPLOADS,
    *BUCKET_POLICIES,
    *VERSIONS_AND_TAGS,
    *SETTINGS,
)
