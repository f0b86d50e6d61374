"""CBOR documents (RFC 8949), as far as AWS's RPC protocol uses them.

What comes in is bounded by its own length: no item says how much room it wants and gets it before it is there.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

DEEPEST = 64
"""Documents of AWS's shapes are a dozen deep; a deeper one is meant to exhaust the stack."""

_ENDLESS = 31
_BREAK = 0xFF
_SIMPLE = {20: False, 21: True, 22: None, 23: None}
_FLOATS = {25: struct.Struct(">e"), 26: struct.Struct(">f"), 27: struct.Struct(">d")}
_LENGTHS = {24: 1, 25: 2, 26: 4, 27: 8}
_MOMENT = 1
"""The tag of seconds since 1970."""


def loads(data: bytes) -> Any:
    """The one item that `data` is. ValueError when it is none, or more than one."""
    reader = _Reader(data)
    found = reader.item(0)
    if not reader.at_end:
        raise ValueError("something follows the document")
    return found


def dumps(value: Any) -> bytes:
    out = bytearray()
    _write(value, out)
    return bytes(out)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def at_end(self) -> bool:
        return self._at == len(self._data)

    def item(self, depth: int) -> Any:
        if depth > DEEPEST:
            raise ValueError("nested too deeply")
        kind, info = divmod(self._take(1)[0], 32)
        match kind:
            case 0:
                return self._number(info)
            case 1:
                return -1 - self._number(info)
            case 2:
                return self._bytes(kind, info)
            case 3:
                return self._bytes(kind, info).decode("utf-8")
            case 4:
                return self._several(info, lambda: self.item(depth + 1))
            case 5:
                return self._map(info, depth)
            case 6:
                return self._tagged(info, depth)
            case _:
                return self._simple(info)

    def _take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._data):
            raise ValueError("it ends in the middle of an item")
        found = self._data[self._at : end]
        self._at = end
        return found

    def _number(self, info: int) -> int:
        if info < 24:
            return info
        if info not in _LENGTHS:
            raise ValueError(f"a number of length {info}")
        return int.from_bytes(self._take(_LENGTHS[info]), "big")

    def _bytes(self, kind: int, info: int) -> bytes:
        if info != _ENDLESS:
            return self._take(self._number(info))
        return b"".join(self._several(info, lambda: self._chunk(kind)))

    def _chunk(self, kind: int) -> bytes:
        """A piece of a text or bytes whose length was not known: of the same kind, and of a known length itself."""
        found, info = divmod(self._take(1)[0], 32)
        if found != kind:
            raise ValueError("a piece of another kind")
        return self._take(self._number(info))

    def _several(self, info: int, one: Callable[[], Any]) -> list[Any]:
        if info != _ENDLESS:
            return [one() for _ in range(self._number(info))]
        found = []
        while not self._ends():
            found.append(one())
        return found

    def _ends(self) -> bool:
        ended = self._take(1)[0] == _BREAK
        if not ended:
            self._at -= 1
        return ended

    def _map(self, info: int, depth: int) -> dict[str, Any]:
        pairs = self._several(info, lambda: (self.item(depth + 1), self.item(depth + 1)))
        if not all(isinstance(key, str) for key, _ in pairs):
            raise ValueError("a key that is no text")
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a name occurs more than once")
        return found

    def _tagged(self, info: int, depth: int) -> datetime:
        tag, value = self._number(info), self.item(depth + 1)
        if tag != _MOMENT or isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"tag {tag} on {type(value).__name__}")
        try:
            return datetime.fromtimestamp(value, UTC)
        except (OverflowError, OSError):
            raise ValueError("seconds since 1970 that are no date") from None

    def _simple(self, info: int) -> Any:
        if info in _SIMPLE:
            return _SIMPLE[info]
        if info not in _FLOATS:
            raise ValueError(f"a simple value {info}")
        form = _FLOATS[info]
        return form.unpack(self._take(form.size))[0]


def _write(value: Any, out: bytearray) -> None:
    match value:
        case None:
            out.append(0xF6)
        case bool():
            out.append(0xF5 if value else 0xF4)
        case int():
            _head(0 if value >= 0 else 1, value if value >= 0 else -1 - value, out)
        case float():
            out.append(0xFB)
            out += _FLOATS[27].pack(value)
        case str():
            encoded = value.encode("utf-8", "replace")
            _head(3, len(encoded), out)
            out += encoded
        case bytes():
            _head(2, len(value), out)
            out += value
        case datetime():
            _head(6, _MOMENT, out)
            _write(_seconds(value), out)
        case dict():
            _head(5, len(value), out)
            for key, item in value.items():
                _write(key, out)
                _write(item, out)
        case list():
            _head(4, len(value), out)
            for item in value:
                _write(item, out)
        case _:
            raise TypeError(f"{type(value).__name__} has no form in CBOR")


def _head(kind: int, number: int, out: bytearray) -> None:
    """An item's kind with its value or length, in as few bytes as there are."""
    if number < 24:
        out.append(kind * 32 + number)
        return
    for info, length in _LENGTHS.items():
        if number < 1 << 8 * length:
            out.append(kind * 32 + info)
            out += number.to_bytes(length, "big")
            return
    raise TypeError(f"{number} is longer than 64 bits")


def _seconds(moment: datetime) -> int | float:
    """AWS writes milliseconds."""
    seconds = round(moment.timestamp(), 3)
    return int(seconds) if math.floor(seconds) == seconds else seconds
