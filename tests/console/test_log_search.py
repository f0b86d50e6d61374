"""A search in a log that grows: what is told, and what is found."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from skylift.console import log_search
from skylift.console.log_search import LogSearch
from skylift.console.scrollback import Scrollback


class Shown:
    """What a page has of a search."""

    def __init__(self, search: Callable[[Callable[[int], None]], LogSearch]) -> None:
        self.count = -1
        self._search = search(self._tell)
        self.running = asyncio.create_task(self._search.run())
        self._news = asyncio.Event()

    def _tell(self, count: int) -> None:
        self.count = count
        self._news.set()

    async def lines(self, count: int) -> list[str]:
        """Once there are so many."""
        async with asyncio.timeout(30):
            while self.count != count:
                await self._news.wait()
                self._news.clear()
        return self._search.found.read(0, 1 << 20)[0].splitlines()


@asynccontextmanager
async def searched(text: Scrollback, words: str) -> AsyncIterator[Shown]:
    shown = Shown(lambda tell: LogSearch(text, words, tell))
    try:
        yield shown
    finally:
        shown.running.cancel()
        with suppress(asyncio.CancelledError):
            await shown.running


async def test_lines_are_found_whatever_their_case_and_also_when_they_come_later() -> None:
    text = Scrollback()
    text.append("Error one\nfine\nan ERROR (two)\nerr")
    async with searched(text, "error") as shown:
        assert await shown.lines(2) == ["Error one", "an ERROR (two)"]
        text.append("or three\nand no more\n")
        assert await shown.lines(3) == ["Error one", "an ERROR (two)", "error three"]


@pytest.mark.parametrize("words", ["[", "33", "\\d"])
async def test_words_are_no_pattern_and_colours_no_words(words: str) -> None:
    text = Scrollback()
    text.append("\x1b[33mto standard error\x1b[39m\n")
    async with searched(text, words) as shown:
        assert await shown.lines(0) == []


async def test_a_last_line_without_an_end_is_found() -> None:
    text = Scrollback()
    text.append("asked: go on? ")
    async with searched(text, "go on") as shown:
        assert await shown.lines(1) == ["asked: go on? "]


async def test_what_the_page_has_forgotten_is_in_no_line() -> None:
    text = Scrollback(keep=4 << 20)
    text.append("need")
    async with searched(text, "needle") as shown:
        assert await shown.lines(0) == []
        for _ in range(100):
            text.append("x" * 99_999 + "\n")
        text.append("le\na needle\n")
        assert await shown.lines(1) == ["a needle"]


async def test_a_line_without_an_end_is_looked_through_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    # It never pauses.
    monkeypatch.setattr(log_search, "_QUIET", 3600)
    text = Scrollback(keep=4 << 20)
    text.append("need")
    async with searched(text, "needle") as shown:
        assert await shown.lines(0) == []
        text.append("le" + "x" * 99_998)
        (line,) = await shown.lines(1)
        assert line == "needle" + "x" * 99_998
        text.append("y" * 99_997 + "nEe")
        text.append("z" * 99_999 + "\nneed" + "z" * 99_999)
        text.append("le\n" + "y" * 99_997 + "\x1b[33mnEe")
        text.append("\x1b[39mdle, needle\n")
        assert (await shown.lines(2))[1:] == ["y" * 99_997 + "\x1b[33mnEe\x1b[39mdle, needle"]


async def test_words_are_found_where_a_long_line_is_parted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_search, "_QUIET", 3600)
    monkeypatch.setattr(log_search, "_PIECE", 100_000)
    text = Scrollback(keep=4 << 20)
    text.append("x" * 99_997 + "nee")
    text.append("DLE" + "y" * 99_997)
    text.append("nee\nand no more")
    text.append("dle\n")
    async with searched(text, "needle") as shown:
        assert await shown.lines(1) == ["DLE" + "y" * 99_997]
