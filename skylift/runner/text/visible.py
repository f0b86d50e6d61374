"""Text of others on its way to a terminal, which would obey some of it."""

from __future__ import annotations

import os

_LONGEST = 200


def visible(text: str) -> str:
    """The same, with each character that moves, hides, colours or reorders what a terminal shows written out: control
    characters with the end of a line among them, marks of direction, what has no width, and what is no character.
    Names, states and messages come from servers, tags and answers of APIs, and may hold any of these."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def visible_lines(text: str) -> list[str]:
    """Of a text that may have several lines of its own."""
    return [visible(line) for line in text.split("\n")]


def shown(name: str | os.PathLike[str]) -> str:
    """A name that somebody else chose, as it may stand in a message: visible, and not longer than a line or two."""
    text = visible(os.fspath(name))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]}...{text[-_LONGEST // 2 :]}"
