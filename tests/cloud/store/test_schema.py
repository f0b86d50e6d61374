from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from skylift.cloud.identity import AccessKey, Session
from skylift.cloud.store import identity as _identity  # noqa: F401 - says where sessions are kept
from skylift.cloud.store.database import MIGRATIONS, Database, StateTooNew
from skylift.cloud.store.mapping import Table, tables


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "state.db"
    Database(path).close()
    return path


@pytest.mark.parametrize("table", tables(), ids=lambda table: table.name)
def test_columns_are_the_fields_of_the_noun(file: Path, table: Table[object]) -> None:
    with closing(sqlite3.connect(file)) as connection:
        columns = connection.execute(f"PRAGMA table_info({table.name})").fetchall()
    assert [name for _, name, *_ in columns] == list(table.columns)
    assert {name for _, name, *_, key in columns if key} == set(table.key)


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


def test_keys_and_sessions_from_before_there_were_users_go_on(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    earlier = [script for script in sorted(MIGRATIONS.glob("*.sql")) if script.name < "0005"]
    with closing(sqlite3.connect(path)) as connection:
        for script in earlier:
            connection.executescript(script.read_text())
        connection.execute(f"PRAGMA user_version = {len(earlier)}")
        connection.execute("INSERT INTO access_keys VALUES ('AKIA', 's', NULL, '2026-01-01T00:00:00+00:00', 1)")
        connection.execute(
            "INSERT INTO sessions VALUES ('ASIA', 's', 't', 'r', 'AROA', 'n', '2026-01-01T00:00:00+00:00',"
            " '2026-01-02T00:00:00+00:00', '[\"{}\"]', 'i-1')"
        )
        connection.commit()
    database = Database(path)
    with closing(database), database.read() as tx:
        (key,), (session,) = tx.find(AccessKey), tx.find(Session)
    assert (key.user, key.active, key.used) == (None, True, None)
    assert (session.role, session.role_id, session.policies, session.instance_id) == ("r", "AROA", ("{}",), "i-1")
    assert (session.user_id, session.tags, session.transitive) == (None, {}, ())
