"""Which bytes of an object a request asks for: a Range header, or one part of a multipart object."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from skylift.cloud.domain.bucket import Extent, Object
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.services.s3.error import invalid_range, invalid_request

if TYPE_CHECKING:
    from aws_shapes import s3

_RANGE = re.compile(r"bytes=(?:(\d{1,19})-(\d{0,19})|-(\d{1,19}))", re.ASCII)


@dataclass(frozen=True)
class Slice:
    """`length` bytes from `start`. `part` is whether it is a whole part; `checksums` are that part's."""

    start: int
    length: int
    part: bool = False
    checksums: dict[str, str] = field(default_factory=dict)

    def content_range(self, size: int) -> str:
        return f"bytes {self.start}-{self.start + self.length - 1}/{size}"


def requested(params: s3.GetObjectRequest | s3.HeadObjectRequest, found: Object) -> Slice | None:
    """The slice a request asks for; None for the whole object. Raises InvalidRange, InvalidPartNumber."""
    asked, number = params.get("Range"), params.get("PartNumber")
    if asked is not None and number is not None:
        raise invalid_request("Cannot specify both Range header and partNumber query parameter")
    if number is not None:
        return _part(number, found)
    return None if asked is None else parse_range(asked, found.size)


def parse_range(asked: str, size: int) -> Slice | None:
    """A Range header's slice; None when it is none that S3 reads (RFC 9110 has such headers ignored)."""
    matched = _RANGE.fullmatch(asked.strip())
    if not matched:
        return None
    first, last, suffix = matched.groups()
    if suffix is not None:
        length = min(int(suffix), size)
        if length == 0:
            raise invalid_range(asked, size)
        return Slice(size - length, length)
    start, end = int(first), int(last) if last else size - 1
    if last and end < start:
        return None
    if start >= size:
        raise invalid_range(asked, size)
    return Slice(start, min(end, size - 1) - start + 1)


def cut(extents: tuple[Extent, ...], start: int, length: int) -> tuple[Extent, ...]:
    """The extents that hold `length` bytes from `start`."""
    return tuple(_cut(extents, start, start + length))


def _cut(extents: tuple[Extent, ...], start: int, end: int) -> Iterator[Extent]:
    position = 0
    for extent in extents:
        first, last = max(start, position), min(end, position + extent.length)
        if first < last:
            yield replace(extent, offset=extent.offset + first - position, length=last - first)
        position += extent.length


def _part(number: int, found: Object) -> Slice:
    """An object that was not uploaded in parts is its own first part."""
    if not found.parts and number == 1:
        return Slice(0, found.size, part=True, checksums=found.checksums)
    start = 0
    for part in found.parts:
        if part.number == number:
            return Slice(start, part.size, part=True, checksums=part.checksums)
        start += part.size
    raise ServiceError(
        "InvalidPartNumber",
        "The requested partnumber is not satisfiable",
        status=416,
        PartNumberRequested=str(number),
        ActualPartCount=str(len(found.parts) or 1),
    )
