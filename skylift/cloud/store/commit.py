"""Group commit: a transaction that had to wait for another one joins its commit, so that the disk syncs once for
both.

Each is a savepoint in one SQLite transaction. If another writer waits when a savepoint ends, the SQLite transaction
is handed on to that writer instead of committed. The last writer commits for all, and no caller gets an answer before
that. A lone writer begins and commits as usual.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager

MOST_TOGETHER = 16
"""The most writers in one commit, failed ones included. Without a limit, under steady load, somebody would always wait,
and the first writer would never be answered.
"""


class CommitFailed(Exception):
    """None of the transactions of a group was committed; the cause says why."""


class Commits:
    """The one writer of a database, for any thread. It alone uses its connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._turn = threading.Lock()
        self._counting = threading.Lock()
        self._waiting = 0
        self._open: _Batch | None = None

    @property
    def waiting(self) -> int:
        """The number of threads that wait for a turn."""
        return self._waiting

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Leaving normally commits durably, leaving by an exception changes nothing. Raises CommitFailed.

        A caller's exception may reveal changes of others in the group. So it is raised only once these are durable.
        """
        with self._counting:
            self._waiting += 1
        seen: _Batch | None = None
        try:
            with self._turn:
                with self._counting:
                    self._waiting -= 1
                batch = self._open or _Batch(self._connection)
                if batch.members:
                    seen = batch
                try:
                    with batch.member():
                        yield self._connection
                    seen = batch
                finally:
                    handed_on = batch.alive and self._waiting > 0 and batch.turns < MOST_TOGETHER
                    self._open = batch if handed_on else None
                    if not handed_on:
                        batch.end()
        finally:
            if seen is not None:
                seen.await_end()


class _Batch:
    """One SQLite transaction. Only the thread that has the turn may call anything but `await_end`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._ended = threading.Event()
        self._error: BaseException | None = None
        self.members = 0
        self.turns = 0
        connection.execute("BEGIN IMMEDIATE")

    @property
    def alive(self) -> bool:
        return self._error is None

    @contextmanager
    def member(self) -> Iterator[None]:
        self.turns += 1
        self._connection.execute("SAVEPOINT member")
        try:
            yield
            self._connection.execute("RELEASE member")
        except BaseException as error:
            self._undo_member(error)
            raise
        self.members += 1

    def end(self) -> None:
        """Commit, and wake all members."""
        try:
            if self.alive:
                self._connection.execute("COMMIT" if self.members else "ROLLBACK")
        except BaseException as error:
            self._fail(error)
            if not isinstance(error, sqlite3.Error):
                raise
        finally:
            self._ended.set()

    def await_end(self) -> None:
        self._ended.wait()
        if self._error is not None:
            raise CommitFailed(str(self._error)) from self._error

    def _undo_member(self, error: BaseException) -> None:
        if not self._connection.in_transaction:
            # SQLite has rolled back all of it by itself, as it does when the disk is full.
            self._fail(error)
            return
        try:
            self._connection.execute("ROLLBACK TO member")
            self._connection.execute("RELEASE member")
        except sqlite3.Error as failure:
            self._fail(failure)

    def _fail(self, error: BaseException) -> None:
        self._error = error
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
