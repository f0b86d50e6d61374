"""Text to Python values, for every protocol that carries text."""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable
from typing import Any

from skylift.cloud.wire import timestamp
from skylift.cloud.wire.unreadable import Unreadable

_BOOLEANS = {"true": True, "false": False, "1": True, "0": False}
_WHOLE = re.compile("[+-]?[0-9]{1,19}")
_FLOATS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def string(text: str) -> str:
    return text


def boolean(text: str) -> bool:
    try:
        return _BOOLEANS[text.strip().lower()]
    except KeyError:
        raise Unreadable(f"Invalid value '{text}'; must be true or false") from None


def _whole(bits: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not _WHOLE.fullmatch(text.strip()) or not -(2 ** (bits - 1)) <= int(text) < 2 ** (bits - 1):
            raise Unreadable(f"Invalid value '{text}'; must be a whole number of {bits} bits")
        return int(text)

    return read


def floating(text: str) -> float:
    try:
        return _FLOATS[text] if text in _FLOATS else float(text)
    except ValueError:
        raise Unreadable(f"Invalid value '{text}'; must be a number") from None


def moment(text: str) -> Any:
    try:
        return timestamp.parse(text)
    except (ValueError, OverflowError):
        raise Unreadable(f"Invalid value '{text}'; must be a date like 2026-11-25T08:30:00Z") from None


def blob(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Unreadable("Invalid value; must be base64") from None


READERS: dict[str, Callable[[str], Any]] = {
    "string": string,
    "character": string,
    "boolean": boolean,
    "integer": _whole(32),
    "long": _whole(64),
    "float": floating,
    "double": floating,
    "timestamp": moment,
    "blob": blob,
}
