"""Text of others on its way to a terminal, which would obey some of it."""

from __future__ import annotations


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
