"""User-defined metadata on its way in and out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.services.s3.metadata import described_metadata, parse_metadata

ALSO = "".join(map(chr, range(0x20, 0x7F)))


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        ("=?UTF-8?Q?actually-ascii?=", "actually-ascii"),
        ("=?UTF-8?B?YWJj?=", "abc"),
        ("\N{LATIN CAPITAL LETTER A WITH DIAERESIS}_ S3=?", "=?UTF-8?Q?=C3=84=5F_S3=3D=3F?="),
        ("=?UTF-8?B?w4Q=?=", "=?UTF-8?Q?=C3=84?="),
        ("=?UTF-8?B?AAECAw==?=", "=?UTF-8?B?AAECAw==?="),
        ("\N{REPLACEMENT CHARACTER}", "=?UTF-8?B?77+9?="),
        ("=?UTF-8?Q?a=0D=0AX-Evil:_1?=", "=?UTF-8?B?YQ0KWC1FdmlsOiAx?="),
        (ALSO, ALSO),
        ("=?nosuch?Q?a?=", "=?nosuch?Q?a?="),
        ("=?UTF-8?B?=GGG?=", "=?UTF-8?B?=GGG?="),
    ],
)
def test_what_comes_back(sent: str, answered: str) -> None:
    """As recorded on AWS in `test_user_metadata_rfc2047_encoded` of LocalStack's test_s3.snapshot.json; of words that
    cannot be decoded S3 returns bytes without a meaning, and this cloud what it was sent."""
    assert described_metadata(parse_metadata({"Name": sent})) == {"name": answered}


@given(st.text(max_size=40))
def test_a_header_can_carry_each(value: str) -> None:
    kept = parse_metadata({"name": value})
    told = described_metadata(kept)["name"]
    assert told.isascii() and not set(told) & set("\r\n\0")
    if "=?" not in value:
        assert parse_metadata({"name": told}) == kept


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(ServiceError) as refused:
        parse_metadata({"name": "\udcff"})
    assert (refused.value.code, refused.value.status) == ("InvalidArgument", 400)
