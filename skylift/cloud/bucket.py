"""Nouns of S3: buckets, objects and the files that hold their bytes."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True)
class Spool:
    """A request body, already on disk in the state directory's spool and verified against what the client signed.

    `file` is its name there (empty for a body that never was one), `md5` is hex, `checksums` are base64 by algorithm
    as S3 spells it (`CRC32`, `CRC32C`, `SHA1`, `SHA256`, `CRC64NVME`). The file's content is durable (fsynced).
    """

    file: str
    size: int
    md5: str
    checksums: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Extent:
    """`length` bytes of the file `file` in the state directory's `objects`, from `offset`."""

    file: str
    offset: int
    length: int


@dataclass(frozen=True)
class FileBody:
    """A streaming response body: extents to be sent one after the other.

    The files stay on disk for as long as this value is referenced, whatever happens to the object meanwhile.
    """

    extents: tuple[Extent, ...]

    @property
    def size(self) -> int:
        return sum(extent.length for extent in self.extents)


@dataclass(frozen=True)
class Bucket:
    """`owner` is the account."""

    name: str
    region: str
    created: datetime
    owner: str
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ObjectPart:
    """What is remembered of a part of a multipart upload once the object is complete."""

    number: int
    size: int
    checksums: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Object:
    """`etag` is without quotes; `headers` are the system headers by botocore's member name (`CacheControl`).

    A file belongs to one object only: a copy has links of its own. `parts` is empty unless the object was
    uploaded in parts.
    """

    bucket: str
    key: str
    size: int
    etag: str
    modified: datetime
    extents: tuple[Extent, ...]
    content_type: str = "binary/octet-stream"
    headers: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    checksums: dict[str, str] = field(default_factory=dict)
    checksum_type: str = "FULL_OBJECT"
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


@dataclass(frozen=True)
class Part:
    """A part that has arrived; `md5` is hex and is the part's ETag."""

    upload_id: str
    number: int
    size: int
    md5: str
    modified: datetime
    extents: tuple[Extent, ...]
    checksums: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class BucketPolicy:
    """What a bucket itself says about who may use it; `document` as it was put."""

    bucket: str
    document: str
