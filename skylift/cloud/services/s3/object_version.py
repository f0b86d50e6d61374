"""Versions of objects: which one a request means, and what writing and deleting make of them.

Source: the S3 user guide's "Retaining multiple versions of objects with S3 Versioning" and its chapters on suspended
buckets and delete markers.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from dataclasses import replace
from email.utils import format_datetime
from typing import TYPE_CHECKING, NotRequired, TypedDict

from skylift.cloud.domain.bucket import Bucket, Object, ObjectVersion
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.services.s3.error import invalid_argument, no_such_key
from skylift.cloud.store.bucket import NULL, SEQUENCE_BYTES, V, latest, newest, note_deletion, version_of
from skylift.cloud.store.content import discard_version
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import s3

_ID = re.compile(r"[A-Za-z0-9_-]{32}")
_CHECKED_BYTES = 20


class OfObject(TypedDict):
    """The members of every request that names one version of an object, or the latest."""

    Bucket: str
    Key: str
    VersionId: NotRequired[str]


class Version(TypedDict):
    VersionId: NotRequired[str]


def find(tx: Tx, noun: type[V], bucket: Bucket, params: OfObject) -> V:
    """The object that `Key` and, when given, `VersionId` name, with its bytes or without.

    Raises NoSuchKey, NoSuchVersion, and for a delete marker NoSuchKey or, when its id was given, MethodNotAllowed.
    """
    return by_id(tx, noun, bucket, params["Key"], params.get("VersionId"))


def find_unmarked(tx: Tx, bucket: Bucket, params: OfObject) -> ObjectVersion:
    """As `find`, but for what a delete marker on top does not have, and which is no missing key either: tags, and an
    ACL that is put. As recorded on AWS: `test_object_tagging_versioned` in LocalStack's test_s3_api.snapshot.json,
    `test_put_object_acl_on_delete_marker` in its test_s3.snapshot.json.
    """
    top = latest(tx, ObjectVersion, bucket.name, params["Key"]) if "VersionId" not in params else None
    if top is not None and top.delete_marker:
        raise on_marker(top)
    return find(tx, ObjectVersion, bucket, params)


def by_id(tx: Tx, noun: type[V], bucket: Bucket, key: str, version: str | None) -> V:
    if version is None:
        found = latest(tx, noun, bucket.name, key)
        if found is None:
            raise no_such_key(key)
        if found.delete_marker:
            raise no_such_key(key, _marker_headers(found))
        return found
    check_id(version, bucket)
    found = version_of(tx, noun, bucket.name, key, version)
    if found is None:
        check_made(version)
        raise no_such_version(key, version)
    if found.delete_marker:
        raise on_marker(found)
    return found


def check_id(version: str, bucket: Bucket) -> None:
    """Where a bucket never made ids there is none but `null`, as recorded on AWS in
    `test_get_object_with_version_unversioned_bucket` of LocalStack's tests/aws/services/s3/test_s3_api.snapshot.json.
    """
    if not version:
        raise invalid_argument("versionId", version, "Version id cannot be the empty string")
    if version != NULL and (bucket.versioning is None or not _ID.fullmatch(version)):
        raise invalid_argument("versionId", version, "Invalid version id specified")


def on_marker(found: ObjectVersion) -> ServiceError:
    return ServiceError(
        "MethodNotAllowed",
        "The specified method is not allowed against this resource.",
        status=405,
        headers={
            "Allow": "DELETE",
            "Last-Modified": format_datetime(found.modified.replace(microsecond=0), usegmt=True),
            **_marker_headers(found),
        },
        ResourceType="DeleteMarker",
    )


def check_made(version: str) -> None:
    """S3 tells an id that it once gave from one that it never did: `delete-with-bad-version` of
    `test_delete_object_versioned`, recorded on AWS in LocalStack's tests/aws/services/s3/test_s3_api.snapshot.json.
    """
    if version != NULL and not _is_made(version):
        raise invalid_argument("versionId", version, "Invalid version id specified")


def no_such_version(key: str, version: str) -> ServiceError:
    return ServiceError(
        "NoSuchVersion", "The specified version does not exist.", status=404, Key=key, VersionId=version
    )


def place(tx: Tx, bucket: Bucket, made: Object) -> Object:
    """Make this the latest version of its key; returns it with its version and place among them.

    Where the bucket makes no ids it replaces the version `null`, wherever that stands.
    """
    before = latest(tx, ObjectVersion, bucket.name, made.key)
    sequence = int(tx.now.timestamp() * 1_000_000)
    if before is not None:
        sequence = max(sequence, before.sequence + 1)
    version = _new_id(sequence) if bucket.versioning == "Enabled" else NULL
    if version == NULL:
        before = _without_null(tx, bucket, made.key, before)
    if before is not None:
        tx.save(replace(before, latest=False))
    added = replace(made, sequence=sequence, version=version, latest=True)
    tx.add(added)
    return added


def delete(tx: Tx, bucket: Bucket, key: str, version: str | None) -> s3.DeleteObjectOutput:
    """Without a version, in a bucket that keeps versions, a delete marker is put on top; else the version is removed.

    Deleting a missing object succeeds. Returns what DeleteObject answers.
    """
    if version is not None:
        check_id(version, bucket)
        found = version_of(tx, ObjectVersion, bucket.name, key, version)
        if found is not None:
            remove(tx, found)
        else:
            check_made(version)
        is_marker = found is not None and found.delete_marker
        return {"VersionId": version, **({"DeleteMarker": True} if is_marker else {})}
    found = latest(tx, ObjectVersion, bucket.name, key)
    if found is not None:
        note_deletion(tx, bucket.name, key)
    if bucket.versioning is not None:
        marker = place(tx, bucket, _marker(tx, bucket, key))
        return {"DeleteMarker": True, "VersionId": marker.version}
    if found is not None:
        remove(tx, found)
    return {}


def remove(tx: Tx, found: ObjectVersion) -> None:
    """Remove one version for good; the next older one becomes the latest."""
    _drop(tx, found)
    if found.latest:
        following = newest(tx, found.bucket, found.key)
        if following is not None:
            tx.save(replace(following, latest=True))


def _drop(tx: Tx, found: ObjectVersion) -> None:
    discard_version(tx, found)
    tx.remove(found)


def described(bucket: Bucket, found: ObjectVersion) -> Version:
    """`VersionId` as answers carry it; none in a bucket whose versioning was never configured."""
    return {} if bucket.versioning is None else {"VersionId": found.version}


def _new_id(sequence: int) -> str:
    """32 characters. An id contains its place, so that a listing can go on after a deleted version, and a checksum, so
    that one that was never given is known as such."""
    content = sequence.to_bytes(SEQUENCE_BYTES, "big") + secrets.token_bytes(_CHECKED_BYTES - SEQUENCE_BYTES)
    return base64.urlsafe_b64encode(content + _checksum(content)).decode()


def _is_made(version: str) -> bool:
    content = base64.urlsafe_b64decode(version)
    return _checksum(content[:_CHECKED_BYTES]) == content[_CHECKED_BYTES:]


def _checksum(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()[:4]


def _without_null(tx: Tx, bucket: Bucket, key: str, before: ObjectVersion | None) -> ObjectVersion | None:
    """Remove the version `null`; returns the latest of the others."""
    if before is None:
        return None
    if before.version == NULL:
        _drop(tx, before)
        return None
    # Only a bucket that kept versions once can have it further down.
    older = version_of(tx, ObjectVersion, bucket.name, key, NULL)
    if older is not None:
        _drop(tx, older)
    return before


def _marker(tx: Tx, bucket: Bucket, key: str) -> Object:
    return Object(bucket=bucket.name, key=key, size=0, etag="", modified=tx.now, delete_marker=True)


def _marker_headers(found: ObjectVersion) -> dict[str, str]:
    return {"x-amz-delete-marker": "true", "x-amz-version-id": found.version}
