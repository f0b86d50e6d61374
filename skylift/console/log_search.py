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
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class LogSearch:
    """`found` has the lines. `tell` gets their number, each time that there are more."""

    def __init__(self, text: Scrollback, words: str, tell: Callable[[int], object], keep: int = 1 << 20) -> None:
        self._text, self._wanted, self._tell = text, words.casefold(), tell
        self.found = Scrollback(keep)
        self._count = 0

    async def run(self) -> None:
        """Until it is cancelled."""
        offset, begun, told = 0, "", -1
        while True:
            if self._text.start > offset:
                begun = ""
            piece, offset = self._text.read(offset, _PIECE)
            *lines, begun = (begun + piece).split("\n")
            self._take(lines)
            if piece:
                # Pages have their turn between two pieces.
                await asyncio.sleep(0)
                continue
            if told != self._count:
                told = self._count
                self._tell(told)
            await self._text.wait(offset, _QUIET)
            if begun and self._text.end == offset:
                self._take([begun])
                begun = ""

    def _take(self, lines: list[str]) -> None:
        found = [line for line in lines if self._wanted in _COLOUR.sub("", line).casefold()]
        if found:
            self._count += len(found)
            self.found.append("\n".join(found) + "\n")
