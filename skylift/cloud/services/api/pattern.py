"""Wildcards and policy variables of IAM policies: `*` is any text, `?` any character, `${aws:userid}` the caller's.

Shapes follow the IAM user guide's chapters on the Resource element, policy variables and the ARN condition operators.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from skylift.cloud.services.api.wildcard import Piece, arn_wildcard, wildcard

Resolve = Callable[[str], str | None]
"""The value of a policy variable; None when the request has none (or more than one)."""

_PLAIN = re.compile(r"[^*?]*\*?", re.DOTALL)


@dataclass(frozen=True)
class Variable:
    """`default` is what stands in when the request has no such key."""

    key: str
    default: str | None

    def resolve(self, resolve: Resolve) -> str | None:
        found = resolve(self.key)
        return self.default if found is None else found


@dataclass(frozen=True)
class Pattern:
    """Text as a policy has it, cut at its variables: odd pieces are variables, even ones plain text."""

    pieces: tuple[str | Variable, ...]

    def matches(self, value: str, resolve: Resolve) -> bool:
        """Whether the whole of `value` matches; a variable that cannot be resolved matches nothing."""
        if len(self.pieces) == 1 and isinstance(text := self.pieces[0], str) and _PLAIN.fullmatch(text):
            # Thousands of patterns need no expression each: most are plain text, or end in their one star.
            return value.startswith(text[:-1]) if text.endswith("*") else value == text
        filled = self._fill(resolve)
        return filled is not None and wildcard(filled).matches(value)

    def matches_arn(self, value: str, resolve: Resolve) -> bool:
        """Like `matches`, but compares each of the first five parts of an ARN by itself."""
        filled = self._fill(resolve)
        return filled is not None and arn_wildcard(filled).matches(value)

    def text(self, resolve: Resolve) -> str | None:
        """The literal text with its variables filled in; wildcards mean themselves."""
        filled = self._fill(resolve)
        return None if filled is None else "".join(text for text, _ in filled)

    def _fill(self, resolve: Resolve) -> tuple[Piece, ...] | None:
        """Wildcards in a variable's value mean themselves."""
        filled = []
        for piece in self.pieces:
            if isinstance(piece, str):
                filled.append((piece, True))
                continue
            value = piece.resolve(resolve)
            if value is None:
                return None
            filled.append((value, False))
        return tuple(filled)


@lru_cache(maxsize=256)
def pattern(text: str, *, variables: bool) -> Pattern:
    """`variables` is False for policies of the version 2008-10-17, in which `${...}` is plain text."""
    if not variables:
        return Pattern((text,))
    pieces: list[str | Variable] = []
    place = 0
    while (start := text.find("${", place)) >= 0 and (end := text.find("}", start)) >= 0:
        pieces += (text[place:start], _variable(text[start + 2 : end]))
        place = end + 1
    return Pattern((*pieces, text[place:]))


def _variable(text: str) -> Variable:
    """The text between the braces: a key, perhaps with a default in quotes, or an escaped wildcard."""
    if text in ("*", "?", "$"):
        return Variable("", text)
    key, _, default = text.partition(",")
    default = default.strip()
    if len(default) >= 2 and default[0] == default[-1] == "'":
        return Variable(key.rstrip(), default[1:-1])
    return Variable(text, None)
