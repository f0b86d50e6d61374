from __future__ import annotations

import base64
import hashlib
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylift.cloud.services.s3.checksum import CRCS, combined, composite, digest, etag_of_parts


def encoded(value: bytes) -> str:
    return base64.b64encode(value).decode()


@pytest.mark.parametrize(
    ("algorithm", "check"), [("CRC32", "cbf43926"), ("CRC32C", "e3069283"), ("CRC64NVME", "ae8b14860a799888")]
)
def test_the_check_values_of_the_crc_catalogue(algorithm: str, check: str) -> None:
    assert digest(algorithm, b"123456789").hex() == check


@given(st.binary())
def test_crc32_is_zlibs(data: bytes) -> None:
    assert digest("CRC32", data) == zlib.crc32(data).to_bytes(4, "big")


@pytest.mark.parametrize("algorithm", CRCS)
@given(st.lists(st.binary(max_size=40), min_size=1, max_size=5))
def test_the_crc_of_the_whole_follows_from_its_parts(algorithm: str, parts: list[bytes]) -> None:
    known = [(encoded(digest(algorithm, part)), len(part)) for part in parts]
    assert combined(algorithm, known) == encoded(digest(algorithm, b"".join(parts)))


def test_large_parts() -> None:
    data = bytes(range(256)) * 50_000
    parts = [data[:8_000_000], data[8_000_000:]]
    known = [(encoded(zlib.crc32(part).to_bytes(4, "big")), len(part)) for part in parts]
    assert combined("CRC32", known) == encoded(zlib.crc32(data).to_bytes(4, "big"))


def test_composite_checksums() -> None:
    hashes = [hashlib.sha256(part).digest() for part in (b"a", b"b")]
    expected = encoded(hashlib.sha256(b"".join(hashes)).digest()) + "-2"
    assert composite("SHA256", [encoded(one) for one in hashes]) == expected


def test_etag_of_parts() -> None:
    md5s = [hashlib.md5(part) for part in (b"a", b"b", b"c")]
    expected = hashlib.md5(b"".join(one.digest() for one in md5s)).hexdigest() + "-3"
    assert etag_of_parts([one.hexdigest() for one in md5s]) == expected
