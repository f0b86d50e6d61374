"""When which bytes of a stream were written, to the second, for whoever asks for what came since a time."""

from __future__ import annotations

import json
from typing import List, Optional, Tuple

_GRAIN = 1.0
_MOST = 4096
_IN_A_PIECE = 60
"""Marks that go with one piece: S3 takes 2 KiB of metadata with an object."""
_REMEMBERED = 120.0
"""Seconds for which marks of what is in S3 are kept here as well: somebody may just have listed what was there."""

Mark = Tuple[float, int]
"""A time, and an offset: bytes from there up to the next mark's were written from that time on, within the grain."""


class Times:
    """Marks of what was written, the oldest first. Whoever calls has the stream's lock."""

    def __init__(self) -> None:
        self._marks: List[Mark] = []
        self._grain = _GRAIN

    def note(self, now: float, offset: int) -> None:
        if self._marks and now < self._marks[-1][0] + _GRAIN:
            return
        self._marks.append((now, offset))
        if len(self._marks) > _MOST:
            # S3 was away for hours.
            self._marks, self._grain = _thinned(self._marks, self._grain)

    def offset_at(self, when: float, size: int) -> Optional[int]:
        """Where what was written since then begins; None when that is longer ago than we know."""
        if not self._marks or when < self._marks[0][0]:
            return None
        return next((offset for written, offset in self._marks if written + self._grain > when), size)

    def encoded(self, start: int, end: int) -> str:
        """For the piece from `start` up to `end`: its grain, and its marks."""
        inside = [mark for mark in self._marks if start <= mark[1] < end]
        before = [mark for mark in self._marks if mark[1] < start]
        if before and (not inside or inside[0][1] > start):
            inside.insert(0, (before[-1][0], start))
        grain = self._grain
        while len(inside) > _IN_A_PIECE:
            inside, grain = _thinned(inside, grain)
        return json.dumps([grain, [[round(written, 1), offset] for written, offset in inside]], separators=(",", ":"))

    def forget(self, offset: int, now: float) -> None:
        """Marks before `offset`, whose bytes have come to S3; the last of them may be that of later ones and stays."""
        while len(self._marks) > 1 and self._marks[1][1] <= offset and self._marks[1][0] < now - _REMEMBERED:
            self._marks.pop(0)


def _thinned(marks: List[Mark], grain: float) -> Tuple[List[Mark], float]:
    """About half of them, and their grain: what a mark that goes had told of may be as old as itself and that."""
    kept: List[Mark] = []
    for mark in marks:
        if not kept or mark[0] >= kept[-1][0] + 2 * grain:
            kept.append(mark)
    return kept, 3 * grain
