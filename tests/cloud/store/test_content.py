"""Small bodies: rows that come and go with the commit that names them, beside files in one object where need be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from skylift.cloud.domain.bucket import Extent, Spool
from skylift.cloud.store.content import body, discard, keep, read, share
from skylift.cloud.store.database import Database, Tx

SMALL = Spool("", 10, "", data=b"0123456789")


@pytest.fixture(name="database")
def database_fixture(tmp_path: Path) -> Iterator[Database]:
    (tmp_path / "objects").mkdir()
    (tmp_path / "objects" / "file").write_bytes(b"abcdef")
    database = Database(tmp_path / "state.db")
    yield database
    database.close()


def rows(tx: Tx) -> list[bytes]:
    return [data for (data,) in tx.execute("SELECT data FROM small_bodies ORDER BY id")]


def test_a_small_body_is_a_row(database: Database, tmp_path: Path) -> None:
    with database.write() as tx:
        extents = keep(tx, SMALL)
        assert keep(tx, Spool("", 0, "", data=b"")) == ()
    with database.read() as tx:
        assert rows(tx) == [b"0123456789"]
        assert b"".join(read(tx, extents)) == b"0123456789"
        (kept,) = extents
        assert body(tx, (Extent("", 2, 3, kept.row),)).pieces == (b"234",)
    assert [path.name for path in (tmp_path / "objects").iterdir()] == ["file"]


def test_a_rollback_takes_the_row_away_and_gives_back_a_discarded_one(database: Database) -> None:
    with database.write() as tx:
        kept = keep(tx, SMALL)

    def fail() -> None:
        with database.write() as tx:
            keep(tx, SMALL)
            discard(tx, kept)
            assert len(rows(tx)) == 1
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        fail()
    with database.read() as tx:
        assert b"".join(read(tx, kept)) == b"0123456789"


def test_what_is_shared_does_not_depend_on_its_source(database: Database) -> None:
    with database.write() as tx:
        (kept,) = keep(tx, SMALL)
        copy = (*share(tx, (Extent("file", 1, 3),), None), *share(tx, (Extent("", 8, 2, kept.row),), None))
        assert [extent.row is None for extent in copy] == [True, False]
        discard(tx, (kept,))
        assert b"".join(read(tx, copy)) == b"bcd89"
        assert rows(tx) == [b"89"]
        discard(tx, copy)
        assert rows(tx) == []


def test_a_body_that_was_found_is_sent_whatever_happens_to_its_row(database: Database) -> None:
    with database.write() as tx:
        kept = keep(tx, SMALL)
    with database.read() as tx:
        found = body(tx, (Extent("file", 0, 2), *kept))
    with database.write() as tx:
        discard(tx, kept)
    assert (found.pieces, found.size) == ((Extent("file", 0, 2), b"0123456789"), 12)


def test_a_number_is_never_given_twice(database: Database) -> None:
    """Digests are prepared for extents, and hold for them only as long as these mean the same bytes."""
    with database.write() as tx:
        (first,) = keep(tx, SMALL)
        discard(tx, (first,))
        (second,) = keep(tx, SMALL)
    assert first.row != second.row


def test_room_that_rows_have_left_is_used_again(database: Database, tmp_path: Path) -> None:
    def pages() -> int:
        with database.read() as tx:
            count: int = tx.execute("PRAGMA page_count").fetchone()[0]
            return count

    large = Spool("", 60_000, "", data=b"x" * 60_000)
    with database.write() as tx:
        kept = keep(tx, large)
    before = pages()
    for _ in range(20):
        with database.write() as tx:
            discard(tx, kept)
            kept = keep(tx, large)
    assert pages() <= before + 15, "room for one more, as it may be written before the old one goes"
