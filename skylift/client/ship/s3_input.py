"""`--in s3://BUCKET/...`: objects of the user's own buckets, which the server downloads.

They are put where `cp -r` would put them in the working directory: an object under its own name, a prefix as a folder
named by its last part, and the matches of a glob with their paths from the first part with a wildcard on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from skylift.client.errors import NotPermitted, Refused, UsageError
from skylift.client.job.job import Bundle, S3Input
from skylift.client.remote.api import Api
from skylift.client.text.s3_glob import S3Glob, literal
from skylift.client.text.visible import shown

_ARCHIVED = {"GLACIER", "DEEP_ARCHIVE"}


@dataclass(frozen=True)
class S3Object:
    """`place` is its path in the job's root."""

    key: str
    etag: str
    size: int
    place: str


@dataclass(frozen=True)
class S3Source:
    """The objects that one input names. `arn` is what the job's role must be allowed to read."""

    bucket: str
    region: str
    arn: str
    objects: tuple[S3Object, ...]

    def as_record(self) -> dict[str, Any]:
        objects = [[each.key, each.etag, each.size, each.place] for each in self.objects]
        return {"bucket": self.bucket, "region": self.region, "objects": objects}


def find_sources(api: Api, inputs: Sequence[S3Input], bundle: Bundle) -> tuple[S3Source, ...]:
    """The objects that the inputs name, each at a path of its own. Raises UsageError."""
    sources = tuple(find_source(api, each, bundle.cwd) for each in inputs)
    taken = {each.place: f"the file {shown(each.path)}" for each in bundle.files}
    folders: dict[str, str] = {}
    for place, what in taken.items():
        folders.update(dict.fromkeys(_folders(place), what))
    for source in sources:
        for each in source.objects:
            what = f"s3://{source.bucket}/{each.key}"
            other = taken.get(each.place) or folders.get(each.place)
            other = other or next((taken[folder] for folder in _folders(each.place) if folder in taken), None)
            if other is not None and other != what:
                raise UsageError(f"{what} would come to the same place as {other}: {each.place}.")
            taken[each.place] = what
            folders.update(dict.fromkeys(_folders(each.place), what))
    return sources


def _folders(place: str) -> Iterator[str]:
    return (parent.as_posix() for parent in PurePosixPath(place).parents if parent != PurePosixPath())


def find_source(api: Api, wanted: S3Input, cwd: str = ".", option: str = "--in ") -> S3Source:
    """The objects that one input names. `option` is what it belongs to, for messages. Raises UsageError."""
    found = find_place(api, wanted, cwd, option)
    if not found.objects:
        raise UsageError(f"{option}{wanted.text}: nothing is there.", f"aws s3 ls s3://{wanted.bucket}/ shows what is.")
    return found


def find_place(api: Api, wanted: S3Input, cwd: str = ".", option: str = "") -> S3Source:
    """The same for a place at which nothing may be yet."""
    named = f"{option}{wanted.text}"
    try:
        region = api.call("s3", "head_bucket", Bucket=wanted.bucket).get("BucketRegion") or api.region
        found = _Search(api, wanted).run()
    except NotPermitted:
        raise
    except Refused as error:
        if error.code in {"404", "NoSuchBucket"}:
            raise UsageError(f"{named}: there is no bucket {wanted.bucket}.") from None
        raise
    objects = tuple(_place(named, each, inner, cwd) for each, inner in found.objects if not each["Key"].endswith("/"))
    for each, _ in found.objects:
        _check_class(api, wanted.bucket, each)
    return S3Source(wanted.bucket, region, f"arn:aws:s3:::{wanted.bucket}/{found.pattern}", objects)


@dataclass(frozen=True)
class _Found:
    """Objects as S3 lists them, with their paths relative to the working directory, and the pattern of their keys as an
    IAM resource."""

    objects: list[tuple[Any, str]]
    pattern: str


class _Search:
    def __init__(self, api: Api, wanted: S3Input) -> None:
        self._api, self._bucket, self._key = api, wanted.bucket, wanted.key

    def run(self) -> _Found:
        if S3Glob(self._key).is_wild:
            return self._glob()
        if self._key and not self._key.endswith("/"):
            first = self._api.call("s3", "list_objects_v2", Bucket=self._bucket, Prefix=self._key, MaxKeys=1)
            for each in first.get("Contents", []):
                if each["Key"] == self._key:
                    return _Found([(each, self._key.rpartition("/")[2])], literal(self._key))
        return self._folder(self._key.rstrip("/"))

    def _folder(self, folder: str) -> _Found:
        prefix = f"{folder}/" if folder else ""
        name = folder.rpartition("/")[2] or self._bucket
        objects = [(each, f"{name}/{each['Key'].removeprefix(prefix)}") for each in self._listed(prefix)]
        return _Found(objects, f"{literal(prefix)}*")

    def _glob(self) -> _Found:
        glob = S3Glob(self._key)
        start = glob.fixed.rpartition("/")[0]
        skip = len(start) + 1 if start else 0
        objects = [(each, each["Key"][skip:]) for each in self._listed(glob.fixed) if glob.matches(each["Key"])]
        return _Found(objects, glob.pattern)

    def _listed(self, prefix: str) -> list[Any]:
        return self._api.pages("s3", "list_objects_v2", "Contents", Bucket=self._bucket, Prefix=prefix)


def _place(named: str, listed: Any, inner: str, cwd: str) -> S3Object:
    if {"", ".", ".."} & set(inner.split("/")) or "\0" in inner:
        raise UsageError(f"{named}: {listed['Key']!r} cannot be the name of a file.")
    place = (PurePosixPath(cwd) / inner).as_posix()
    return S3Object(listed["Key"], listed["ETag"], listed["Size"], place)


def _check_class(api: Api, bucket: str, listed: Any) -> None:
    if listed.get("StorageClass") in _ARCHIVED:
        found = api.call("s3", "head_object", Bucket=bucket, Key=listed["Key"])
        if 'ongoing-request="false"' not in found.get("Restore", ""):
            raise UsageError(
                f"s3://{bucket}/{listed['Key']} is archived ({listed['StorageClass']}), so it cannot be read.",
                "Have S3 restore it first: aws s3api restore-object.",
            )
