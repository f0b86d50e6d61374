"""A program's output as lines: a thread reads it, and the caller may stop taking lines at any time."""

from __future__ import annotations

import asyncio
import codecs
import io
import queue
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

_ROOM = 16
"""Pieces that wait for their reader; who reads slowly holds the reading up, not the program."""


class Lines:
    """Pieces of bytes in, whole lines of text out, without their ends. As in a text file of Python's, a line ends with
    `\\n`, `\\r` or both, so that what a progress bar draws are lines, too. What is not UTF-8 is replaced."""

    def __init__(self) -> None:
        self._decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")("replace"), translate=True)
        self._begun: list[str] = []

    def feed(self, data: bytes) -> list[str]:
        return self._split(self._decoder.decode(data))

    def end(self) -> list[str]:
        """The last one, which may have no end."""
        lines = self._split(self._decoder.decode(b"", final=True))
        last = "".join(self._begun)
        return [*lines, last] if last else lines

    def _split(self, text: str) -> list[str]:
        *lines, rest = text.split("\n")
        if lines:
            lines[0] = "".join([*self._begun, lines[0]])
            self._begun.clear()
        if rest:
            self._begun.append(rest)
        return lines


class Pieces:
    """`put` waits for room, in the thread that has something; None is when there is no more."""

    def __init__(self) -> None:
        self._queue: queue.Queue[bytes | None] = queue.Queue(_ROOM)
        self._closed = False

    def put(self, piece: bytes | None) -> None:
        if not self._closed:
            self._queue.put(piece)

    def close(self) -> None:
        """Whoever waits for room gets it, and nothing is wanted any more."""
        self._closed = True
        with suppress(queue.Empty):
            while True:
                self._queue.get_nowait()

    def lines(self) -> Iterator[str]:
        lines = Lines()
        while (piece := self._queue.get()) is not None:
            yield from lines.feed(piece)
        yield from lines.end()


class AsyncPieces:
    """Likewise, for a reader in an event loop: the one that this is made in."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(_ROOM)
        self._loop = asyncio.get_running_loop()
        self._closed = False

    def put(self, piece: bytes | None) -> None:
        # A loop that has ended wants nothing any more.
        with suppress(RuntimeError):
            if not self._closed and not self._loop.is_closed():
                asyncio.run_coroutine_threadsafe(self._queue.put(piece), self._loop).result()

    def close(self) -> None:
        self._closed = True
        while not self._queue.empty():
            self._queue.get_nowait()

    async def lines(self) -> AsyncIterator[str]:
        lines = Lines()
        while (piece := await self._queue.get()) is not None:
            for line in lines.feed(piece):
                yield line
        for line in lines.end():
            yield line
