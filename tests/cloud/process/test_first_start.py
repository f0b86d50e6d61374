"""The account's first key, wherever its start is cut off, and the state directory, which has one cloud."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.plain_instance import plain_instance

from skylift.cloud.compute.image.recipe import read_recipe
from skylift.cloud.compute.network.loopback_range import LoopbackRange
from skylift.cloud.domain.identity import AccessKey
from skylift.cloud.domain.instance import Image
from skylift.cloud.process.lock import hold
from skylift.cloud.services.ec2.image import register_image
from skylift.cloud.state.home import Home, RootKey
from skylift.cloud.store.database import Database
from skylift.cloud.wiring.bootstrap import bootstrap

NOW = datetime(2026, 1, 1, tzinfo=UTC)


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


def test_of_images_that_others_have_built_those_that_something_needs_are_known(
    database: Database, home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Another version on this machine has another recipe; one that was replaced stays while an instance is of it."""
    monkeypatch.setenv("SKYLIFT_DATA", str(tmp_path / "data"))
    home.data.path.mkdir(parents=True)
    own = read_recipe().image_id
    for image in (own, "ami-theirs", "ami-needed", "ami-gone"):
        build(home.data.images, image)
    with database.write() as tx:
        for known in ("ami-gone", "ami-needed"):
            register_image(tx, Image(known, known, "", "/of/an/earlier/version", 8, NOW, "x86_64"))
        tx.add(plain_instance(image_id="ami-needed"))
    start(database, home)
    with database.read() as tx:
        known_now = {each.id: each.root for each in tx.find(Image)}
    assert known_now == {each: str(home.data.images / each / "root") for each in (own, "ami-needed")}
    assert json.loads(home.data.images_in_use.read_text()) == sorted(known_now)


def build(place: Path, image: str) -> None:
    (place / image / "root").mkdir(parents=True)
    told = {"id": image, "name": image, "description": "", "architecture": "x86_64", "size": 1}
    (place / f"{image}.json").write_text(json.dumps({**told, "created": NOW.isoformat()}))


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
