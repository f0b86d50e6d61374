"""How much work a write transaction is: counted, as seconds are another machine's.

It is measured by the calls that Python makes there, by the steps of SQLite's machine, and by the bytes that are handed
to it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from skylift.cloud.store.database import Database, Tx

STEP = 1000
"""SQLite says of itself after so many of its steps."""


@dataclass
class Work:
    calls: int = 0
    steps: int = 0
    size: int = 0
    rows: int = 0

    def within(self, most: Work) -> bool:
        return all(mine <= its for mine, its in zip(vars(self).values(), vars(most).values(), strict=True))

    def largest(self, other: Work) -> Work:
        return Work(*(max(pair) for pair in zip(vars(self).values(), vars(other).values(), strict=True)))


MOST = Work(calls=60_000, steps=700_000, size=2_000_000, rows=10_010)
"""Some tenths of a second, on a slow machine."""


class Watch:
    """The most work of a write transaction of this database, of each kind."""

    def __init__(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        self.most = Work()
        self.transactions = 0
        write = database.write

        @contextmanager
        def watched() -> Iterator[Tx]:
            with write() as tx, self._measured(tx):
                yield tx

        monkeypatch.setattr(database, "write", watched)

    @contextmanager
    def _measured(self, tx: Tx) -> Iterator[None]:
        work, connection = Work(), tx._connection

        def count(_frame: Any, event: str, _argument: Any) -> None:
            work.calls += event in ("call", "c_call")

        def step() -> None:
            work.steps += STEP

        before = connection.total_changes
        connection.set_progress_handler(step, STEP)
        tx._connection = _Counted(connection, work)  # type: ignore[assignment]
        sys.setprofile(count)
        try:
            yield
        finally:
            sys.setprofile(None)
            tx._connection = connection
            connection.set_progress_handler(None, 0)
            work.rows = connection.total_changes - before
            self.most = self.most.largest(work)
            self.transactions += 1


class _Counted:
    """A connection that adds up what it is given."""

    def __init__(self, connection: Any, work: Work) -> None:
        self._connection = connection
        self._work = work

    def execute(self, sql: str, values: Any = ()) -> Any:
        self._work.size += sum(len(value) for value in values if isinstance(value, str | bytes))
        return self._connection.execute(sql, values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)
