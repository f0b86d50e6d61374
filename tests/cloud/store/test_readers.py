"""Connections that read: a few for all threads, however many there are."""

from __future__ import annotations

import gc
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from skylift.cloud.domain.bucket import Bucket
from skylift.cloud.store.database import MOST_READERS, Database

THREADS = 32


@pytest.fixture(name="database")
def database_fixture(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "state.db")
    yield database
    database.close()


def connections(file: Path) -> int:
    """How many are open to a database, the writer's among them. Descriptors say nothing: SQLite keeps those of closed
    ones for the next, as the kernel drops a process's locks on a file with any of its descriptors."""
    found = 0
    for one in gc.get_objects():
        # isinstance would ask also weak proxies of other tests' objects, which raise once those are gone.
        if issubclass(type(one), sqlite3.Connection):
            with suppress(sqlite3.ProgrammingError):  # it is closed
                found += one.execute("PRAGMA database_list").fetchone()[2] == str(file)
    return found


def buckets(database: Database) -> int:
    with database.read() as tx:
        return len(tx.find(Bucket))


def test_threads_that_read_in_turn_share_a_connection(database: Database, tmp_path: Path) -> None:
    for _ in range(THREADS):
        thread = threading.Thread(target=buckets, args=(database,))
        thread.start()
        thread.join()
    assert connections(tmp_path / "state.db") == 2


def test_of_many_who_read_at_once_a_few_connections_are_kept(database: Database, tmp_path: Path) -> None:
    together = threading.Barrier(THREADS)

    def read() -> int:
        with database.read() as tx:
            together.wait(30)
            return len(tx.find(Bucket))

    with ThreadPoolExecutor(THREADS) as pool:
        assert [done.result() for done in [pool.submit(read) for _ in range(THREADS)]] == [0] * THREADS
    assert connections(tmp_path / "state.db") == 1 + MOST_READERS


def test_each_sees_a_moment_of_its_own(database: Database) -> None:
    with ExitStack() as stack:
        before = stack.enter_context(database.read())
        assert before.find(Bucket) == []
        with database.write() as tx:
            tx.add(Bucket(name="new", region="us-east-1", created=tx.now, owner="123456789012"))
        # The one who comes later is not given the connection, nor the moment, of the one who still reads.
        assert buckets(database) == 1
        assert before.find(Bucket) == []


def test_who_opens_a_connection_waits_for_no_writer(database: Database) -> None:
    with ExitStack() as stack, database.write() as tx:
        tx.add(Bucket(name="new", region="us-east-1", created=tx.now, owner="123456789012"))
        # All of them are open at once, so each has a connection of its own.
        for _ in range(MOST_READERS + 1):
            assert stack.enter_context(database.read()).find(Bucket) == []


def test_who_opens_a_connection_writes_nothing(database: Database, tmp_path: Path) -> None:
    log = tmp_path / "state.db-wal"
    before = log.read_bytes()
    with ExitStack() as stack:
        for _ in range(MOST_READERS + 1):
            assert stack.enter_context(database.read()).find(Bucket) == []
    assert log.read_bytes() == before


def test_a_connection_is_kept_after_a_reader_has_failed(database: Database, tmp_path: Path) -> None:
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), database.read():
            raise ZeroDivisionError
    assert buckets(database) == 0
    assert connections(tmp_path / "state.db") == 2


def test_who_reads_while_it_is_closed_is_told(tmp_path: Path) -> None:
    database = Database(tmp_path / "state.db")
    reading, closed = threading.Event(), threading.Event()

    def read() -> None:
        with database.read():
            reading.set()
            closed.wait(30)

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(read)
        reading.wait(30)
        database.close()
        closed.set()
        assert isinstance(done.exception(), sqlite3.ProgrammingError)
