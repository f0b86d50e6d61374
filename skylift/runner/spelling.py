"""How an option is called by whoever reads of it: `--max-time` on the command line, `max_time` in Python.

A text has `{max_time}` for the name, `{on:aws}` for the name with a value, and `{text}` for what is given for it. That
is put in as it is, whatever it looks like.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from string import Formatter
from typing import Any

Spelling = Callable[[str, str], str]
"""An option's name as it is in Python, and a value or nothing: as people read it."""

_SHORT = {"interactive": "-it"}
"""Where everybody uses the short word."""


def command_line(name: str, value: str = "") -> str:
    word = _SHORT.get(name) or f"--{name.rstrip('_').replace('_', '-')}"
    return f"{word} {value}" if value else word


def python(name: str, value: str = "") -> str:
    return f"{name}={value!r}" if value else name


def spell(text: str, spelling: Spelling, given: Mapping[str, Any]) -> str:
    return Formatter().vformat(text, (), _Names(spelling, given))


class _Names(dict[str, Any]):
    """What is given, and an option for every other name."""

    def __init__(self, spelling: Spelling, given: Mapping[str, Any]) -> None:
        super().__init__(given)
        self._spelling = spelling

    def __missing__(self, name: str) -> _Named:
        return _Named(name, self._spelling)


class _Named:
    def __init__(self, name: str, spelling: Spelling) -> None:
        self._name, self._spelling = name, spelling

    def __format__(self, value: str) -> str:
        return self._spelling(self._name, value)
