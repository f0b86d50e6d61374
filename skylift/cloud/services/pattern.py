"""Wildcards and policy variables of IAM policies: `*` is any text, `?` any character, `${aws:userid}` the caller's.

Shapes follow the IAM user guide's chapters on the Resource element, policy variables and the ARN condition operators.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

Resolve = Callable[[str], str | None]
"""The value of a policy variable; None when the request has none (or more than one)."""

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_DEFAULT = re.compile(r"(.*?)\s*,\s*'(.*)'\s*", re.DOTALL)
_PLAIN = re.compile(r"[^*?]*\*?", re.DOTALL)
_ARN_COLONS = 5


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
        return filled is not None and _compiled(filled, arn=False).match(value) is not None

    def matches_arn(self, value: str, resolve: Resolve) -> bool:
        """As `matches`, with the first five parts of an ARN compared each for itself."""
        filled = self._fill(resolve)
        return filled is not None and _compiled(filled, arn=True).match(value) is not None

    def text(self, resolve: Resolve) -> str | None:
        """The literal text with its variables filled in; wildcards mean themselves."""
        filled = self._fill(resolve)
        return None if filled is None else "".join(text for text, _ in filled)

    def _fill(self, resolve: Resolve) -> tuple[tuple[str, bool], ...] | None:
        """Pieces of text, each with whether its wildcards are wild: those in a variable's value are not."""
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


@lru_cache(maxsize=8192)
def pattern(text: str, *, variables: bool) -> Pattern:
    """`variables` is False for policies of the version 2008-10-17, in which `${...}` is plain text."""
    if not variables:
        return Pattern((text,))
    pieces: list[str | Variable] = []
    for index, piece in enumerate(_VARIABLE.split(text)):
        if index % 2 == 0:
            pieces.append(piece)
            continue
        with_default = _DEFAULT.fullmatch(piece)
        if piece in ("*", "?", "$"):
            pieces.append(Variable("", piece))
        elif with_default:
            pieces.append(Variable(with_default[1], with_default[2]))
        else:
            pieces.append(Variable(piece, None))
    return Pattern(tuple(pieces))


@lru_cache(maxsize=8192)
def _compiled(filled: tuple[tuple[str, bool], ...], *, arn: bool) -> re.Pattern[str]:
    """A regular expression that needs no backtracking across stars, so that no policy can make matching slow.

    Between two stars the leftmost place where the text fits is always good enough, hence the atomic groups.
    """
    segments = [""]
    gaps = []
    colons = 0
    for text, wild in filled:
        for character in text:
            inside = arn and colons < _ARN_COLONS
            if wild and character == "*":
                segments.append("")
                gaps.append("[^:]" if inside else ".")
            elif wild and character == "?":
                segments[-1] += "[^:]" if inside else "."
            else:
                segments[-1] += re.escape(character)
                colons += character == ":"
    expression = segments[0]
    for number, (gap, segment) in enumerate(zip(gaps, segments[1:], strict=True), start=1):
        if number == len(gaps):
            expression += f"{gap}*{segment}"
        elif segment:
            expression += f"(?>{gap}*?{segment})"
    return re.compile(expression + r"\Z", re.DOTALL)
