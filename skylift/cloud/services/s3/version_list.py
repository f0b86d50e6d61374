"""ListObjectVersions: every version and delete marker of a bucket."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from skylift.cloud.domain.bucket import Bucket, ObjectVersion
from skylift.cloud.domain.identity import Caller
from skylift.cloud.services.api.operation import Check
from skylift.cloud.services.s3.error import invalid_argument
from skylift.cloud.services.s3.object_list import Encode, encoder, list_context, name_of
from skylift.cloud.services.s3.object_version import check_id
from skylift.cloud.services.s3.operation import LISTED, on_bucket
from skylift.cloud.services.s3.rules import bucket_arn, bucket_of, checked_limit, owner
from skylift.cloud.services.s3.storage_class import listed
from skylift.cloud.store.bucket import GREATEST, ObjectPage, VersionEntry, list_versions, sequence_of, version_of
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import s3


def list_all(tx: Tx, caller: Caller, params: s3.ListObjectVersionsRequest) -> s3.ListObjectVersionsOutput:
    bucket = bucket_of(tx, caller, params)
    encode = encoder(params.get("EncodingType"))
    limit = checked_limit(params.get("MaxKeys"), "max-keys")
    prefix, delimiter, marker = params.get("Prefix", ""), params.get("Delimiter", ""), params.get("KeyMarker", "")
    page: ObjectPage[VersionEntry] = ObjectPage((), truncated=False)
    after, older_than = _place(tx, bucket, params)
    if limit:
        page = list_versions(
            tx, bucket.name, prefix=prefix, delimiter=delimiter, after=after, older_than=older_than, limit=limit
        )
    entries = [item for item in page.items if isinstance(item, VersionEntry)]
    asked = params.get("OptionalObjectAttributes", [])
    versions: list[s3.ObjectVersion] = [
        {**_version(item, bucket.owner, encode), **listed(item.entry.restored_until, asked, tx.now)}
        for item in entries
        if not item.delete_marker
    ]
    markers = [_named(item, bucket.owner, encode) for item in entries if item.delete_marker]
    prefixes: list[s3.CommonPrefix] = [{"Prefix": encode(item)} for item in page.items if isinstance(item, str)]
    answer: s3.ListObjectVersionsOutput = {
        "Name": bucket.name,
        "Prefix": encode(prefix),
        "KeyMarker": encode(marker),
        "VersionIdMarker": params.get("VersionIdMarker", ""),
        "MaxKeys": limit,
        "IsTruncated": page.truncated,
    }
    if delimiter:
        answer["Delimiter"] = encode(delimiter)
    if "EncodingType" in params:
        answer["EncodingType"] = params["EncodingType"]
    if page.truncated:
        last = page.items[-1]
        answer["NextKeyMarker"] = encode(name_of(last))
        if isinstance(last, VersionEntry):
            answer["NextVersionIdMarker"] = last.version
    # Last, as in the other listings.
    return {
        **answer,
        **({"Versions": versions} if versions else {}),
        **({"DeleteMarkers": markers} if markers else {}),
        **({"CommonPrefixes": prefixes} if prefixes else {}),
    }


def check_list(_tx: Tx, _caller: Caller, params: s3.ListObjectVersionsRequest) -> Iterable[Check]:
    return [Check("s3:ListBucketVersions", bucket_arn(params["Bucket"]), list_context(params))]


def _place(tx: Tx, bucket: Bucket, params: s3.ListObjectVersionsRequest) -> tuple[str, int | None]:
    """After which key, and which of its versions, to go on."""
    key, version = params.get("KeyMarker", ""), params.get("VersionIdMarker")
    if version is None:
        return key, None
    if not key:
        raise invalid_argument(
            "version-id-marker", version, "A version-id marker cannot be specified without a key marker."
        )
    if not version:
        raise invalid_argument("version-id-marker", version, "A version-id marker cannot be empty.")
    check_id(version, bucket)
    found = version_of(tx, ObjectVersion, bucket.name, key, version)
    if found is not None:
        return key, found.sequence
    # It was deleted since the last page. What comes after `null` is not known then: all there is left of the key does.
    sequence = sequence_of(version)
    return key, GREATEST if sequence is None else sequence


def _named(item: VersionEntry, account: str, encode: Encode) -> s3.DeleteMarkerEntry:
    return {
        "Key": encode(item.key),
        "VersionId": item.version,
        "IsLatest": item.latest,
        "LastModified": item.entry.modified,
        "Owner": owner(account),
    }


def _version(item: VersionEntry, account: str, encode: Encode) -> s3.ObjectVersion:
    entry = item.entry
    answer: s3.ObjectVersion = {
        **_named(item, account, encode),
        "ETag": f'"{entry.etag}"',
        "Size": entry.size,
        "StorageClass": entry.storage_class,
    }
    if entry.algorithms:
        answer |= {"ChecksumAlgorithm": list(entry.algorithms), "ChecksumType": entry.checksum_type}
    return answer


OPERATIONS = (on_bucket("ListObjectVersions", list_all, check_list, f"{LISTED} KeyMarker VersionIdMarker"),)
