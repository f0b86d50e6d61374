"""When the bytes of a stream were written, to the second, for `skylift logs --since`."""

from __future__ import annotations

import json
from typing import List, Optional, Tuple

_GRAIN = 1.0
_MOST = 4096
_IN_A_PIECE = 60
"""The most marks of one piece: an S3 object has at most 2 KiB of metadata."""
_REMEMBERED = 120.0
"""Seconds that marks of bytes in S3 are kept here too: a client may have listed S3 just before that."""

Mark = Tuple[float, int]
"""A time and an offset: bytes from this offset up to the next mark's were written from that time on, give or take the
grain."""


class StreamTimes:
    """Marks, the oldest first. The caller holds the stream's lock."""

    def __init__(self) -> None:
        self._marks: List[Mark] = []
        self._grain = _GRAIN

    def note(self, now: float, offset: int) -> None:
        if self._marks and now < self._marks[-1][0] + _GRAIN:
            return
        self._marks.append((now, offset))
        if len(self._marks) > _MOST:
            # S3 has not answered for hours.
            self._marks, self._grain = _thinned(self._marks, self._grain)

    def offset_at(self, when: float, size: int) -> Optional[int]:
        """The offset of the first byte written since that time; None when the time is before the oldest mark."""
        if not self._marks or when < self._marks[0][0]:
            return None
        return next((offset for written, offset in self._marks if written + self._grain > when), size)

    def encoded(self, start: int, end: int) -> str:
        """The grain and the marks of the piece from `start` up to `end`, as JSON."""
        inside = [mark for mark in self._marks if start <= mark[1] < end]
        before = [mark for mark in self._marks if mark[1] < start]
        if before and (not inside or inside[0][1] > start):
            inside.insert(0, (before[-1][0], start))
        grain = self._grain
        while len(inside) > _IN_A_PIECE:
            inside, grain = _thinned(inside, grain)
        return json.dumps([grain, [[round(written, 1), offset] for written, offset in inside]], separators=(",", ":"))

    def forget(self, offset: int, now: float) -> None:
        """Forgets marks of bytes before `offset`, which are in S3. The last one stays: it may hold for later bytes."""
        while len(self._marks) > 1 and self._marks[1][1] <= offset and self._marks[1][0] < now - _REMEMBERED:
            self._marks.pop(0)


def _thinned(marks: List[Mark], grain: float) -> Tuple[List[Mark], float]:
    """About half of the marks, and their coarser grain."""
    kept: List[Mark] = []
    for mark in marks:
        if not kept or mark[0] >= kept[-1][0] + 2 * grain:
            kept.append(mark)
    return kept, 3 * grain
