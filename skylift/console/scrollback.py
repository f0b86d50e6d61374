"""Text that grows and is read by any number of tabs, each at its own pace. Only its end is kept."""

from __future__ import annotations

import asyncio
from contextlib import suppress


class Scrollback:
    """At least the last `keep` characters. Used from one event loop."""

    def __init__(self, keep: int = 1 << 18) -> None:
        self._keep = keep
        self._text = ""
        self._start = 0
        self._waiting: set[asyncio.Event] = set()

    @property
    def end(self) -> int:
        """How many characters there have been."""
        return self._start + len(self._text)

    def append(self, text: str) -> None:
        self._text += text
        if len(self._text) > 2 * self._keep:
            self._start = self.end - self._keep
            self._text = self._text[-self._keep :]
        for each in self._waiting:
            each.set()

    def read(self, offset: int, most: int) -> tuple[str, int]:
        """What is there from an offset on, and the offset after it. What is not kept any more is passed over."""
        begin = max(offset, self._start) - self._start
        text = self._text[begin : begin + most]
        return text, self._start + begin + len(text)

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

    def lines_with(self, words: str, most: int = 5000) -> list[str]:
        """The last lines that have these words in them, whatever their case."""
        wanted = words.casefold()
        return [line for line in self._text.splitlines() if wanted in line.casefold()][-most:]
