"""Nouns that are read often: made once of each row, and never shown for another."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from skylift.cloud.domain.bucket import Bucket
from skylift.cloud.store.database import Database
from skylift.cloud.store.mapping import KEPT, SHORT

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


def test_a_row_that_has_not_changed_is_not_decoded_again(database: Database) -> None:
    with database.write() as tx:
        tx.add(bucket("pail"))
    first = read(database, "pail")
    assert first == bucket("pail")
    assert read(database, "pail") is first


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


def test_more_rows_than_are_kept_are_all_read(database: Database) -> None:
    made = [bucket(f"pail-{number}") for number in range(KEPT + 10)]
    with database.write() as tx:
        for one in made:
            tx.add(one)
    for _ in range(2):
        with database.read() as tx:
            assert tx.find(Bucket) == made


def test_a_long_list_displaces_none_of_what_is_looked_for(database: Database) -> None:
    with database.write() as tx:
        for number in range(KEPT + 1):
            tx.add(bucket(f"pail-{number}"))
    first = read(database, "pail-0")
    with database.read() as tx:
        assert len(tx.find(Bucket)) == KEPT + 1
    assert read(database, "pail-0") is first


def test_columns_that_say_the_same_are_the_same_value(database: Database) -> None:
    long = {"colour": "red" * SHORT}
    with database.write() as tx:
        for name in ("pail", "tub"):
            tx.add(bucket(name))
            tx.add(dataclasses.replace(bucket(f"long-{name}"), tags=long))
    found = [read(database, name) for name in ("pail", "tub", "long-pail", "long-tub")]
    pail, tub, long_pail, long_tub = (each.tags for each in found if each is not None)
    assert pail is tub == {"colour": "red"}
    assert long_pail == long_tub == long
    assert long_pail is not long_tub
