"""Nouns of S3: buckets, objects and the files that hold their bytes."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from threading import Event
from typing import Literal, Protocol


class RunningChecksum(Protocol):
    """A checksum of bytes that come in pieces."""

    def update(self, data: bytes | memoryview, /) -> object: ...

    def digest(self) -> bytes: ...


StartChecksum = Callable[[str], RunningChecksum]
"""A new running checksum of an algorithm as S3 spells it (`CRC64NVME`)."""

LARGEST_IN_ROW = 64 * 1024
"""A body up to this size is kept in a row. One commit makes it durable; a file waits for the disk twice more."""


@dataclass(frozen=True)
class Spool:
    """A request body, verified against what the client signed: a small one is `data`, others are a file.

    `file` is its name in the objects' directory (empty without a file). `md5` is hex (or made of the checksums, if the
    sender of a part accepts any ETag). `checksums` are base64 by algorithm as S3 spells it (`CRC32`, `CRC32C`, `SHA1`,
    `SHA256`, `CRC64NVME`). The file's content and name are durable (fsynced). The file is removed when the request is
    over, unless somebody calls `take`.
    """

    file: str
    size: int
    md5: str
    checksums: dict[str, str] = field(default_factory=dict)
    data: bytes | None = field(default=None, repr=False)
    crc64nvme: str = "AAAAAAAAAAA="
    """In base64. S3 always computes it: if an upload names no algorithm, its object's checksum is made of its parts'
    CRC64NVME checksums.
    """
    _taken: Event = field(default_factory=Event, repr=False, compare=False)

    def take(self) -> None:
        """From now on the caller owns the file, and either removes it or names it in a row."""
        self._taken.set()

    @property
    def taken(self) -> bool:
        return self._taken.is_set()

    def unless_taken(self, act: Callable[[], object]) -> None:
        """Calls `act` once this value is garbage, unless the file was taken."""
        taken = self._taken
        weakref.finalize(self, lambda: taken.is_set() or act()).atexit = False


@dataclass(frozen=True)
class Extent:
    """`length` bytes, from `offset`, of the file `file` in the state directory's `objects`.

    Of a small body's row instead where `row` is its number; `file` is empty then.
    """

    file: str
    offset: int
    length: int
    row: int | None = None


@dataclass(frozen=True)
class FileBody:
    """A streaming response body: parts of files, and what rows held, to be sent one after the other.

    The files stay on disk while this value is referenced, even if the object is replaced or deleted.
    """

    pieces: tuple[Extent | bytes, ...]

    @property
    def size(self) -> int:
        return sum(len(piece) if isinstance(piece, bytes) else piece.length for piece in self.pieces)


@dataclass(frozen=True)
class PublicAccess:
    """The kinds of access that public access block forbids, one by one; a new bucket forbids all of them."""

    block_acls: bool = True
    ignore_acls: bool = True
    block_policy: bool = True
    restrict_buckets: bool = True


@dataclass(frozen=True)
class CorsRule:
    """What web pages from some origins may do in a browser. Origins and headers may hold one `*` each."""

    methods: tuple[str, ...]
    origins: tuple[str, ...]
    headers: tuple[str, ...] = ()
    exposed: tuple[str, ...] = ()
    max_age: int | None = None
    id: str | None = None


FilterForm = Literal["rule", "filter", "and"]


@dataclass(frozen=True)
class Transition:
    """The storage class that versions go to, `days` after they were made or replaced, or at a date.

    The newest `newer` noncurrent versions stay.
    """

    storage_class: str
    days: int | None = None
    date: datetime | None = None
    newer: int | None = None


@dataclass(frozen=True)
class LifecycleRule:
    """What expires when. `form` is how the rule selects objects: by the rule's own prefix, by a filter of at most one
    condition, or by a filter of several.

    `days` or `date` expire the current version, `expire_markers` delete markers that are alone. `noncurrent_days`
    remove versions that have not been current for so long, except the newest `newer_noncurrent`. `abort_days` end
    uploads.
    """

    id: str
    enabled: bool
    form: FilterForm = "filter"
    prefix: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    larger_than: int | None = None
    smaller_than: int | None = None
    days: int | None = None
    date: datetime | None = None
    expire_markers: bool | None = None
    noncurrent_days: int | None = None
    newer_noncurrent: int | None = None
    abort_days: int | None = None
    transitions: tuple[Transition, ...] = ()
    noncurrent_transitions: tuple[Transition, ...] = ()

    @property
    def filters_content(self) -> bool:
        """Whether it asks for more than the beginning of a key, which delete markers and uploads do not have."""
        return bool(self.tags) or self.larger_than is not None or self.smaller_than is not None


STANDARD = "STANDARD"
"""The storage class of objects that are asked for no other."""
ENFORCED = "BucketOwnerEnforced"
"""The object ownership of buckets that have ACLs disabled."""


@dataclass(frozen=True)
class AclGrant:
    """`grantee` is an account's canonical id, or a group's URI."""

    grantee: str
    permission: str


@dataclass(frozen=True)
class Bucket:
    """`owner` is the account. `versioning` is None until it was switched on, then `Enabled` or `Suspended`.

    `ownership` and `public_access` are None once they were deleted. `bucket_key` is what was requested about KMS bucket
    keys; AES256, the only encryption here, does not use them. `encryption_put` is whether an encryption was put on the
    bucket: its objects may then be copied onto themselves. `acl` is None if only the owner has permissions.
    `archives_small` is whether lifecycle rules move objects below 128 KiB to archives.
    """

    name: str
    region: str
    created: datetime
    owner: str
    tags: dict[str, str] = field(default_factory=dict)
    versioning: str | None = None
    ownership: str | None = ENFORCED
    public_access: PublicAccess | None = PublicAccess()
    bucket_key: bool = False
    encryption_put: bool = False
    cors: tuple[CorsRule, ...] = ()
    lifecycle: tuple[LifecycleRule, ...] = ()
    acl: tuple[AclGrant, ...] | None = None
    archives_small: bool = False


@dataclass(frozen=True)
class ObjectPart:
    """The facts about a part of a multipart upload that are kept once the object is complete."""

    number: int
    size: int
    checksums: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ObjectVersion:
    """One version of an object without its bytes, or a delete marker, which marks its absence.

    `etag` is without quotes; `headers` are the system headers by botocore's member name (`CacheControl`). `upload_id`
    is None unless the object was uploaded in parts.

    `version` is S3's id, or `null` if the bucket did not make ids. `sequence` orders a key's versions: a new version
    has a greater one than all versions before. Exactly one version of a key is the `latest`.

    An archived object can be read until `restored_until`.
    """

    bucket: str
    key: str
    size: int
    etag: str
    modified: datetime
    content_type: str = "binary/octet-stream"
    headers: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    checksums: dict[str, str] = field(default_factory=dict)
    checksum_type: str = "FULL_OBJECT"
    tags: dict[str, str] = field(default_factory=dict)
    upload_id: str | None = None
    sequence: int = 0
    version: str = "null"
    latest: bool = True
    delete_marker: bool = False
    acl: tuple[AclGrant, ...] | None = None
    storage_class: str = STANDARD
    restored_until: datetime | None = None


@dataclass(frozen=True)
class Object(ObjectVersion):
    """A version with its bytes, and with the parts that it was uploaded in. There may be 10,000 of both, which take a
    quarter of a second to read: so decisions about a version are made without them.

    A file belongs to one object only: a copy gets its own hard links.
    """

    extents: tuple[Extent, ...] = ()
    parts: tuple[ObjectPart, ...] = ()


@dataclass(frozen=True)
class Upload:
    """A multipart upload in progress. Ids sort by the time the upload was started."""

    id: str
    bucket: str
    key: str
    started: datetime
    initiator: str
    content_type: str = "binary/octet-stream"
    headers: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    checksum_algorithm: str | None = None
    checksum_type: str = "FULL_OBJECT"
    tags: dict[str, str] = field(default_factory=dict)
    deletions: int = 0
    """Of the key, when the upload was started."""
    acl: tuple[AclGrant, ...] | None = None
    storage_class: str = STANDARD


@dataclass(frozen=True)
class Part:
    """A part that has arrived; `md5` is hex and is the part's ETag (see Spool)."""

    upload_id: str
    number: int
    size: int
    md5: str
    modified: datetime
    extents: tuple[Extent, ...]
    checksums: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class BucketPolicy:
    """A bucket's own policy on who may use it; `document` as it was put."""

    bucket: str
    document: str
