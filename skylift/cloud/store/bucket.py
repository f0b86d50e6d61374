"""Where buckets, objects and uploads are kept, and the listings of S3 as walks along an index.

A listing never reads a bucket whole: it seeks to where it starts, steps along the index, and when keys roll up into
a common prefix it seeks past all of them.
"""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, Generic, TypeVar

from skylift.cloud.domain.bucket import Bucket, BucketPolicy, Object, ObjectVersion, Part, Upload
from skylift.cloud.store.database import Tx
from skylift.cloud.store.mapping import from_json, table

table(Bucket, "buckets", key=("name",))
table(Object, "objects", key=("bucket", "key", "sequence"))
table(ObjectVersion, "objects", key=("bucket", "key", "sequence"))
table(Upload, "uploads", key=("id",))
table(Part, "parts", key=("upload_id", "number"))
table(BucketPolicy, "bucket_policies", key=("bucket",))

T = TypeVar("T")
V = TypeVar("V", bound=ObjectVersion)

LAST = chr(0x10FFFF)
NULL = "null"
"""The version id of an object that was written while the bucket made no ids."""
SEQUENCE_BYTES = 8
GREATEST = (1 << 63) - 1
LIGHT = 10 * 1024
LENGTH = "octet_length" if sqlite3.sqlite_version_info >= (3, 43) else "length"
"""SQLite's newer function does not read the text."""


@dataclass(frozen=True)
class ListedObject:
    """An object as listings show it."""

    key: str
    size: int
    etag: str
    modified: datetime
    algorithms: tuple[str, ...]
    checksum_type: str
    storage_class: str
    restored_until: datetime | None


@dataclass(frozen=True)
class VersionEntry:
    """A version as listings show it; a delete marker has only a key and a time."""

    entry: ListedObject
    sequence: int
    version: str
    latest: bool
    delete_marker: bool

    @property
    def key(self) -> str:
        return self.entry.key


@dataclass(frozen=True)
class ObjectPage(Generic[T]):
    """One page: `items` in order, a str being a common prefix."""

    items: tuple[T | str, ...]
    truncated: bool


def buckets(tx: Tx, prefix: str, after: str, limit: int) -> list[Bucket]:
    """Up to `limit` buckets by name, from the first greater than `after`."""
    return tx.select(
        Bucket, "WHERE name > ? AND substr(name, 1, ?) = ? ORDER BY name LIMIT ?", after, len(prefix), prefix, limit
    )


def with_lifecycle(tx: Tx) -> list[Bucket]:
    return tx.select(Bucket, "WHERE lifecycle != '[]' ORDER BY name")


def versions_after(tx: Tx, bucket: str, after: tuple[str, int], limit: int) -> list[ObjectVersion]:
    """Up to `limit` versions and delete markers by key, the newest first, after this key's of this sequence."""
    key, sequence = after
    rest = "WHERE bucket = ? AND key = ? AND sequence < ? ORDER BY sequence DESC LIMIT ?"
    found = tx.select(ObjectVersion, rest, bucket, key, sequence, limit)
    following = "WHERE bucket = ? AND key > ? ORDER BY key, sequence DESC LIMIT ?"
    return found + tx.select(ObjectVersion, following, bucket, key, limit - len(found))


def newer_than(tx: Tx, found: ObjectVersion, most: int) -> list[datetime]:
    """When the versions came that are newer than this one, the next one first."""
    newer = tx.execute(
        "SELECT modified FROM objects WHERE bucket = ? AND key = ? AND sequence > ? ORDER BY sequence LIMIT ?",
        *(found.bucket, found.key, found.sequence, most),
    )
    return [datetime.fromisoformat(modified) for (modified,) in newer]


def has_older(tx: Tx, found: ObjectVersion) -> bool:
    older = "SELECT 1 FROM objects WHERE bucket = ? AND key = ? AND sequence < ? LIMIT 1"
    return tx.execute(older, found.bucket, found.key, found.sequence).fetchone() is not None


def latest(tx: Tx, noun: type[V], bucket: str, key: str) -> V | None:
    """The latest version of a key, which may be a delete marker."""
    found = tx.select(noun, "WHERE bucket = ? AND key = ? AND latest = 1", bucket, key)
    return found[0] if found else None


def current(tx: Tx, bucket: str, key: str) -> ObjectVersion | None:
    """The object that a key names, when no version is asked for."""
    found = latest(tx, ObjectVersion, bucket, key)
    return None if found is None or found.delete_marker else found


def version_of(tx: Tx, noun: type[V], bucket: str, key: str, version: str) -> V | None:
    """Found by its place, which its id has: a key may have any number of versions."""
    if version == NULL:
        found = tx.select(noun, "WHERE bucket = ? AND key = ? AND version = 'null'", bucket, key)
    else:
        place = sequence_of(version)
        found = tx.select(
            noun, "WHERE bucket = ? AND key = ? AND sequence = ? AND version = ?", bucket, key, place, version
        )
    return found[0] if found else None


def sequence_of(version: str) -> int | None:
    """The place that is written into an id; None for `null`, which has none."""
    if version == NULL:
        return None
    try:
        return min(int.from_bytes(base64.urlsafe_b64decode(version)[:SEQUENCE_BYTES], "big"), GREATEST)
    except ValueError:
        return None


def named(tx: Tx, bucket: str, key: str, version: str | None) -> ObjectVersion | None:
    """The version of this id, or without one the object that the key names."""
    return current(tx, bucket, key) if version is None else version_of(tx, ObjectVersion, bucket, key, version)


def weight(tx: Tx, bucket: str, key: str, version: str | None) -> int:
    """About how many bytes it takes to remove this version of a key, or its latest; at least what a small one does."""
    which = "latest = 1" if version is None else "version = 'null'" if version == NULL else "sequence = ?"
    place = () if version in (None, NULL) else (sequence_of(str(version)),)
    found = tx.execute(
        f"SELECT {LENGTH}(extents) + {LENGTH}(parts) FROM objects WHERE bucket = ? AND key = ? AND {which}",  # noqa: S608
        *(bucket, key, *place),
    ).fetchone()
    return LIGHT + (found[0] if found else 0)


def completed(tx: Tx, bucket: str, key: str, upload_id: str) -> ObjectVersion | None:
    """The version of a key that this upload became."""
    found = tx.select(ObjectVersion, "WHERE bucket = ? AND key = ? AND upload_id = ?", bucket, key, upload_id)
    return found[0] if found else None


def newest(tx: Tx, bucket: str, key: str) -> ObjectVersion | None:
    """The newest version that there is, whether or not it is marked as the latest."""
    found = tx.select(ObjectVersion, "WHERE bucket = ? AND key = ? ORDER BY sequence DESC LIMIT 1", bucket, key)
    return found[0] if found else None


def note_deletion(tx: Tx, bucket: str, key: str) -> None:
    """It is in conflict with the completion of uploads under way where that has conditions. They may be any number."""
    under_way = "EXISTS (SELECT 1 FROM uploads WHERE bucket = ?1 AND key = ?2)"
    once_more = "ON CONFLICT DO UPDATE SET count = count + 1"
    tx.execute(f"INSERT INTO key_deletions SELECT ?1, ?2, 1 WHERE {under_way} {once_more}", bucket, key)


def deletions(tx: Tx, bucket: str, key: str) -> int:
    """How often a key was deleted since it has had uploads under way."""
    total = "SELECT total(count) FROM key_deletions WHERE bucket = ? AND key = ?"
    return int(tx.execute(total, bucket, key).fetchone()[0])


def has_objects(tx: Tx, bucket: str) -> bool:
    """Whether there is an object, an older version or a delete marker."""
    return tx.execute("SELECT 1 FROM objects WHERE bucket = ? LIMIT 1", bucket).fetchone() is not None


def uploads_of(tx: Tx, bucket: str) -> list[tuple[str, int]]:
    """The ids of a bucket's uploads in progress, and how many parts each has."""
    count = "SELECT count(*) FROM parts WHERE upload_id = uploads.id"
    return tx.execute(f"SELECT id, ({count}) FROM uploads WHERE bucket = ?", bucket).fetchall()  # noqa: S608 - ours


def parts(tx: Tx, upload_id: str, after: int, limit: int) -> list[Part]:
    """Up to `limit` parts by number, from the first greater than `after`."""
    return tx.select(Part, "WHERE upload_id = ? AND number > ? ORDER BY number LIMIT ?", upload_id, after, limit)


def seal(tx: Tx, upload_id: str) -> str:
    """The same as long as the parts of an upload are: no two have the same place for their bytes."""
    parts = "SELECT number || extents AS part FROM parts WHERE upload_id = ? ORDER BY number"
    found: str | None = tx.execute(f"SELECT group_concat(part) FROM ({parts})", upload_id).fetchone()[0]  # noqa: S608
    return found or ""


def list_objects(
    tx: Tx, bucket: str, *, prefix: str, delimiter: str, after: str, limit: int, covers: bool = False
) -> ObjectPage[ListedObject]:
    """Objects whose keys begin with `prefix` and follow `after`; those that hold `delimiter` roll up.

    An `after` that is itself a common prefix of this listing covers all the keys in it. So does one within a common
    prefix where `covers` is set.
    """

    def rows(span: _Span) -> Iterator[tuple[str, Callable[[], ListedObject]]]:
        select = f"SELECT {_ENTRY} FROM objects"  # noqa: S608 - ours
        only = "AND latest = 1 AND delete_marker = 0"
        for row in _seek(tx, select, bucket, span, "key", only):
            yield row[0], partial(_entry, *row)

    return _Walk(rows, prefix, delimiter, limit, covers).run(after)


def list_versions(
    tx: Tx, bucket: str, *, prefix: str, delimiter: str, after: str, older_than: int | None, limit: int
) -> ObjectPage[VersionEntry]:
    """Versions and delete markers by key, newest first. `older_than` continues within the key `after`."""
    select = f"SELECT {_ENTRY}, sequence, version, latest, delete_marker FROM objects"  # noqa: S608 - ours

    def entry(row: tuple[Any, ...]) -> VersionEntry:
        *described, sequence, version, is_latest, marker = row
        return VersionEntry(_entry(*described), sequence, version, bool(is_latest), bool(marker))

    def known(rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[str, Callable[[], VersionEntry]]]:
        for row in rows:
            yield row[0], partial(entry, row)

    def rows(span: _Span) -> Iterator[tuple[str, Callable[[], VersionEntry]]]:
        if older_than is not None and span.floor == after and not span.inclusive:
            rest = f"{select} WHERE bucket = ? AND key = ? AND sequence < ? ORDER BY sequence DESC"
            yield from known(tx.execute(rest, bucket, after, older_than))
        yield from known(_seek(tx, select, bucket, span, "key, sequence DESC"))

    return _Walk(rows, prefix, delimiter, limit, covers=True).run(after)


def list_uploads(
    tx: Tx, bucket: str, *, prefix: str, delimiter: str, after: str, after_id: str, limit: int
) -> ObjectPage[Upload]:
    """Uploads in progress by key and id; `after_id` continues among the uploads of the key `after`."""

    def rows(span: _Span) -> Iterator[tuple[str, Callable[[], Upload]]]:
        if after_id and span.floor == after:
            span = replace(span, inclusive=True)
        for (upload_id,) in _seek(tx, "SELECT id FROM uploads", bucket, span, "key, id"):
            upload = tx.get(Upload, id=upload_id)
            assert upload is not None
            if upload.key != after or upload.id > after_id:
                yield upload.key, partial(_itself, upload)

    return _Walk(rows, prefix, delimiter, limit, covers=True).run(after)


_ENTRY = "key, size, etag, modified, checksums, checksum_type, storage_class, restored_until"


def _entry(
    key: str,
    size: int,
    etag: str,
    modified: str,
    checksums: str,
    checksum_type: str,
    storage_class: str,
    restored: str | None,
) -> ListedObject:
    return ListedObject(
        key=key,
        size=size,
        etag=etag,
        modified=datetime.fromisoformat(modified),
        algorithms=tuple(from_json(checksums)),
        checksum_type=checksum_type,
        storage_class=storage_class,
        restored_until=datetime.fromisoformat(restored) if restored else None,
    )


def _itself(upload: Upload) -> Upload:
    return upload


@dataclass(frozen=True)
class _Span:
    """Keys from `floor` (itself only if `inclusive`) to below `ceiling`."""

    floor: str
    inclusive: bool
    ceiling: str | None


def _seek(tx: Tx, select: str, bucket: str, span: _Span, order: str, only: str = "") -> sqlite3.Cursor:
    """Rows in key order, read as far as they are asked for."""
    condition = f"WHERE bucket = ? AND key {'>=' if span.inclusive else '>'} ? {only}"
    if span.ceiling is None:
        return tx.execute(f"{select} {condition} ORDER BY {order}", bucket, span.floor)
    return tx.execute(f"{select} {condition} AND key < ? ORDER BY {order}", bucket, span.floor, span.ceiling)


@dataclass(frozen=True)
class _Walk(Generic[T]):
    """One page of a listing: steps along the rows, and over whole common prefixes. Only the key of a row is read unless
    the key is listed.
    """

    rows: Callable[[_Span], Iterator[tuple[str, Callable[[], T]]]]
    prefix: str
    delimiter: str
    limit: int
    covers: bool
    """Whether a place within a common prefix is after all of that prefix."""

    def run(self, after: str) -> ObjectPage[T]:
        items: list[T | str] = []
        span = self._start(after)
        while span is not None:
            following: str | None = None
            for key, read in self.rows(span):
                if len(items) == self.limit:
                    return ObjectPage(tuple(items), truncated=True)
                rolled = _rolled_up(key, self.prefix, self.delimiter)
                if rolled is not None:
                    items.append(rolled)
                    following = _successor(rolled)
                    break
                items.append(read())
            span = None if following is None else replace(span, floor=following, inclusive=True)
        return ObjectPage(tuple(items), truncated=False)

    def _start(self, after: str) -> _Span | None:
        """The place to begin; None if nothing can follow."""
        ceiling = _successor(self.prefix)
        if not after or after < self.prefix:
            return _Span(self.prefix, inclusive=True, ceiling=ceiling)
        rolled = _rolled_up(after, self.prefix, self.delimiter) if after.startswith(self.prefix) else None
        if rolled is not None and (rolled == after or self.covers):
            following = _successor(rolled)
            return None if following is None else _Span(following, inclusive=True, ceiling=ceiling)
        return _Span(after, inclusive=False, ceiling=ceiling)


def _rolled_up(key: str, prefix: str, delimiter: str) -> str | None:
    if not delimiter:
        return None
    found = key.find(delimiter, len(prefix))
    return None if found < 0 else key[: found + len(delimiter)]


def _successor(prefix: str) -> str | None:
    """The least string that is greater than all strings with this `prefix`; None if there is none."""
    kept = prefix.rstrip(LAST)
    if not kept:
        return None
    following = ord(kept[-1]) + 1
    # Surrogates cannot be written as UTF-8; the code point after them is the next that can.
    return kept[:-1] + chr(0xE000 if 0xD800 <= following <= 0xDFFF else following)
