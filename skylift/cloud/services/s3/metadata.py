"""User-defined metadata. HTTP carries it as ASCII: what is more is written as RFC 2047's encoded words.

Sources: the S3 user guide's "Working with object metadata"; which characters are written how was recorded on AWS in
`test_user_metadata_rfc2047_encoded` of LocalStack's tests/aws/services/s3/test_s3.snapshot.json.
"""

from __future__ import annotations

import base64
import unicodedata
from collections.abc import Mapping
from email.errors import HeaderParseError
from email.header import decode_header

from skylift.cloud.domain.error import ServiceError

MOST = 2048
"""The most bytes of names and values together."""
_AS_THEY_ARE = frozenset(map(chr, range(0x21, 0x7F))) - set("=?_")
"""Characters that need no escape in an encoded word."""


def parse_metadata(given: Mapping[str, str]) -> dict[str, str]:
    """Metadata as it is kept: names in small letters, values decoded. Raises MetadataTooLarge, InvalidArgument."""
    metadata = {name.lower(): _decoded(value) for name, value in given.items()}
    try:
        size = sum(len(name.encode()) + len(value.encode()) for name, value in metadata.items())
    except UnicodeEncodeError:
        raise ServiceError("InvalidArgument", "The metadata is not UTF-8.", status=400) from None
    if size > MOST:
        raise ServiceError(
            "MetadataTooLarge",
            "Your metadata headers exceed the maximum allowed metadata size",
            status=400,
            Size=str(size),
            MaxSizeAllowed=str(MOST),
        )
    return metadata


def described_metadata(kept: Mapping[str, str]) -> dict[str, str]:
    """Metadata as headers carry it."""
    return {name: _encoded(value) for name, value in kept.items()}


def _decoded(value: str) -> str:
    if "=?" not in value:
        return value
    try:
        return "".join(
            part if isinstance(part, str) else part.decode(charset or "ascii") for part, charset in decode_header(value)
        )
    except (HeaderParseError, LookupError, ValueError):
        # It only looks like an encoded word.
        return value


def _encoded(value: str) -> str:
    if value.isascii() and (value.isprintable() or all(each.isprintable() or each == "\t" for each in value)):
        return value
    if any(each == "\N{REPLACEMENT CHARACTER}" or unicodedata.category(each).startswith("C") for each in value):
        return f"=?UTF-8?B?{base64.b64encode(value.encode()).decode()}?="
    return f"=?UTF-8?Q?{''.join(map(_escaped, value))}?="


def _escaped(character: str) -> str:
    if character == " ":
        return "_"
    return character if character in _AS_THEY_ARE else "".join(f"={byte:02X}" for byte in character.encode())
