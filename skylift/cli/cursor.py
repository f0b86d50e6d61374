"""Where a program's output leaves a terminal's cursor."""

from __future__ import annotations

import re

_MOVES = re.compile(rb"\x1b(?!\[[0-9;:]*[mJK]|\(B|\][^\x07\x1b]*(?:\x07|\x1b\\)|\\)")
"""Escape sequences other than colours, erasing, and messages to the window (its title, a link)."""
_SEQUENCE = re.compile(rb"\x1b\[([0-9;:]*)([mJK])|\x1b\(B|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\\")
_BEGUN = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*|\(|\][^\x07\x1b]*\x1b?)?\Z")
_LONGEST = 4096
"""The most bytes that are kept of a sequence that has not ended."""


class Cursor:
    """`blank` is whether the cursor is at the beginning of an empty line. `free` is whether, besides, writing a line
    there and removing it would leave the program's own picture as it is."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """A line of our own has just ended, in the terminal's own colours."""
        self.blank, self._at_start = True, True
        self.coloured: set[int] = set()
        self._moves = False
        self._begun = b""

    @property
    def free(self) -> bool:
        return self.blank and not self.coloured and not self._moves and not self._begun

    def feed(self, data: bytes) -> None:
        if b"\x1b" not in data and not self._begun:
            return self._write(data)
        data = self._begun + data
        begun = _BEGUN.search(data, max(0, len(data) - _LONGEST))
        self._begun = begun.group() if begun is not None else b""
        data = data[: len(data) - len(self._begun)]
        self._moves = self._moves or _MOVES.search(data) is not None
        if not self._moves:
            self._follow(data)
        return None

    def _follow(self, data: bytes) -> None:
        """Follow the output. Bytes before the last line, and before the last reset of colours, do not matter."""
        plain = max(data.rfind(b"\x1b[0m"), data.rfind(b"\x1b[m"))
        end = data.rfind(b"\n", 0, plain) if plain >= 0 else -1
        if end >= 0:
            self._write(b"\n")
            data = data[end + 1 :]
        at = 0
        for found in _SEQUENCE.finditer(data):
            self._write(data[at : found.start()])
            at = found.end()
            if found.group(2) == b"m":
                self._colour(found.group(1))
            elif found.group(2) and self._at_start:
                self.blank = True
        self._write(data[at:])

    def _write(self, text: bytes) -> None:
        if not text:
            return
        end = text.rfind(b"\n")
        if end >= 0:
            self.blank = self._at_start = True
            text = text[end + 1 :]
        if text.strip(b"\r"):
            self.blank = False
            self._at_start = text.endswith(b"\r")
        elif text:
            self._at_start = True

    def _colour(self, words: bytes) -> None:
        """Follow a colour sequence: 0 resets, numbers from 30 and 40 on are colours, the others attributes."""
        numbers = [int(each[-4:] or 0) for each in words.replace(b":", b";").split(b";")]
        while numbers:
            number = numbers.pop(0)
            if number == 0:
                self.coloured.clear()
            elif number in (38, 48):
                # A colour by number, or by red, green and blue.
                del numbers[: 2 if numbers[:1] == [5] else 4]
                self.coloured.add(number // 10)
            elif number in (39, 49):
                self.coloured.discard(number // 10)
            elif number == 22:
                self.coloured -= {11, 12}
            elif 23 <= number <= 29:
                self.coloured.discard(number - 20 + 10)
            elif number < 10:
                self.coloured.add(number + 10)
            else:
                self.coloured.add(4 if 40 <= number < 50 or number >= 100 else 3)
