"""The file of the database gets shorter again after much was deleted, and never at the price of what is left."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from skylift.cloud.domain.bucket import Extent, Spool
from skylift.cloud.store import shrink as module
from skylift.cloud.store.content import discard, keep, read
from skylift.cloud.store.database import Database
from skylift.cloud.store.shrink import shrink

BODY = Spool("", 60_000, "", data=b"x" * 60_000)


@pytest.fixture(autouse=True)
def small_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 8)
    monkeypatch.setattr(module, "AT_ONCE", 16)


@pytest.fixture(name="database")
def database_fixture(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "state.db")
    yield database
    database.close()


def fill(database: Database, count: int) -> list[tuple[Extent, ...]]:
    with database.write() as tx:
        return [keep(tx, BODY) for _ in range(count)]


def empty(database: Database, kept: list[tuple[Extent, ...]]) -> None:
    with database.write() as tx:
        for extents in kept:
            discard(tx, extents)


def pages(database: Database) -> int:
    with database.read() as tx:
        count: int = tx.execute("PRAGMA page_count").fetchone()[0]
        return count


def test_free_pages_go_back_and_what_is_kept_stays(database: Database, tmp_path: Path) -> None:
    before = pages(database)
    bodies = fill(database, 20)
    full = pages(database)
    last = bodies.pop()
    empty(database, bodies)
    assert pages(database) == full
    assert shrink(database) > 200
    assert pages(database) < before + 30
    with database.read() as tx:
        assert b"".join(read(tx, last)) == BODY.data
    database.close()
    assert (tmp_path / "state.db").stat().st_size < (before + 40) * 4096
    with closing(sqlite3.connect(tmp_path / "state.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_few_free_pages_stay(database: Database) -> None:
    empty(database, fill(database, 1))
    shrink(database)
    assert shrink(database) == 0
    with database.read() as tx:
        assert tx.execute("PRAGMA freelist_count").fetchone() == (8,)


def test_one_go_is_bounded(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    empty(database, fill(database, 20))
    assert shrink(database) == 32
    assert shrink(database) == 32


def test_an_older_database_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE something (a)")
        connection.execute("DROP TABLE something")
    database = Database(path)
    with closing(database):
        empty(database, fill(database, 20))
        before = pages(database)
        assert shrink(database) == 0
        assert pages(database) == before
