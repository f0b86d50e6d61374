"""The checksums that S3 clients send along with a body (the only importer of anycrc).

CRC32C and CRC64NVME are not in the standard library, and S3 clients send them for whole uploads (the AWS CLI's default
is CRC64NVME), so a table in Python, a thousand times slower than the disk, would not do. Of large pieces, CRC32 takes
half of the time that zlib takes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable

import anycrc

from skylift.cloud.domain.bucket import RunningChecksum


class _Crc:
    """A CRC over pieces; `step` continues from the value of the pieces before."""

    def __init__(self, step: Callable[[bytes | memoryview, int], int], width: int) -> None:
        self._step = step
        self._width = width
        self._value = 0

    def update(self, data: bytes | memoryview, /) -> None:
        if data:
            self._value = self._step(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._width, "big")


_crc32 = anycrc.Model("CRC32")
_crc32c = anycrc.Model("CRC32-ISCSI")
_crc64nvme = anycrc.Model("CRC64-NVME")

_ALGORITHMS: dict[str, Callable[[], RunningChecksum]] = {
    "CRC32": lambda: _Crc(_crc32.calc, 4),
    "CRC32C": lambda: _Crc(_crc32c.calc, 4),
    "CRC64NVME": lambda: _Crc(_crc64nvme.calc, 8),
    "SHA1": lambda: hashlib.sha1(usedforsecurity=False),
    "SHA256": hashlib.sha256,
    "SHA512": hashlib.sha512,
    "MD5": lambda: hashlib.md5(usedforsecurity=False),
}

HEADER = "x-amz-checksum-"
"""Prefix of the headers and trailers that carry a checksum: `x-amz-checksum-crc32c`."""

_NOT_A_CHECKSUM = {"mode", "type", "algorithm"}
"""The rest of the names of headers that describe checksums and carry none."""


def algorithm_in(header: str) -> str | None:
    """The algorithm, in lower case, of the checksum that a header of this name carries; None if it carries none."""
    short = header.removeprefix(HEADER)
    return None if short == header or short in _NOT_A_CHECKSUM else short


def known(algorithm: str) -> bool:
    return algorithm in _ALGORITHMS


def start(algorithm: str) -> RunningChecksum:
    """A new running checksum; `algorithm` as S3 spells it in capitals. KeyError if it is not `known`."""
    return _ALGORITHMS[algorithm]()


def encoded(checksum: RunningChecksum) -> str:
    """base64 of the big-endian digest, which is how S3 writes every checksum."""
    return base64.b64encode(checksum.digest()).decode("ascii")
