"""Making control characters in other people's text visible, before a terminal gets it."""

from __future__ import annotations

import os

_LONGEST = 200


def visible(text: str) -> str:
    """The text with each character escaped that moves, hides, colours or reorders what a terminal shows: control
    characters including newlines, direction marks, characters without width, and surrogates. Names, states and messages
    come from servers, tags and API answers, and may have any of these."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def visible_lines(text: str) -> list[str]:
    """The same for each line of a text."""
    return [visible(line) for line in text.split("\n")]


def shown(name: str | os.PathLike[str]) -> str:
    """A name from somebody else, for a message: with control characters visible, and cut to a line or two."""
    text = visible(os.fspath(name))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]}...{text[-_LONGEST // 2 :]}"
