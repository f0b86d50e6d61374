"""Tags of objects: given with the object or afterwards, and asked about by policies.

Source: the S3 user guide's "Categorizing your objects using tags".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, NotRequired, TypedDict
from urllib.parse import parse_qsl

from skylift.cloud.domain.bucket import ObjectVersion
from skylift.cloud.domain.identity import Caller
from skylift.cloud.services.api.operation import Check, Checks
from skylift.cloud.services.s3.error import invalid_argument
from skylift.cloud.services.s3.object_version import OfObject, described, find_unmarked
from skylift.cloud.services.s3.operation import PAYER, on_object
from skylift.cloud.services.s3.rules import OBJECT_TAGS, bucket_of, checked_tags, object_arn
from skylift.cloud.store.bucket import named
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import s3


class _OfTags(OfObject):
    Tagging: NotRequired[s3.Tagging]


class TaggedObject(TypedDict):
    Tagging: NotRequired[str]


Context = dict[str, str | tuple[str, ...]]


def put(tx: Tx, caller: Caller, params: s3.PutObjectTaggingRequest) -> s3.PutObjectTaggingOutput:
    bucket = bucket_of(tx, caller, params)
    found = find_unmarked(tx, bucket, params)
    tx.save(replace(found, tags=checked(params["Tagging"]["TagSet"])))
    return described(bucket, found)


def get(tx: Tx, caller: Caller, params: s3.GetObjectTaggingRequest) -> s3.GetObjectTaggingOutput:
    bucket = bucket_of(tx, caller, params)
    found = find_unmarked(tx, bucket, params)
    return {"TagSet": [{"Key": key, "Value": value} for key, value in found.tags.items()], **described(bucket, found)}


def delete(tx: Tx, caller: Caller, params: s3.DeleteObjectTaggingRequest) -> s3.DeleteObjectTaggingOutput:
    bucket = bucket_of(tx, caller, params)
    found = find_unmarked(tx, bucket, params)
    tx.save(replace(found, tags={}))
    return described(bucket, found)


def from_header(params: TaggedObject) -> dict[str, str]:
    """The tags that x-amz-tagging writes like a query string: `a=1&b=2`."""
    header = params.get("Tagging")
    if not header:
        return {}
    try:
        pairs = parse_qsl(header, keep_blank_values=True, errors="strict")
    except ValueError:
        pairs = []
    # As recorded on AWS, `a=1,b=2` is no tag with a wrong value, but no header of tags.
    ambiguous = any(pair.count("=") > 1 for pair in header.split("&"))
    if not pairs or len(dict(pairs)) < len(pairs) or ambiguous:
        raise invalid_argument(
            "x-amz-tagging",
            header,
            "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag "
            "name duplicates.",
        )
    return checked([{"Key": key, "Value": value} for key, value in pairs])


def checked(listed: list[s3.Tag]) -> dict[str, str]:
    return checked_tags(listed, OBJECT_TAGS)


def existing_context(found: ObjectVersion | None) -> Context:
    """The condition keys about the tags that an object has."""
    tags = found.tags if found is not None else {}
    return {f"s3:ExistingObjectTag/{key}": value for key, value in tags.items()}


def requested_context(tags: Mapping[str, str]) -> Context:
    """The condition keys about the tags that a request gives."""
    context: Context = {f"s3:RequestObjectTag/{key}": value for key, value in tags.items()}
    return {**context, "s3:RequestObjectTagKeys": tuple(tags)} if tags else context


def check(action: str) -> Checks:
    """Tags of a version that is named need a permission of their own: `PutObjectVersionTagging`."""

    def checks(tx: Tx, _caller: Caller, params: _OfTags) -> Iterable[Check]:
        bucket, key, version = params["Bucket"], params["Key"], params.get("VersionId")
        found = named(tx, bucket, key, version)
        context = existing_context(found)
        if "Tagging" in params:
            context |= requested_context(checked(params["Tagging"]["TagSet"]))
        verb, noun = action, "ObjectTagging" if version is None else "ObjectVersionTagging"
        if version is not None:
            context["s3:versionid"] = version
        return [Check(f"s3:{verb}{noun}", object_arn(bucket, key), context)]

    return checks


OPERATIONS = (
    on_object(
        "PutObjectTagging", put, check("Put"), f"VersionId Tagging ContentMD5 ChecksumAlgorithm {PAYER}", writes=True
    ),
    on_object("GetObjectTagging", get, check("Get"), f"VersionId {PAYER}"),
    on_object("DeleteObjectTagging", delete, check("Delete"), "VersionId", writes=True),
)
