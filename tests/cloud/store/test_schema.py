from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from skylift.cloud.domain.bucket import ObjectVersion
from skylift.cloud.store import identity as _identity  # noqa: F401 - says where sessions are kept
from skylift.cloud.store.database import Database, StateTooNew
from skylift.cloud.store.mapping import TABLES, Table


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "state.db"
    Database(path).close()
    return path


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_columns_are_the_fields_of_the_noun(file: Path, table: Table[object]) -> None:
    with closing(sqlite3.connect(file)) as connection:
        columns = connection.execute(f"PRAGMA table_info({table.name})").fetchall()
    if table.noun is ObjectVersion:
        # A noun without the last columns of its table, which are long.
        columns = [column for column in columns if column[1] not in ("extents", "parts")]
    assert [name for _, name, *_ in columns] == list(table.columns)
    assert {name for _, name, *_, key in columns if key} == set(table.key)


def test_instances_of_a_state_are_found_without_a_look_at_the_others(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        plan = connection.execute("EXPLAIN QUERY PLAN SELECT * FROM instances WHERE state IN (?, ?)", ("a", "b"))
        assert [step[3].split()[:2] for step in plan] == [["SEARCH", "instances"]]


def test_a_newer_state_is_left_alone(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA user_version = 999")
    before = file.read_bytes()
    with pytest.raises(StateTooNew, match="999"):
        Database(file)
    assert file.read_bytes() == before


def test_opening_again_changes_nothing(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        before = connection.execute("SELECT sql FROM sqlite_schema").fetchall()
    Database(file).close()
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT sql FROM sqlite_schema").fetchall() == before
