"""Wildcards, matched in a time that no pattern can blow up: `*` is any text, `?` any character.

Every wildcard that a caller may send is matched here, whichever service it is sent to. One regular expression for all
of it (`.*` for each star) would try the places of all stars together, and hold the interpreter while it does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

Piece = tuple[str, bool]
"""Text, and whether its `*` and `?` are wildcards or literal."""

LONGEST_KEPT = 512
_ARN_PARTS = 6


@dataclass(frozen=True)
class Segment:
    """The text between two stars. It has one length, so that it fits at a place in one way only.

    `expression` is for a segment with a `?`; other segments are plain text.
    """

    text: str
    expression: re.Pattern[str] | None

    def begins(self, text: str) -> bool:
        return text.startswith(self.text) if self.expression is None else self.expression.match(text) is not None

    def ends(self, text: str) -> bool:
        if self.expression is None:
            return text.endswith(self.text)
        return self.expression.match(text, len(text) - len(self.text)) is not None

    def find(self, text: str, place: int, end: int) -> int:
        """The leftmost place between these two where it fits; -1 if there is none."""
        if self.expression is None:
            return text.find(self.text, place, end)
        found = self.expression.search(text, place, end)
        return -1 if found is None else found.start()


class Wildcard:
    """A pattern that is read: its segments, with a star between each two."""

    def __init__(self, segments: list[Segment]) -> None:
        self._first, *between = segments
        self._last = between.pop() if between else None
        self._between = [segment for segment in between if segment.text]
        self._shortest = sum(len(segment.text) for segment in segments)

    def matches(self, text: str) -> bool:
        """Whether the whole text matches. Of the places where a segment fits, the leftmost is always good enough."""
        if self._last is None:
            return len(text) == self._shortest and self._first.begins(text)
        if len(text) < self._shortest or not self._first.begins(text) or not self._last.ends(text):
            return False
        place, end = len(self._first.text), len(text) - len(self._last.text)
        for segment in self._between:
            found = segment.find(text, place, end)
            if found < 0:
                return False
            place = found + len(segment.text)
        return True


class ArnWildcard:
    """The six parts of an ARN, each matched for itself: a star stays within its part, but for the last."""

    def __init__(self, parts: list[Wildcard]) -> None:
        self._parts = parts

    def matches(self, text: str) -> bool:
        parts = text.split(":", _ARN_PARTS - 1)
        return len(parts) == len(self._parts) and all(
            wanted.matches(part) for wanted, part in zip(self._parts, parts, strict=True)
        )


def wildcard(pieces: tuple[Piece, ...]) -> Wildcard:
    """What matches these pieces, one after the other."""
    return _kept(pieces) if _is_short(pieces) else _read(_characters(pieces))


def arn_wildcard(pieces: tuple[Piece, ...]) -> ArnWildcard:
    """Whether an ARN matches, by the rules of ArnLike and the Resource element."""
    return _kept_arn(pieces) if _is_short(pieces) else _read_arn(pieces)


def _is_short(pieces: tuple[Piece, ...]) -> bool:
    """Whether to keep it for the next request: long ones, which hardly come twice, would fill the memory."""
    return sum(len(text) for text, _ in pieces) <= LONGEST_KEPT


@lru_cache(maxsize=1024)
def _kept(pieces: tuple[Piece, ...]) -> Wildcard:
    return _read(_characters(pieces))


@lru_cache(maxsize=1024)
def _kept_arn(pieces: tuple[Piece, ...]) -> ArnWildcard:
    return _read_arn(pieces)


def _read_arn(pieces: tuple[Piece, ...]) -> ArnWildcard:
    parts: list[list[Piece]] = [[]]
    for character, wild in _characters(pieces):
        if character == ":" and len(parts) < _ARN_PARTS:
            parts.append([])
        else:
            parts[-1].append((character, wild))
    return ArnWildcard([_read(part) for part in parts])


def _characters(pieces: tuple[Piece, ...]) -> list[Piece]:
    return [(character, wild) for text, wild in pieces for character in text]


def _read(characters: list[Piece]) -> Wildcard:
    segments: list[list[Piece]] = [[]]
    for character, wild in characters:
        if wild and character == "*":
            segments.append([])
        else:
            segments[-1].append((character, wild))
    return Wildcard([_segment(each) for each in segments])


def _segment(characters: list[Piece]) -> Segment:
    text = "".join(character for character, _ in characters)
    if ("?", True) not in characters:
        return Segment(text, None)
    expression = "".join("." if each == ("?", True) else re.escape(each[0]) for each in characters)
    return Segment(text, re.compile(expression, re.DOTALL))
