"""Answers that are given again for as long as nothing has been written since they were made.

They are found in the snapshot of the request that asks, by SQLite's own number of what that snapshot holds
(`data_version`). A connection has the same number again only if no other connection has committed in between, and
connections that read never write. So no order of reading and counting can be wrong: there is nothing that we count.
Numbers of two connections do not compare, so each has answers of its own.
"""

from __future__ import annotations

import sqlite3
from typing import Generic, TypeVar

Answer = TypeVar("Answer")

MOST_KEPT = 16
"""The most answers of a connection, of which there are a few."""
MOST_BYTES = 2 << 20
"""The most bytes of these together."""
LARGEST_KEPT = MOST_BYTES // 2
"""The most bytes of one."""


class Kept(Generic[Answer]):
    """What one connection keeps. To be used within its transactions only, so by one thread at a time."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._version: int | None = None
        self._answers: dict[str, Answer] = {}
        self._bytes = 0

    def get(self, question: str) -> Answer | None:
        """The answer to this question, if it was made of exactly what this transaction sees."""
        version: int = self._connection.execute("PRAGMA data_version").fetchone()[0]
        if version != self._version:
            self._version = version
            self._forget()
        return self._answers.get(question)

    def keep(self, question: str, answer: Answer, size: int) -> bool:
        """Keep what this transaction has made, after it asked for it in vain. Whether it is small enough."""
        if size > LARGEST_KEPT:
            return False
        if len(self._answers) >= MOST_KEPT or self._bytes + size > MOST_BYTES:
            self._forget()
        self._answers[question] = answer
        self._bytes += size
        return True

    def _forget(self) -> None:
        self._answers.clear()
        self._bytes = 0
