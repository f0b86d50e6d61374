"""One line at the bottom of a terminal that other processes write to. It is removed before anything else is written.

The text begins at the cursor, in the first column, and the cursor is put back there. When the terminal becomes
narrower, it folds the line and keeps the cursor at its beginning. Nothing is below the line.
"""

from __future__ import annotations

import errno
import os
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from skylift.cli.cursor import Cursor

_TICK = 0.2
"""Seconds between two updates of the text."""
_ERASE = b"\r\x1b[2K\x1b[J"


class BottomLine:
    """`compose` returns the text, at most so many columns wide, or nothing. Everything else that is written to the
    terminal is written within `aside`."""

    def __init__(self, terminal: int, compose: Callable[[int], str], *, dim: bool) -> None:
        self._terminal, self._compose, self._dim = terminal, compose, dim
        self.cursor = Cursor()
        self._lock = threading.RLock()
        self._shown: tuple[str, int] | None = None
        self._not_before = 0.0
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        if self._thread is None and not self._over.is_set():
            self._thread = threading.Thread(target=self._live, name="bottom line", daemon=True)
            self._thread.start()

    def finish(self) -> None:
        """Remove the line for good."""
        self._over.set()
        with self.aside():
            pass

    @contextmanager
    def aside(self, pause: float = 0.0) -> Iterator[None]:
        """Hide the line while something else is written, and for `pause` seconds after that."""
        with self._lock:
            self._erase()
            yield
            self._not_before = max(self._not_before, time.monotonic() + pause)

    def write(self, text: str) -> None:
        """Write whole lines, within `aside`. An incomplete line of the program is ended first."""
        before = "" if self.cursor.blank else "\n"
        before += "\x1b[0m" if self.cursor.coloured else ""
        put(self._terminal, (before + text).encode(errors="replace"))
        self.cursor.reset()

    def _live(self) -> None:
        while not self._over.wait(_TICK):
            with self._lock:
                if not self._over.is_set():
                    self._draw()

    def _draw(self) -> None:
        if not self.cursor.free or time.monotonic() < self._not_before or not in_foreground(self._terminal):
            return
        columns = columns_of(self._terminal)
        text = cut(self._compose(columns - 1), columns - 1)
        if not text:
            self._erase()
        elif self._shown != (text, columns):
            shown = f"\x1b[2m{text}\x1b[0m" if self._dim else text
            put(self._terminal, b"\r" + shown.encode(errors="replace") + b"\x1b[K\x1b[J\r")
            self._shown = text, columns

    def _erase(self) -> None:
        if self._shown is not None:
            self._shown = None
            put(self._terminal, _ERASE)


def put(terminal: int, data: bytes) -> None:
    """Write all data, or as much as a terminal that has just been closed accepts."""
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(terminal, view) :]
    except OSError as error:
        if error.errno not in (errno.EIO, errno.EPIPE):
            raise


def columns_of(terminal: int) -> int:
    """The width in columns; 80 when the terminal does not know its own."""
    with suppress(OSError):
        return os.get_terminal_size(terminal).columns or 80
    return 80


def in_foreground(terminal: int) -> bool:
    """Whether this process may use the terminal: it is in the foreground, or this is not its controlling terminal."""
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return True


def cut(text: str, columns: int) -> str:
    """The beginning of a text that fits into so many columns."""
    taken, width = 0, 0
    for letter in text:
        width += width_of(letter)
        if width > columns:
            break
        taken += 1
    return text[:taken]


def width_of(text: str) -> int:
    """Columns of printable text."""
    return sum(
        0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text
    )
