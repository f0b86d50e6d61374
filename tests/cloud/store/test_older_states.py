"""The state of each released version, with rows in every table that it had, opened by this one; and those that are not
read.

`rows/NNNN.sql` holds what a cloud of version NNNN may have written, into the tables that came with it. These files stay
as they are: what a row looked like then does not change any more.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from skylift.cloud import main  # noqa: F401 - says of every noun where it is kept
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.instance import Image, Instance
from skylift.cloud.domain.network import NetworkAcl, NetworkInterface, Vpc
from skylift.cloud.domain.volume import Snapshot
from skylift.cloud.process.cannot_start import USAGE, CannotStart
from skylift.cloud.services.table import TABLE
from skylift.cloud.state.data import Data
from skylift.cloud.store import database as store
from skylift.cloud.store.content import sweep_files
from skylift.cloud.store.database import (
    MIGRATIONS,
    Database,
    StateTooOld,
    StateUnreadable,
    application_id,
    refuse_unreadable,
)
from skylift.cloud.store.mapping import TABLES
from skylift.cloud.wiring.bootstrap import open_database

SCRIPTS = sorted(MIGRATIONS.glob("*.sql"))
ROWS = Path(__file__).parent / "rows"
VERSIONS = [script.name[:4] for script in SCRIPTS]
ROOT = Caller(
    kind="root",
    access_key_id="AKIA1",
    arn="arn:aws:iam::123456789012:root",
    account="123456789012",
    user_id="123456789012",
    region="eu-west-1",
    source_ip="127.0.0.1",
    request_id="r",
)
LISTS = (
    *(("ec2", f"Describe{what}") for what in ("Vpcs", "Subnets", "RouteTables", "SecurityGroups", "NetworkAcls")),
    *(("ec2", f"Describe{what}") for what in ("Instances", "InstanceStatus", "Volumes", "Images", "KeyPairs", "Tags")),
    *(("ec2", f"Describe{what}") for what in ("NetworkInterfaces", "Addresses", "NatGateways", "LaunchTemplates")),
    *(("ec2", f"Describe{what}") for what in ("SpotInstanceRequests", "SpotPriceHistory", "Fleets")),
    *(("skylift", f"Describe{what}") for what in ("SpotPrices", "Capacity", "Quotas", "Interruptions")),
    *(("iam", f"List{what}") for what in ("Users", "Groups", "Roles", "InstanceProfiles", "Policies")),
    *(("s3", "ListBuckets"), ("ssm", "DescribeParameters")),
)


def state_of(version: str, directory: Path) -> Path:
    """A state directory as that version left it, in the middle of its work."""
    path = directory / "state.db"
    with closing(sqlite3.connect(path)) as old:
        for script in SCRIPTS:
            if script.name[:4] > version:
                break
            old.executescript(f"PRAGMA foreign_keys = ON; BEGIN; {script.read_text()}; COMMIT;")
            rows = ROWS / f"{script.name[:4]}.sql"
            if rows.exists():
                old.executescript(f"BEGIN; {rows.read_text()}; COMMIT;")
        old.execute(f"PRAGMA application_id = {application_id(SCRIPTS[0].read_text())}")
        old.execute(f"PRAGMA user_version = {VERSIONS.index(version) + 1}")
        old.commit()
    return path


def counts(path: Path) -> dict[str, int]:
    with closing(sqlite3.connect(path)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in names}


def test_each_version_has_rows_in_all_of_its_tables(tmp_path: Path) -> None:
    empty = [name for name, count in counts(state_of(VERSIONS[-1], tmp_path)).items() if not count]
    assert not empty, f"tests/cloud/store/rows/{VERSIONS[-1]}.sql: write a row for each of {', '.join(empty)}"


@pytest.mark.parametrize("version", VERSIONS)
def test_the_state_of_each_earlier_version_is_read(version: str, tmp_path: Path) -> None:
    path = state_of(version, tmp_path)
    before = counts(path)
    database = Database(path)
    with closing(database):
        sweep_files(database)
        with database.read() as tx:
            found = {table.name: tx.find(table.noun) for table in TABLES.values()}
            instance = tx.get(Instance, id="i-1")
            assert instance is not None
            assert (instance.state, instance.tags, instance.metadata.hop_limit) == ("running", {"Name": "web"}, 2)
            interface = tx.get(NetworkInterface, id="eni-1")
            assert interface is not None and interface.instance_id == "i-1"
            image = tx.get(Image, id="ami-1")
            assert image is not None and image.root == "/images/ami-1/root"
            # What each VPC and each image of the account's has by now, those of that time have, too.
            for vpc in tx.find(Vpc):
                assert tx.get(NetworkAcl, vpc_id=vpc.id, is_default=True) is not None
            for mine in (one for one in tx.find(Image) if one.owner != "amazon"):
                snapshot = tx.get(Snapshot, id=mine.snapshot_id)
                assert snapshot is not None and (snapshot.root, snapshot.image_id) == (mine.root, mine.id)
                assert snapshot.state == ("pending" if mine.state == "pending" else "completed")
            for service, name in LISTS:
                TABLE[service, name].handler(tx, ROOT, {})
        with database.write() as tx:
            for rows in found.values():
                for row in rows:
                    tx.save(row)
    after = counts(path)
    assert {name: count for name, count in before.items() if after.get(name, 0) < count} == {}
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA user_version").fetchone() == (len(SCRIPTS),)


def migrations(directory: Path, monkeypatch: pytest.MonkeyPatch, *later: str) -> None:
    """This skylift's own first migration, and these after it."""
    scripts = directory / "migrations"
    scripts.mkdir()
    for number, text in enumerate([SCRIPTS[0].read_text(), *later], start=1):
        (scripts / f"{number:04}_step.sql").write_text(text)
    monkeypatch.setattr(store, "MIGRATIONS", scripts)


def test_a_later_migration_changes_a_state_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = state_of("0001", tmp_path)
    before = counts(path)
    migrations(tmp_path, monkeypatch, "CREATE TABLE notes (a TEXT); INSERT INTO notes SELECT id FROM volumes;")
    for _ in range(2):
        Database(path).close()
        assert counts(path) == {**before, "notes": before["volumes"]}
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)


def test_a_migration_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor do those before it: all that are missing are one transaction, and the error says which of them it was."""
    path = state_of("0001", tmp_path)
    before = counts(path)
    migrations(
        tmp_path,
        monkeypatch,
        "CREATE TABLE whole (a TEXT);",
        "CREATE TABLE half (a TEXT); DELETE FROM volumes; SELECT absent FROM volumes;",
    )
    with pytest.raises(StateUnreadable, match=r"0003_step\.sql: no such column: absent"):
        Database(path)
    assert counts(path) == before
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)


def test_a_state_from_before_the_first_release_is_refused(tmp_path: Path) -> None:
    """As it was left: by many migrations, and without the mark of those that are read."""
    data = Data(tmp_path / "of a user")
    data.path.mkdir()
    with closing(sqlite3.connect(data.database)) as old:
        old.executescript("PRAGMA journal_mode = WAL; CREATE TABLE vpcs (id TEXT); PRAGMA user_version = 35;")
    before = data.database.read_bytes()
    with pytest.raises(CannotStart) as refused, open_database(data, lambda _: None):
        pass
    assert refused.value.code == USAGE
    assert str(refused.value) == (
        f"{data.database} was written by another skylift from before the first release, and this one does not read it. "
        f"Nothing was changed. To begin anew and keep it: skylift cloud down; sudo mv '{data.path}' '{data.path}-old'. "
        "To begin anew without it: skylift cloud down --erase."
    )
    assert data.database.read_bytes() == before


SKYL = 0x736B796C
"""The application id of all databases before the id said of which schema they are."""


def with_another_column(path: Path) -> None:
    """As a change of the schema before the first release leaves what was made before it."""
    earlier = SCRIPTS[0].read_text().replace("encryption_put", "encryption_asked")
    assert earlier != SCRIPTS[0].read_text()
    with closing(sqlite3.connect(path)) as old:
        old.executescript(f"PRAGMA journal_mode = WAL; {earlier}; PRAGMA user_version = 1;")
        old.execute(f"PRAGMA application_id = {application_id(earlier)}")


def without_digest(path: Path) -> None:
    Database(path).close()
    with closing(sqlite3.connect(path)) as old:
        old.execute(f"PRAGMA application_id = {SKYL}")


def content(path: Path) -> list[object]:
    with closing(sqlite3.connect(path)) as connection:
        heads = [connection.execute(f"PRAGMA {name}").fetchone() for name in ("application_id", "user_version")]
        return [*heads, *connection.iterdump()]


@pytest.mark.parametrize("make", [with_another_column, without_digest])
def test_a_state_of_another_schema_is_refused(make: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    make(path)
    before = content(path)
    for refuses in (Database, refuse_unreadable):
        with pytest.raises(StateTooOld, match=r"another skylift from before the first release.*cloud down --erase"):
            refuses(path)
        assert content(path) == before


def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"something else" * 1000)
    for refuses in (Database, refuse_unreadable):
        with pytest.raises(StateUnreadable, match="not a database"):
            refuses(tmp_path / "state.db")


def test_a_look_at_a_state_that_is_read_makes_nothing(tmp_path: Path) -> None:
    refuse_unreadable(tmp_path / "state.db")
    assert list(tmp_path.iterdir()) == []
    Database(tmp_path / "state.db").close()
    before = content(tmp_path / "state.db")
    refuse_unreadable(tmp_path / "state.db")
    assert content(tmp_path / "state.db") == before
