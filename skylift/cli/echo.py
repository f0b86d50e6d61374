"""Echo of keys that are typed while a program runs on its server."""

from __future__ import annotations

from skylift.cli.bottom_line import put, width_of
from skylift.cli.cursor import Cursor

_RUB_OUT, _KILL_LINE = "\x7f\b", "\x15"


class Echo:
    """Echoes on the terminal of standard error. The terminal's own echo would write into the bottom line."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self._shown: list[str] = []
        self._was_free = False

    def forget(self) -> None:
        """Something else was written: the echoed keys can no longer be erased."""
        self._shown.clear()

    def show(self, keys: str) -> None:
        for key in keys:
            if key == "\n":
                self._write("\n")
                self._shown.clear()
            elif key in _RUB_OUT:
                self._take_back(1)
            elif key == _KILL_LINE:
                self._take_back(len(self._shown))
            else:
                self._add(key if key.isprintable() else f"^{chr(ord(key) ^ 64)}" if ord(key) < 32 else "")

    def _add(self, text: str) -> None:
        if not self._shown:
            self._was_free = self._cursor.free
        self._write(text)
        self._shown.append(text)

    def _take_back(self, count: int) -> None:
        for _ in range(min(count, len(self._shown))):
            put(2, b"\b \b" * width_of(self._shown.pop()))
            if not self._shown and self._was_free:
                self._cursor.reset()

    def _write(self, text: str) -> None:
        data = text.encode(errors="replace")
        put(2, data)
        self._cursor.feed(data)
