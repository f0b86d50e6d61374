"""What a terminal shows of the bytes that it got: rows of text, as a person sees them."""

from __future__ import annotations

import re

_PIECE = re.compile(rb"\x1b\[([0-9;?]*)([A-Za-z])|([\r\n\b])|((?:[\x20-\x7e]|[\x80-\xff]+)+)")


class Picture:
    """Of `columns`, with as many rows as were ever needed. Raises ValueError for what it does not know."""

    def __init__(self, columns: int) -> None:
        self.columns, self.rows = columns, [""]
        self.row = self.column = 0

    def feed(self, data: bytes) -> Picture:
        at = 0
        while at < len(data):
            found = _PIECE.match(data, at)
            if found is None:
                raise ValueError(f"A terminal is told something new: {data[at : at + 20]!r}")
            at = found.end()
            if found.group(2):
                self._obey(found.group(1).decode(), found.group(2).decode())
            elif found.group(3):
                self._move(found.group(3))
            else:
                for letter in found.group(4).decode():
                    self._write(letter)
        return self

    @property
    def lines(self) -> list[str]:
        """Without what is empty at their ends."""
        found = [row.rstrip() for row in self.rows]
        while found and not found[-1]:
            found.pop()
        return found

    def _write(self, letter: str) -> None:
        if self.column == self.columns:
            self._move(b"\r")
            self._move(b"\n")
        row = self.rows[self.row].ljust(self.column)
        self.rows[self.row] = row[: self.column] + letter + row[self.column + 1 :]
        self.column += 1

    def _move(self, key: bytes) -> None:
        if key == b"\r":
            self.column = 0
        elif key == b"\b":
            self.column = max(0, self.column - 1)
        else:
            self.row += 1
            if self.row == len(self.rows):
                self.rows.append("")

    def _obey(self, words: str, letter: str) -> None:
        row = self.rows[self.row]
        if letter == "K":
            self.rows[self.row] = "" if words == "2" else row[: self.column]
        elif letter == "J":
            self.rows[self.row :] = [row[: self.column]]
        elif letter == "A":
            self.row = max(0, self.row - int(words or 1))
        elif letter not in ("m", "h", "l"):
            raise ValueError(f"A terminal is told something new: {words}{letter}")
