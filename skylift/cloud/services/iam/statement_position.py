"""Where statements stand in the text of a policy, as AWS's simulator counts: lines and columns from one.

A statement ends behind its last brace. It begins where the one before it ends, the first one of a list behind the
list's bracket, and one without a list behind its own first brace. So AWS's answers were recorded: there is no other
description of them.
https://github.com/cloud-custodian/cloud-custodian/tree/main/tests/data/placebo
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from typing import NamedTuple

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]]', re.DOTALL)
_LINE_END = re.compile(r"\r\n|\r|\n")


class Position(NamedTuple):
    line: int
    column: int


class Span(NamedTuple):
    start: Position
    end: Position


def statement_spans(text: str) -> list[Span]:
    """Of each statement of a policy that `parse_policy` takes, in its order."""
    lines = [0, *(found.end() for found in _LINE_END.finditer(text))]

    def position(offset: int) -> Position:
        line = bisect_right(lines, offset)
        return Position(line, offset - lines[line - 1] + 1)

    return [Span(position(start), position(end)) for start, end in _offsets(text)]


def _offsets(text: str) -> list[tuple[int, int]]:
    """The outer object has depth 1, its statements 2, or 3 in a list."""
    found: list[tuple[int, int]] = []
    depth = within = begin = 0
    last = ""
    for token in _TOKEN.finditer(text):
        word = token[0]
        if word in "{[":
            depth += 1
            if depth == 2 and last and json.loads(last) == "Statement":
                within, begin = (3 if word == "[" else 2), token.end()
        elif word in "}]":
            if depth == within and word == "}":
                found.append((begin, token.end()))
                begin = token.end()
            depth -= 1
            if depth == 1:
                within = 0
        last = word if word.startswith('"') else ""
    return found
