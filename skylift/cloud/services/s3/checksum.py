"""Checksums of objects uploaded in parts, from the checksums of the parts: no byte is read again.

S3's user guide, "Checking object integrity", defines both kinds: COMPOSITE hashes the parts' checksums, FULL_OBJECT
is what the whole object would have, which the arithmetic of a CRC gives away.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NotRequired, TypedDict, cast

from skylift.cloud.domain.bucket import Extent, Spool
from skylift.cloud.store.content import read
from skylift.cloud.store.database import Tx

DEFAULT_ALGORITHM = "CRC64NVME"
"""S3 uses this for an object whose uploader chose none."""
ALGORITHMS = ("CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256", "SHA512", "MD5")


@dataclass(frozen=True)
class Crc:
    """A reflected CRC whose first and last exclusive-or is all ones; `polynomial` in reflected notation."""

    bits: int
    polynomial: int


CRCS = {"CRC32": Crc(32, 0xEDB88320), "CRC32C": Crc(32, 0x82F63B78), "CRC64NVME": Crc(64, 0x9A6C9329AC4BC9B5)}

TYPES = {
    "CRC32": ("COMPOSITE", "FULL_OBJECT"),
    "CRC32C": ("COMPOSITE", "FULL_OBJECT"),
    "CRC64NVME": ("FULL_OBJECT",),
    "SHA1": ("COMPOSITE",),
    "SHA256": ("COMPOSITE",),
    "SHA512": ("COMPOSITE",),
    "MD5": ("COMPOSITE",),
}
"""The checksum types of a multipart upload, the default first."""


class Checksums(TypedDict):
    """Checksums as requests and results carry them: a member for each of ALGORITHMS, in base64."""

    ChecksumCRC32: NotRequired[str]
    ChecksumCRC32C: NotRequired[str]
    ChecksumCRC64NVME: NotRequired[str]
    ChecksumSHA1: NotRequired[str]
    ChecksumSHA256: NotRequired[str]
    ChecksumSHA512: NotRequired[str]
    ChecksumMD5: NotRequired[str]


def member(algorithm: str) -> str:
    """The name of the parameter that carries it: `ChecksumCRC32`."""
    return f"Checksum{algorithm}"


def described_checksums(checksums: Mapping[str, str]) -> Checksums:
    return cast(Checksums, {member(algorithm): value for algorithm, value in checksums.items()})


def stated_checksums(params: Checksums) -> dict[str, str]:
    """The checksums that a request gives for its bytes, by algorithm."""
    given: Mapping[str, object] = params
    return {algorithm: str(given[member(algorithm)]) for algorithm in ALGORITHMS if member(algorithm) in given}


def etag_of_parts(md5s: Sequence[str]) -> str:
    """The ETag of a multipart object: the MD5 of its parts' MD5s, and how many they are."""
    return f"{hashlib.md5(b''.join(map(bytes.fromhex, md5s)), usedforsecurity=False).hexdigest()}-{len(md5s)}"


def composite(algorithm: str, checksums: Sequence[str]) -> str:
    """base64 of the checksum over the parts' checksums, and how many they are."""
    value = digest(algorithm, b"".join(map(base64.b64decode, checksums)))
    return f"{base64.b64encode(value).decode()}-{len(checksums)}"


def combined(algorithm: str, parts: Iterable[tuple[str, int]]) -> str:
    """The CRC of the whole from each part's CRC (base64) and size in bytes."""
    crc = CRCS[algorithm]
    total = 0
    for checksum, size in parts:
        # Appending `size` bytes multiplies what came before by x to the 8 * size.
        shifted = _multiply(_power(8 * size, crc), total, crc)
        total = shifted ^ int.from_bytes(base64.b64decode(checksum), "big")
    return base64.b64encode(total.to_bytes(crc.bits // 8, "big")).decode()


def digest(algorithm: str, data: bytes) -> bytes:
    """The checksum of a little data."""
    if algorithm in CRCS:
        crc = CRCS[algorithm]
        return _crc(data, crc).to_bytes(crc.bits // 8, "big")
    return hashlib.new(algorithm.lower(), data, usedforsecurity=False).digest()


@dataclass(frozen=True)
class Digested:
    """The digests of some bytes: MD5 in hex, and a checksum if one was asked for. `joined` is a file of them alone."""

    md5: str
    checksums: dict[str, str]
    joined: Spool | None = None


def digest_bytes(tx: Tx, extents: tuple[Extent, ...], algorithm: str | None) -> Digested:
    """Read bytes of objects for their digests, as long as that takes; those in several places are joined."""
    md5 = hashlib.md5(usedforsecurity=False)
    running = tx.checksum(algorithm) if algorithm is not None else None

    def chunks() -> Iterator[bytes]:
        for chunk in read(tx, extents):
            md5.update(chunk)
            if running is not None:
                running.update(chunk)
            yield chunk

    joined = tx.files.join(chunks()) if len(extents) > 1 else None
    for _ in chunks() if joined is None else ():
        pass
    checksums = {algorithm: base64.b64encode(running.digest()).decode()} if algorithm and running else {}
    return Digested(md5.hexdigest(), checksums, joined)


def _crc(data: bytes, crc: Crc) -> int:
    """Bit by bit: for the few bytes of a composite checksum only."""
    ones = (1 << crc.bits) - 1
    value = ones
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (crc.polynomial if value & 1 else 0)
    return value ^ ones


def _multiply(left: int, right: int, crc: Crc) -> int:
    """The product of two polynomials modulo the CRC's; the highest bit is the lowest power."""
    product = 0
    mask = 1 << (crc.bits - 1)
    while left:
        if left & mask:
            product ^= right
            left ^= mask
        mask >>= 1
        right = (right >> 1) ^ (crc.polynomial if right & 1 else 0)
    return product


@lru_cache(maxsize=64)
def _power(exponent: int, crc: Crc) -> int:
    """x to the `exponent`, by squaring."""
    result = 1 << (crc.bits - 1)
    square = 1 << (crc.bits - 2)
    while exponent:
        if exponent & 1:
            result = _multiply(square, result, crc)
        square = _multiply(square, square, crc)
        exponent >>= 1
    return result
