"""What readers keep for as long as nothing is written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fresh_state import fresh_state

from skylift.cloud.domain.bucket import Bucket
from skylift.cloud.store.database import Database, RowsOnly
from skylift.cloud.store.kept import LARGEST_KEPT, MOST_BYTES, MOST_KEPT

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BUCKET = Bucket(name="first", region="us-east-1", created=NOW, owner="123456789012")


@pytest.fixture(name="database")
def database_fixture(tmp_path: Path) -> Iterator[Database]:
    database = Database(fresh_state(tmp_path))
    yield database
    database.close()


def kept(database: Database) -> object:
    with database.read() as tx:
        return tx.kept.get("question")


def keep(database: Database, answer: object) -> None:
    with database.read() as tx:
        assert tx.kept.get("question") is None
        assert tx.kept.keep("question", answer, 1)


def write(database: Database, name: str) -> None:
    with database.write() as tx:
        tx.add(replace(BUCKET, name=name))


def test_an_answer_is_kept_until_something_is_written(database: Database) -> None:
    keep(database, "answer")
    assert kept(database) == "answer"
    assert kept(database) == "answer"
    write(database, "first")
    assert kept(database) is None


def test_it_is_kept_while_writers_fail(database: Database) -> None:
    keep(database, "answer")
    with pytest.raises(ZeroDivisionError), database.write() as tx:
        tx.add(BUCKET)
        raise ZeroDivisionError
    assert kept(database) == "answer"


def test_what_a_snapshot_has_made_is_not_found_in_a_later_one(database: Database) -> None:
    """Something is written while the answer is made; the snapshot that makes it does not see that."""
    with database.read() as tx:
        assert tx.find(Bucket) == []
        write(database, "meanwhile")
        assert tx.kept.get("question") is None
        assert tx.find(Bucket) == []
        tx.kept.keep("question", "no bucket", 1)
        assert tx.kept.get("question") == "no bucket"
    assert kept(database) is None


def test_two_who_read_at_once_do_not_share_it(database: Database) -> None:
    """Each has a connection, whose numbers do not compare."""
    with database.read() as older:
        assert older.find(Bucket) == []
        write(database, "meanwhile")
        with database.read() as newer:
            newer.kept.keep("question", "one bucket", 1)
            assert older.kept.get("question") is None


def test_few_are_kept_and_none_that_is_large(database: Database) -> None:
    with database.read() as tx:
        tx.kept.get("question")
        assert not tx.kept.keep("question", "answer", LARGEST_KEPT + 1)
        assert tx.kept.get("question") is None
        for number in range(10 * MOST_KEPT):
            assert tx.kept.keep(str(number), number, 1)
            assert tx.kept.get(str(number)) == number
        assert sum(tx.kept.get(str(number)) is not None for number in range(10 * MOST_KEPT)) <= MOST_KEPT


def test_what_is_kept_has_a_size_in_all(database: Database) -> None:
    sizes = [LARGEST_KEPT - 1, LARGEST_KEPT, 1, 1, LARGEST_KEPT, LARGEST_KEPT]
    with database.read() as tx:
        tx.kept.get("question")
        for number, size in enumerate(sizes):
            assert tx.kept.keep(str(number), number, size)
            found = [tx.kept.get(str(each)) for each in range(number + 1)]
            assert found[number] == number
            assert sum(sizes[each] for each in found if each is not None) <= MOST_BYTES


def test_after_a_write_there_is_room_again(database: Database) -> None:
    two = {"first": LARGEST_KEPT, "second": LARGEST_KEPT}
    for name in ("before", "after"):
        with database.read() as tx:
            assert tx.kept.get("first") is None
            for question, size in two.items():
                tx.kept.keep(question, name, size)
            assert [tx.kept.get(question) for question in two] == [name, name]
        write(database, name)


def test_a_writer_neither_keeps_nor_finds(database: Database) -> None:
    with database.write() as tx, pytest.raises(LookupError):
        _ = tx.kept


def test_rows_alone_have_no_clock_no_console_and_no_files(database: Database) -> None:
    write(database, "first")
    with database.read() as tx:
        rows = RowsOnly(tx)
        assert [bucket.name for bucket in rows.find(Bucket)] == ["first"]
        for name in ("now", "console", "files", "checksum"):
            with pytest.raises(AttributeError):
                getattr(rows, name)
