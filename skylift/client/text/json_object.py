"""Parsing JSON from others: each field is checked for what it must be, or refused with the reason."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, TypeVar

from skylift.contract.document import Malformed, as_integer, as_moment, as_number, parse_json, shown

T = TypeVar("T")


def parse_object(data: bytes, most: int) -> JsonObject:
    return as_object(parse_json(data, most), "it")


def as_object(value: object, name: str) -> JsonObject:
    if not isinstance(value, dict):
        raise Malformed(f"{name} is not an object")
    return JsonObject(value)


class JsonObject:
    """A JSON object. Each method returns a field of one type, or None when it is missing or null, and raises Malformed
    when it is anything else. Fields that are not read are dropped, whatever they are."""

    def __init__(self, content: dict[str, Any]) -> None:
        self._content = content

    @property
    def content(self) -> dict[str, Any]:
        """The object as it came, for code that only passes it on."""
        return self._content

    def text(self, name: str, most: int, form: re.Pattern[str] | None = None) -> str | None:
        """A text of at most `most` characters, which matches `form` if there is one."""
        value = self._content.get(name)
        if value is None:
            return None
        if not isinstance(value, str):
            raise Malformed(f"`{name}` is not text")
        if len(value) > most:
            raise Malformed(f"`{name}` has more than {most} characters")
        if form is not None and form.fullmatch(value) is None:
            raise Malformed(f"`{name}` cannot be {shown(value)}")
        return value

    def one_of(self, name: str, words: Collection[str]) -> str | None:
        value = self.text(name, 64)
        if value is not None and value not in words:
            raise Malformed(f"`{name}` cannot be {shown(value)}")
        return value

    def moment(self, name: str) -> str | None:
        """A time in UTC, like 2026-01-31T12:00:00.000Z, from 1970 on."""
        value = self._content.get(name)
        return None if value is None else as_moment(f"`{name}`", value)

    def integer(self, name: str, low: int, high: int) -> int | None:
        value = self._content.get(name)
        return None if value is None else as_integer(value, f"`{name}`", low, high)

    def number(self, name: str, low: float, high: float) -> float | None:
        """A number, which may be an integer."""
        value = self._content.get(name)
        return None if value is None else as_number(value, f"`{name}`", low, high)

    def flag(self, name: str) -> bool:
        """False where it is missing."""
        value = self._content.get(name)
        if value is not None and not isinstance(value, bool):
            raise Malformed(f"`{name}` is neither true nor false")
        return bool(value)

    def inner(self, name: str) -> JsonObject | None:
        value = self._content.get(name)
        return None if value is None else as_object(value, f"`{name}`")

    def list(self, name: str, most: int) -> list[Any]:
        """A list of at most `most` items; empty when it is missing."""
        value = self._content.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise Malformed(f"`{name}` is not a list")
        if len(value) > most:
            raise Malformed(f"`{name}` has more than {most} entries")
        return value

    def texts(self, name: str, most: int, longest: int) -> tuple[str, ...]:
        """A list of at most `most` texts of at most `longest` characters each."""
        found = self.list(name, most)
        if not all(isinstance(each, str) and len(each) <= longest for each in found):
            raise Malformed(f"`{name}` is not a list of texts of at most {longest} characters")
        return tuple(found)


def given(value: T | None, name: str) -> T:
    """The value of a required field. Raises Malformed when it is missing."""
    if value is None:
        raise Malformed(f"`{name}` is missing")
    return value
