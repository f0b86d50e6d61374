"""The lines of a log that have some words in them: those that are there, and those that come."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

from skylift.console.scrollback import Scrollback

_PIECE = 1 << 19
"""Characters that are looked through at once. Pages that wait meanwhile do not notice."""
_QUIET = 1.0
"""Seconds after which what has no end of line is taken for a line."""
_LONGEST = 1 << 16
"""Characters after which what has no end of line is taken for a line, also while more of it comes."""
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class LogSearch:
    """`found` has the lines. `tell` gets their number, each time that there are more."""

    def __init__(self, text: Scrollback, words: str, tell: Callable[[int], object], keep: int = 1 << 20) -> None:
        self._text, self._wanted, self._tell = text, words.casefold(), tell
        self.found = Scrollback(keep)
        self._count = 0
        self._begun: list[str] = []
        """The line that has no end yet, as it came."""
        self._length = 0
        self._taken = ""
        """The end of what was taken of that line already: words may begin in it, and are not all there yet."""

    async def run(self) -> None:
        """Until it is cancelled."""
        offset, told = 0, -1
        while True:
            if self._text.start > offset:
                self._begin("")
                self._taken = ""
            piece, offset = self._text.read(offset, _PIECE)
            self._read(piece)
            if piece:
                # Pages have their turn between two pieces.
                await asyncio.sleep(0)
                continue
            if told != self._count:
                told = self._count
                self._tell(told)
            await self._text.wait(offset, _QUIET)
            if self._begun and self._text.end == offset:
                self._take_begun()

    def _read(self, piece: str) -> None:
        """Each character is looked through once, however long its line is."""
        first, *lines = piece.split("\n")
        if first:
            self._begun.append(first)
            self._length += len(first)
        if lines:
            self._take_begun()
            self._taken = ""
            *whole, last = lines
            self._show([line for line in whole if self._wanted in _plain(line)])
            self._begin(last)
        if self._length > _LONGEST:
            self._take_begun()

    def _begin(self, line: str) -> None:
        self._begun, self._length = [line] if line else [], len(line)

    def _take_begun(self) -> None:
        line = "".join(self._begun)
        self._begin("")
        plain = self._taken + _plain(line)
        self._show([line] if self._wanted in plain else [])
        # One letter less than the words have: what was found is not found again.
        self._taken = plain[max(0, len(plain) - len(self._wanted) + 1) :]

    def _show(self, found: list[str]) -> None:
        if found:
            self._count += len(found)
            self.found.append("\n".join(found) + "\n")


def _plain(line: str) -> str:
    return _COLOUR.sub("", line).casefold()
