"""Keeping only the end of a stream."""

from __future__ import annotations

from collections import deque

LIMIT = 64 * 1024


class Tail:
    """The last 64 KiB of a stream."""

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque()
        self._size = 0

    def add(self, data: bytes) -> None:
        self._pieces.append(data)
        self._size += len(data)
        while self._size - len(self._pieces[0]) >= LIMIT:
            self._size -= len(self._pieces.popleft())

    def take_back(self, size: int) -> None:
        """Forget the last bytes."""
        kept = b"".join(self._pieces)
        kept = kept[: max(0, len(kept) - size)]
        self._pieces, self._size = deque([kept]), len(kept)

    def text(self) -> str:
        return b"".join(self._pieces)[-LIMIT:].decode(errors="replace")
