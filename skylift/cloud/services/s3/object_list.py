"""ListObjects in both its versions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, NotRequired, Protocol, TypedDict
from urllib.parse import quote

from skylift.cloud.domain.bucket import Bucket
from skylift.cloud.domain.identity import Caller
from skylift.cloud.services.api.operation import Check
from skylift.cloud.services.api.page_token import read_token, write_token
from skylift.cloud.services.s3.error import invalid_argument, invalid_token
from skylift.cloud.services.s3.operation import LISTED, on_bucket
from skylift.cloud.services.s3.rules import bucket_arn, bucket_of, checked_limit, owner
from skylift.cloud.services.s3.storage_class import listed
from skylift.cloud.store.bucket import ListedObject, ObjectPage, list_objects
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import s3


Encode = Callable[[str], str]


class Keyed(Protocol):
    """An item of a listing."""

    @property
    def key(self) -> str: ...


class OfList(TypedDict):
    """The members of the requests that list a bucket's keys."""

    Bucket: str
    Prefix: NotRequired[str]
    Delimiter: NotRequired[str]
    MaxKeys: NotRequired[int]
    EncodingType: NotRequired[str]
    OptionalObjectAttributes: NotRequired[list[str]]


class _Described(TypedDict):
    """The common members of both versions' answers, without what is listed."""

    Name: str
    Prefix: str
    MaxKeys: int
    IsTruncated: bool
    Delimiter: NotRequired[str]
    EncodingType: NotRequired[str]


class _Listed(TypedDict):
    """What is listed, which comes last: the SDK for Java gives it the bucket's name that it has read before
    (`test_response_structure`, validated on AWS in LocalStack's test_s3.py)."""

    Contents: NotRequired[list[s3.Object]]
    CommonPrefixes: NotRequired[list[s3.CommonPrefix]]


def list_v2(tx: Tx, caller: Caller, params: s3.ListObjectsV2Request) -> s3.ListObjectsV2Output:
    bucket = bucket_of(tx, caller, params)
    encode = encoder(params.get("EncodingType"))
    limit = checked_limit(params.get("MaxKeys"), "max-keys")
    token = params.get("ContinuationToken")
    after = read_token(token, invalid_token(token)) if token is not None else params.get("StartAfter", "")
    page = _page(tx, bucket, params, after, limit)
    answer: s3.ListObjectsV2Output = {**_described(bucket, page, params, limit), "KeyCount": len(page.items)}
    if token is not None:
        answer["ContinuationToken"] = token
    elif "StartAfter" in params:
        answer["StartAfter"] = encode(params["StartAfter"])
    if page.truncated:
        answer["NextContinuationToken"] = write_token(name_of(page.items[-1]))
    return {**answer, **_listed(tx, bucket, page, params, with_owner=params.get("FetchOwner", False))}


def list_v1(tx: Tx, caller: Caller, params: s3.ListObjectsRequest) -> s3.ListObjectsOutput:
    bucket = bucket_of(tx, caller, params)
    encode = encoder(params.get("EncodingType"))
    limit = checked_limit(params.get("MaxKeys"), "max-keys")
    marker = params.get("Marker", "")
    page = _page(tx, bucket, params, marker, limit, covers=True)
    answer: s3.ListObjectsOutput = {**_described(bucket, page, params, limit), "Marker": encode(marker)}
    if page.truncated and params.get("Delimiter"):
        # Without a delimiter the last key of the page is the marker, and S3 leaves this out.
        answer["NextMarker"] = encode(name_of(page.items[-1]))
    return {**answer, **_listed(tx, bucket, page, params, with_owner=True)}


def check_list(_tx: Tx, _caller: Caller, params: OfList) -> Iterable[Check]:
    return [Check("s3:ListBucket", bucket_arn(params["Bucket"]), list_context(params))]


def list_context(params: OfList) -> dict[str, str]:
    """The condition keys of a listing's parameters."""
    given: Mapping[str, object] = params
    names = {"Prefix": "s3:prefix", "Delimiter": "s3:delimiter", "MaxKeys": "s3:max-keys"}
    return {key: str(given[name]) for name, key in names.items() if name in given}


def encoder(kind: str | None) -> Encode:
    """The spelling of keys in the answer: unchanged, or percent-encoded for EncodingType=url."""
    if kind is None:
        return lambda text: text
    if kind != "url":
        raise invalid_argument("encoding-type", kind, "Invalid Encoding Method specified in Request")
    return lambda text: quote(text, safe="/*-._")


def name_of(item: str | Keyed) -> str:
    """The place after which a listing continues: a key, or a whole common prefix."""
    return item if isinstance(item, str) else item.key


def _page(
    tx: Tx, bucket: Bucket, params: OfList, after: str, limit: int, *, covers: bool = False
) -> ObjectPage[ListedObject]:
    """A marker of the first version within a common prefix is past all of it; StartAfter of the second is not."""
    if limit == 0:
        return ObjectPage((), truncated=False)
    return list_objects(
        tx,
        bucket.name,
        prefix=params.get("Prefix", ""),
        delimiter=params.get("Delimiter", ""),
        after=after,
        limit=limit,
        covers=covers,
    )


def _described(bucket: Bucket, page: ObjectPage[ListedObject], params: OfList, limit: int) -> _Described:
    encode = encoder(params.get("EncodingType"))
    answer: _Described = {
        "Name": bucket.name,
        "Prefix": encode(params.get("Prefix", "")),
        "MaxKeys": limit,
        "IsTruncated": page.truncated,
    }
    if params.get("Delimiter"):
        answer["Delimiter"] = encode(params["Delimiter"])
    if "EncodingType" in params:
        answer["EncodingType"] = params["EncodingType"]
    return answer


def _listed(tx: Tx, bucket: Bucket, page: ObjectPage[ListedObject], params: OfList, *, with_owner: bool) -> _Listed:
    encode = encoder(params.get("EncodingType"))
    asked = params.get("OptionalObjectAttributes", [])
    contents: list[s3.Object] = []
    for item in page.items:
        if isinstance(item, str):
            continue
        entry: s3.Object = {
            "Key": encode(item.key),
            "LastModified": item.modified,
            "ETag": f'"{item.etag}"',
            "Size": item.size,
            "StorageClass": item.storage_class,
            **(listed(item.restored_until, asked, tx.now) if asked else {}),
        }
        if item.algorithms:
            entry |= {"ChecksumAlgorithm": list(item.algorithms), "ChecksumType": item.checksum_type}
        if with_owner:
            entry["Owner"] = owner(bucket.owner)
        contents.append(entry)
    prefixes: list[s3.CommonPrefix] = [{"Prefix": encode(item)} for item in page.items if isinstance(item, str)]
    answer: _Listed = {}
    if contents:
        answer["Contents"] = contents
    if prefixes:
        answer["CommonPrefixes"] = prefixes
    return answer


OPERATIONS = (
    on_bucket("ListObjectsV2", list_v2, check_list, f"{LISTED} ContinuationToken StartAfter FetchOwner"),
    on_bucket("ListObjects", list_v1, check_list, f"{LISTED} Marker"),
)
