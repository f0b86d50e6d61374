"""Text that grows and is read by any number of tabs, each at its own pace. Only its end is kept."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from contextlib import suppress

_PIECE = 1 << 15
"""Characters of a piece, at least. One long text would be copied with each letter that comes."""


class Scrollback:
    """At least the last `keep` characters. Used from one event loop."""

    def __init__(self, keep: int = 1 << 18) -> None:
        self._keep = keep
        self._pieces: list[str] = []
        self._starts: list[int] = []
        """The offset of each piece."""
        self._end = 0
        self._waiting: set[asyncio.Event] = set()

    @property
    def end(self) -> int:
        """How many characters there have been."""
        return self._end

    @property
    def start(self) -> int:
        """The offset of the first character that is kept."""
        return self._starts[0] if self._starts else self._end

    def append(self, text: str) -> None:
        if self._pieces and len(self._pieces[-1]) < _PIECE:
            self._pieces[-1] += text
        elif text:
            self._starts.append(self._end)
            self._pieces.append(text)
        self._end += len(text)
        if self._end - self.start > 2 * self._keep:
            self._forget()
        for each in self._waiting:
            each.set()

    def _forget(self) -> None:
        first = self._end - self._keep
        at = bisect_right(self._starts, first) - 1
        self._pieces[: at + 1] = [self._pieces[at][first - self._starts[at] :]]
        self._starts[: at + 1] = [first]

    def read(self, offset: int, most: int) -> tuple[str, int]:
        """What is there from an offset on, and the offset after it. What is not kept any more is passed over."""
        begin = max(offset, self.start)
        at, after, found = bisect_right(self._starts, begin) - 1, begin, []
        while after < min(begin + most, self._end):
            within = after - self._starts[at]
            found.append(self._pieces[at][within : within + begin + most - after])
            after += len(found[-1])
            at += 1
        return "".join(found), after

    async def wait(self, offset: int, seconds: float) -> None:
        """Until there is something after the offset, or for so long."""
        if self.end > offset:
            return
        news = asyncio.Event()
        self._waiting.add(news)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await news.wait()
        finally:
            self._waiting.discard(news)
