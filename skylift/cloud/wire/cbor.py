"""CBOR documents (RFC 8949), as far as AWS's RPC protocol uses them.

cbor2 reads and writes them. It knows tags for regular expressions, e-mails, references to other items and more. Only
the timestamp tag is accepted; all others are refused before their value is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from io import BytesIO
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from cbor2 import CBOREncoder

DEEPEST = 64
"""The most levels of a document. AWS's shapes have a dozen; a deeper document is meant to exhaust the stack. The limit
of its length is where bodies are received; no item gets more room than its bytes take.
"""

_MOMENT = 1
"""The tag of seconds since 1970."""


def loads(data: bytes) -> Any:
    """The single item in `data`. ValueError if there is none, or more than one."""
    # Only clients that speak CBOR need it; the start of the cloud does not.
    from cbor2 import CBORDecodeEOF, CBORDecodeError, CBORDecoder  # noqa: PLC0415

    decoder = CBORDecoder(
        BytesIO(data),
        semantic_decoders=_Tags(),
        max_depth=DEEPEST,
        allow_duplicate_keys=False,
        strict_hashable_types=True,
    )
    try:
        found = _plain(decoder.decode())
    except CBORDecodeError as error:
        raise ValueError(str(error.__cause__ or error)) from error
    try:
        decoder.read(1)
    except CBORDecodeEOF:
        return found
    raise ValueError("bytes follow the document")


def dumps(value: Any) -> bytes:
    """Fractions take eight bytes, times have milliseconds. TypeError for a value that CBOR cannot represent here."""
    from cbor2 import CBOREncodeError  # noqa: PLC0415
    from cbor2 import dumps as write  # noqa: PLC0415

    try:
        return write(value, encoders={datetime: _write_moment, str: _write_text})
    except CBOREncodeError as error:
        raise TypeError(str(error)) from error


class _Tags(Mapping[int, Callable[[Any, bool], datetime]]):
    """The reader of every tag: all of them but one are refused."""

    def __getitem__(self, tag: int) -> Callable[[Any, bool], datetime]:
        return _read_moment if tag == _MOMENT else _refuse_tag

    def __iter__(self) -> Iterator[int]:
        return iter((_MOMENT,))

    def __len__(self) -> int:
        return 1


def _refuse_tag(value: Any, _immutable: bool) -> NoReturn:
    raise ValueError(f"a tag that is not a timestamp's, on {type(value).__name__}")


def _read_moment(value: Any, _immutable: bool) -> datetime:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"a timestamp that is {type(value).__name__}")
    try:
        return datetime.fromtimestamp(value, UTC)
    except (OverflowError, OSError, ValueError):
        raise ValueError("a timestamp that is not a date") from None


def _plain(value: Any) -> Any:
    """The same value, undefined items as None. ValueError for keys and items that no shape of AWS's has."""
    from cbor2 import undefined  # noqa: PLC0415

    match value:
        case dict():
            if not all(isinstance(key, str) for key in value):
                raise ValueError("a key that is not text")
            return {key: _plain(item) for key, item in value.items()}
        case list():
            return [_plain(item) for item in value]
        case None | bool() | int() | float() | str() | bytes() | datetime():
            return value
        case _ if value is undefined:
            return None
        case _:
            raise ValueError("a simple value that is not known")


def _write_moment(encoder: CBOREncoder, moment: datetime) -> None:
    seconds = round(moment.timestamp(), 3)
    encoder.encode_semantic(_MOMENT, int(seconds) if seconds.is_integer() else seconds)


def _write_text(encoder: CBOREncoder, text: str) -> None:
    encoder.encode_string(text.encode("utf-8", "replace").decode())
