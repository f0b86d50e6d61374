"""A row is read as it is in the reader's own snapshot."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from skylift.cloud.domain.bucket import Bucket
from skylift.cloud.store.database import Database

MADE = datetime(2026, 11, 25, 8, 30, tzinfo=UTC)


@pytest.fixture(name="database")
def database_fixture(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "state.db")
    yield database
    database.close()


def bucket(name: str) -> Bucket:
    return Bucket(name=name, region="us-east-1", created=MADE, owner="123456789012", tags={"colour": "red"})


def read(database: Database, name: str) -> Bucket | None:
    with database.read() as tx:
        return tx.get(Bucket, name=name)


def test_each_reader_sees_the_row_of_its_own_snapshot(database: Database) -> None:
    with database.write() as tx:
        tx.add(bucket("pail"))
    with database.read() as before:
        # The first look pins the snapshot.
        assert before.get(Bucket, name="other") is None
        with database.write() as tx:
            tx.save(dataclasses.replace(bucket("pail"), tags={"colour": "blue"}))
        after = read(database, "pail")
        found = before.get(Bucket, name="pail")
    assert found is not None and found.tags == {"colour": "red"}
    assert after is not None and after.tags == {"colour": "blue"}


def test_a_row_that_came_to_nothing_is_not_there(database: Database) -> None:
    with pytest.raises(RuntimeError), database.write() as tx:
        tx.add(bucket("pail"))
        assert tx.get(Bucket, name="pail") == bucket("pail")
        raise RuntimeError
    assert read(database, "pail") is None
