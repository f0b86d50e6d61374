"""The rows of S3's operations: their parameters, and the permission that each needs."""

from __future__ import annotations

from functools import partial

from skylift.cloud.services.api.operation import Check, Checks, Handler, Operation, Prepare
from skylift.cloud.services.s3.condition import with_request_keys
from skylift.cloud.services.s3.rules import CHECKSUM_MEMBERS, SYSTEM_HEADERS, bucket_arn

OWNER = "ExpectedBucketOwner"
CHECKSUMS = " ".join(["ChecksumAlgorithm", *CHECKSUM_MEMBERS])
PAYER = "RequestPayer"
"""Who also reads buckets of which the requester pays sends it with each request. Here the owner pays, as
GetBucketRequestPayment says, and then it changes nothing on AWS either.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/RequesterPaysBuckets.html
"""
BODY = f"Body ContentLength ContentMD5 {CHECKSUMS} {PAYER}"
GRANTS = "GrantFullControl GrantRead GrantReadACP GrantWriteACP"
CREATED = (
    f"{PAYER} Tagging ACL {GRANTS} StorageClass ServerSideEncryption ContentType Metadata {' '.join(SYSTEM_HEADERS)}"
)
READ = (
    f"{PAYER} VersionId IfMatch IfNoneMatch IfModifiedSince IfUnmodifiedSince Range PartNumber ChecksumMode "
    "ResponseCacheControl ResponseContentDisposition ResponseContentEncoding ResponseContentLanguage "
    "ResponseContentType ResponseExpires"
)
SOURCE = (
    f"{PAYER} CopySource CopySourceIfMatch CopySourceIfNoneMatch CopySourceIfModifiedSince CopySourceIfUnmodifiedSince "
    "ExpectedSourceBucketOwner"
)
LISTED = f"{PAYER} Prefix Delimiter MaxKeys EncodingType OptionalObjectAttributes"


def operation(
    name: str,
    handler: Handler,
    checks: Checks,
    takes: str = "",
    *,
    on: str = "",
    writes: bool = False,
    prepare: Prepare | None = None,
) -> Operation:
    """`on` has the parameters that name what it is about."""
    checked, accepted = with_request_keys(checks), frozenset(f"{on} {takes}".split())
    return Operation("s3", name, handler, accepted, checked, writes, prepare)


on_bucket = partial(operation, on=f"Bucket {OWNER}")
on_object = partial(operation, on=f"Bucket Key {OWNER}")


def sets(name: str, handler: Handler, takes: str, action: str | None = None) -> Operation:
    """Puts or deletes a setting of a bucket."""
    checks = check_bucket(action or name)
    return on_bucket(name, handler, checks, f"{takes} ContentMD5 ChecksumAlgorithm" if takes else "", writes=True)


def check_bucket(action: str) -> Checks:
    """The caller must be allowed `action` on the bucket itself."""
    return lambda _tx, _caller, params: [Check(f"s3:{action}", bucket_arn(params["Bucket"]))]
