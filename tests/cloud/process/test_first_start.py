"""The account's first key, wherever its start is cut off, and the state directory, which has one cloud."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from skylift.cloud.compute.network.loopback_range import LoopbackRange
from skylift.cloud.domain.identity import AccessKey
from skylift.cloud.process.lock import hold
from skylift.cloud.state.home import Home, RootKey
from skylift.cloud.store.database import Database
from skylift.cloud.wiring.bootstrap import bootstrap


@pytest.fixture(name="home")
def home_fixture(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.path.mkdir()
    return home


@pytest.fixture(name="database")
def database_fixture(home: Home) -> Iterator[Database]:
    with hold(home):
        database = Database(home.data.database)
        yield database
        database.close()


def start(database: Database, home: Home) -> RootKey:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        bootstrap(database, home, None, LoopbackRange(35, str(home.path), os.getpid()), listener)
    key = home.root_key()
    assert key is not None
    with database.read() as tx:
        known = tx.get(AccessKey, id=key.access_key_id)
    assert known is not None and known.secret == key.secret_access_key
    return key


def test_the_key_of_the_first_start_stays(database: Database, home: Home) -> None:
    assert start(database, home) == start(database, home)


def test_a_lost_key_is_made_anew_and_the_old_one_is_still_good(database: Database, home: Home) -> None:
    first = start(database, home)
    (home.path / "credentials.json").unlink()
    second = start(database, home)
    assert second != first
    with database.read() as tx:
        assert {key.id for key in tx.find(AccessKey)} == {first.access_key_id, second.access_key_id}


@pytest.mark.parametrize("known", [(), ("another",)])
def test_a_start_that_was_cut_off_after_the_file_is_made_up_for(
    database: Database, home: Home, known: tuple[str, ...]
) -> None:
    """The file names a key that was never committed, with and without an older one in the database."""
    for _ in known:
        start(database, home)
    home.write_root_key(RootKey("AKIANEVERCOMMITTED00", "secret"))
    assert start(database, home).access_key_id != "AKIANEVERCOMMITTED00"


def test_a_key_with_another_secret_is_not_the_accounts(database: Database, home: Home) -> None:
    key = start(database, home)
    home.write_root_key(replace(key, secret_access_key="of somebody else"))
    assert start(database, home).access_key_id != key.access_key_id


def test_a_second_cloud_in_a_state_directory_is_refused(home: Home) -> None:
    command = [sys.executable, "-m", "skylift.cloud.main", "--home", str(home.path), "--ready-fd", "1"]
    with hold(home):
        refused = subprocess.run(command, capture_output=True, text=True, check=False)
        down = subprocess.run([*command, "--down"], capture_output=True, text=True, check=False)
    for one in (refused, down):
        assert one.returncode == 2
        assert one.stdout == f"2 Another process is running the cloud in {home.path}.\n"
    # It looked at nothing and left nothing.
    assert not home.data.database.exists() and not home.data.down_mark.exists()
