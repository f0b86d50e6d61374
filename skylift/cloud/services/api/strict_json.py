"""JSON and base64 from strangers: each name once, numbers that are numbers, text that can be written."""

from __future__ import annotations

import base64
import json
import math
import re
from typing import Any, NoReturn

_BASE64URL = re.compile(r"[A-Za-z0-9_-]+")


class NotJson(ValueError):
    """Why a text is not what it should be, in a few words."""


def json_object(text: str | bytes) -> dict[str, Any]:
    """Raises NotJson: a name that stands twice would be read differently by others."""
    try:
        content = json.loads(text, object_pairs_hook=_each_once, parse_constant=_no_constant, parse_float=_finite)
    except RecursionError:
        raise NotJson("it is nested too deeply") from None
    except NotJson:
        raise
    except json.JSONDecodeError as error:
        raise NotJson(f"{error.msg} at line {error.lineno}, column {error.colno}") from None
    except ValueError:
        # No UTF-8, or a number of thousands of digits.
        raise NotJson("it has bytes or numbers that cannot be read") from None
    if not isinstance(content, dict):
        raise NotJson("it is another kind of value")
    return content


def base64url(text: str) -> bytes:
    """Base64 in its alphabet for URLs and without padding, as tokens and keys have it; raises ValueError."""
    if not _BASE64URL.fullmatch(text):
        raise ValueError("no base64url")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise NotJson("a name occurs twice in one object")
    for name, value in pairs:
        for one in (name, *(value if isinstance(value, list) else [value])):
            if isinstance(one, str) and not one.isascii():
                _written(one)
    return content


def _written(text: str) -> None:
    """Half of a surrogate pair can be spelled in JSON, and in no encoding."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise NotJson("it has text that is no Unicode") from None


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise NotJson("it has a number that is too large")
    return number


def _no_constant(_name: str) -> NoReturn:
    raise NotJson("it has a number that is none")
