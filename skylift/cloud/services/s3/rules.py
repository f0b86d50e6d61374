"""S3's rules for every request: an owner, a key, digests that agree, and no feature that this cloud lacks.

Numbers are from the S3 user guide ("Naming Amazon S3 objects", "Working with object metadata") and the API reference.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NotRequired, TypedDict, cast

from skylift.cloud.domain.bucket import STANDARD, Bucket, Spool
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.services.s3.checksum import ALGORITHMS, member, stated_checksums
from skylift.cloud.services.s3.error import (
    access_denied,
    bad_digest,
    invalid_argument,
    invalid_storage_class,
    malformed_xml,
    no_such_bucket,
    not_implemented,
)
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import s3

MAX_KEY = 1024
MAX_PUT = 5 << 30
_ACCOUNT = re.compile("[0-9]{12}")
_TAG_TEXT = re.compile("[\\w_.:/=+\\-@ \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]*")
"""Letters, digits, some marks, and blanks: not the control characters that `\\s` has too."""

SYSTEM_HEADERS = ("CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "Expires")
"""S3 keeps these with an object and returns them unchanged."""

STORAGE_CLASSES = frozenset(
    """
    DEEP_ARCHIVE GLACIER GLACIER_IR INTELLIGENT_TIERING ONEZONE_IA REDUCED_REDUNDANCY STANDARD STANDARD_IA
    """.split()
)
"""The classes that S3 accepts in a bucket of a region, without those of other stores (OUTPOSTS, EXPRESS_ONEZONE, SNOW).
"""

CHECKSUM_MEMBERS = tuple(member(algorithm) for algorithm in ALGORITHMS)


class OfBucket(TypedDict):
    """The members of every request that names a bucket."""

    Bucket: str
    ExpectedBucketOwner: NotRequired[str]


class Encrypted(TypedDict):
    ServerSideEncryption: str


class SystemHeaders(TypedDict):
    """The members of SYSTEM_HEADERS, in requests and results alike."""

    CacheControl: NotRequired[str]
    ContentDisposition: NotRequired[str]
    ContentEncoding: NotRequired[str]
    ContentLanguage: NotRequired[str]
    Expires: NotRequired[datetime]


class Created(SystemHeaders):
    """Members that every answer to the making of an object has."""

    ACL: NotRequired[str]
    ContentType: NotRequired[str]
    Metadata: NotRequired[dict[str, str]]
    ServerSideEncryption: NotRequired[str]
    StorageClass: NotRequired[str]


ENCRYPTION: Encrypted = {"ServerSideEncryption": "AES256"}
"""S3 encrypts every object, and every answer states that. Here the encryption is up to the state directory's disk."""


def bucket_of(tx: Tx, caller: Caller, params: OfBucket) -> Bucket:
    """The bucket a request names. Raises InvalidBucketOwnerAWSAccountID for an `ExpectedBucketOwner` that is no
    account, NoSuchBucket, and AccessDenied when the bucket is not that owner's."""
    expected = params.get("ExpectedBucketOwner", caller.account)
    if not _ACCOUNT.fullmatch(expected):
        raise ServiceError(
            "InvalidBucketOwnerAWSAccountID",
            f"The value of the expected bucket owner parameter must be an AWS Account ID... [{expected}]",
            status=400,
        )
    bucket = tx.get(Bucket, name=params["Bucket"])
    if bucket is None:
        raise no_such_bucket(params["Bucket"])
    if expected != bucket.owner:
        raise access_denied()
    return bucket


def check_key(key: str) -> None:
    size = len(key.encode())
    if size > MAX_KEY:
        raise ServiceError(
            "KeyTooLongError", "Your key is too long", status=400, Size=str(size), MaxSizeAllowed=str(MAX_KEY)
        )


def storage_class_of(params: Created) -> str:
    asked = params.get("StorageClass", STANDARD)
    if asked not in STORAGE_CLASSES:
        raise invalid_storage_class(asked)
    return asked


def check_features(params: Created) -> None:
    """Storage class and encryption: the class is one of S3's, and there is one encryption."""
    storage_class_of(params)
    if params.get("ServerSideEncryption", "AES256") != "AES256":
        raise not_implemented("x-amz-server-side-encryption", params["ServerSideEncryption"])


def system_headers(params: SystemHeaders) -> dict[str, str]:
    """The headers to keep, by botocore's names; a date is kept in ISO 8601."""
    given: Mapping[str, object] = params
    kept = {name: given[name] for name in SYSTEM_HEADERS if name in given}
    return {
        name: value.astimezone(UTC).isoformat() if isinstance(value, datetime) else str(value)
        for name, value in kept.items()
    }


def described_headers(headers: Mapping[str, str]) -> SystemHeaders:
    """Kept headers as a result carries them."""
    return cast(
        SystemHeaders,
        {name: datetime.fromisoformat(value) if name == "Expires" else value for name, value in headers.items()},
    )


def content_type(params: Created) -> str:
    return params.get("ContentType") or "binary/octet-stream"


def body_of(params: s3.PutObjectRequest | s3.UploadPartRequest) -> Spool:
    """The body of a request, agreeing with every digest that the request states; an absent one is empty."""
    body = params.get("Body")
    if body is None:
        body = Spool(file="", size=0, md5=hashlib.md5(b"", usedforsecurity=False).hexdigest())
    if "ContentMD5" in params:
        _check_md5(params["ContentMD5"], body)
    for algorithm, stated in stated_checksums(params).items():
        if body.checksums.get(algorithm) != stated:
            raise bad_digest(algorithm)
    if body.size > MAX_PUT:
        raise ServiceError(
            "EntityTooLarge",
            "Your proposed upload exceeds the maximum allowed size",
            status=400,
            ProposedSize=str(body.size),
            MaxSizeAllowed=str(MAX_PUT),
        )
    return body


def checked_limit(asked: int | None, called: str, most: int = 1000) -> int:
    """A page's size; more than S3 gives at once is no error."""
    limit = most if asked is None else asked
    if limit < 0:
        raise invalid_argument(called, limit, f"Argument {called} must be an integer between 0 and 2147483647")
    return min(limit, most)


@dataclass(frozen=True)
class TagRules:
    """How many tags something may have, and S3's words for too many, for one of the system's (`aws:`), and for two of
    one key.

    As recorded on AWS: `test_tagging_validation` and `test_create_bucket_with_tags_exc` in LocalStack's
    test_s3_api.snapshot.json, `test_tag_resource_validation` in its test_s3control.snapshot.json.
    """

    most: int
    what: str
    reserved: str
    repeated: str = "Cannot provide multiple Tags with the same key"
    names_key: bool = True


OBJECT_TAGS = TagRules(10, "Object tags", "Your TagKey cannot be prefixed with aws:")
BUCKET_TAGS = TagRules(50, "Bucket tag count", "System tags cannot be added/updated by requester")
RESOURCE_TAGS = replace(
    BUCKET_TAGS,
    reserved='User-defined tag keys can\'t start with "aws:". This prefix is reserved for system tags. Remove "aws:" '
    "from your tag keys and try again.",
    repeated="There are duplicate tag keys in your request. Remove the duplicate tag keys and try again.",
    names_key=False,
)
"""Those of a bucket where it is made, and by S3 Control."""


def checked_tags(listed: list[s3.Tag], rules: TagRules) -> dict[str, str]:
    """The tags of a bucket or object. Raises MalformedXML, InvalidTag; BadRequest for too many."""
    if len(listed) > rules.most:
        raise ServiceError("BadRequest", f"{rules.what} cannot be greater than {rules.most}", status=400)
    tags: dict[str, str] = {}
    for tag in listed:
        if "Key" not in tag or "Value" not in tag:
            raise malformed_xml()
        tags[_checked_key(tag["Key"], tag["Value"], tags, rules)] = tag["Value"]
    return tags


def _checked_key(key: str, value: str, already: Mapping[str, str], rules: TagRules) -> str:
    """The key of a tag that S3 accepts along with those that are there already. Raises InvalidTag."""
    if not 1 <= len(key) <= 128 or not _TAG_TEXT.fullmatch(key):
        raise ServiceError("InvalidTag", "The TagKey you have provided is invalid", status=400, TagKey=key)
    if len(value) > 256 or not _TAG_TEXT.fullmatch(value):
        raise ServiceError(
            "InvalidTag", "The TagValue you have provided is invalid", status=400, TagKey=key, TagValue=value
        )
    if key.lower().startswith("aws:"):
        raise _invalid_tag(rules, key, rules.reserved)
    if key in already:
        raise _invalid_tag(rules, key, rules.repeated)
    return key


def _invalid_tag(rules: TagRules, key: str, message: str) -> ServiceError:
    if rules.names_key:
        return ServiceError("InvalidTag", message, status=400, TagKey=key)
    return ServiceError("InvalidTag", message, status=400)


def canonical_id(account: str) -> str:
    """The account's canonical user ID: 64 hex digits, always the same for one account."""
    return hashlib.sha256(f"canonical-user:{account}".encode()).hexdigest()


def owner(account: str) -> s3.Owner:
    return {"ID": canonical_id(account)}


def bucket_arn(name: str) -> str:
    return f"arn:aws:s3:::{name}"


def object_arn(bucket: str, key: str) -> str:
    return f"arn:aws:s3:::{bucket}/{key}"


def _check_md5(stated: str, body: Spool) -> None:
    try:
        digest = base64.b64decode(stated, validate=True)
    except binascii.Error:
        digest = b""
    if len(digest) != 16:
        raise ServiceError("InvalidDigest", "The Content-MD5 you specified was invalid.", status=400)
    if digest.hex() != body.md5:
        raise bad_digest("Content-MD5")
