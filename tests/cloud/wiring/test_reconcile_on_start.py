"""Servers that ended while the cloud was not there: until when they are paid for."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.plain_instance import plain_instance

from skylift.cloud.compute.server.server import EXIT_POWEROFF, EXIT_REBOOT
from skylift.cloud.domain.instance import Instance
from skylift.cloud.domain.usage import Usage
from skylift.cloud.state.data import Data
from skylift.cloud.store.database import Database
from skylift.cloud.wiring.reconcile_on_start import (
    account_for_ended_servers,
    keep_boot,
    keep_last_seen,
    last_seen,
    machine_went_off,
    note_ended_servers,
    this_boot,
)

START = datetime(2026, 11, 20, 18, tzinfo=UTC)
MONDAY = START + timedelta(days=3)


class Servers:
    def __init__(self, *running: str, ended: dict[str, datetime] | None = None) -> None:
        self._running = dict.fromkeys(running, 1)
        self._ended = ended or {}
        self.codes: dict[str, int] = {}

    def running(self) -> dict[str, int]:
        return self._running

    def has_ended(self, server_id: str) -> bool:
        return server_id not in self._running

    def exit_code(self, server_id: str) -> int | None:
        return self.codes.get(server_id)

    def ended_at(self, server_id: str) -> datetime | None:
        return self._ended.get(server_id)


@pytest.fixture
def data(tmp_path: Path) -> Data:
    return Data(tmp_path)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path / "state.db", clock=lambda: MONDAY)
    with opened.write() as tx:
        for number, name in enumerate(("i-1", "i-2"), start=1):
            tx.add(Usage(number, name, "instance", START, START, instance_id=name))
    yield opened
    opened.close()


def mark(path: Path, moment: datetime) -> None:
    path.touch()
    os.utime(path, (moment.timestamp(), moment.timestamp()))


def ended(database: Database) -> dict[str, timedelta | None]:
    """After how long, by instance."""
    with database.read() as tx:
        return {one.resource_id: one.ended - START if one.ended else None for one in tx.find(Usage)}


def test_taken_down_on_friday(database: Database, data: Data) -> None:
    mark(data.seen, START + timedelta(minutes=59))
    mark(data.down_mark, START + timedelta(hours=1))
    account_for_ended_servers(database, Servers(), data)
    assert set(ended(database).values()) == {timedelta(hours=1)}


def test_taken_down_on_friday_and_cut_off_as_it_starts_on_monday(database: Database, data: Data) -> None:
    """The mark is gone by then."""
    mark(data.seen, START + timedelta(minutes=59))
    mark(data.down_mark, START + timedelta(hours=1))
    keep_last_seen(data)
    data.down_mark.unlink()
    keep_last_seen(data)
    account_for_ended_servers(database, Servers(), data)
    assert set(ended(database).values()) == {timedelta(hours=1)}


@pytest.mark.parametrize(
    ("behavior", "code", "state"),
    [
        ("stop", None, "stopping"),
        ("terminate", None, "shutting-down"),
        ("stop", EXIT_POWEROFF, "stopping"),
        ("stop", EXIT_REBOOT, "running"),
    ],
)
def test_nobody_is_told_that_a_server_runs_which_has_ended(
    tmp_path: Path, data: Data, behavior: str, code: int | None, state: str
) -> None:
    """And what it cost ends when it did, not when it is found."""
    mark(data.seen, START + timedelta(hours=1))
    now = [START]
    database = Database(tmp_path / "other.db", clock=lambda: now[0])
    with database.write() as tx:
        for number, name in enumerate(("i-1", "i-2"), start=1):
            tx.add(
                plain_instance(id=name, state="running", shutdown_behavior=behavior, booted=True, uid_base=number << 16)
            )
    now[0] = MONDAY
    servers = Servers("i-1")
    servers.codes = {} if code is None else {"i-2": code}
    note_ended_servers(database, servers, data)
    with database.read() as tx:
        assert {one.id: one.state for one in tx.find(Instance)} == {"i-1": "running", "i-2": state}
    assert ended(database) == {"i-1": None, "i-2": None if state == "running" else timedelta(hours=1)}
    database.close()


def test_a_first_start_has_nothing_to_keep(data: Data) -> None:
    keep_last_seen(data)
    assert last_seen(data) is None


def test_what_still_runs_goes_on(database: Database, data: Data) -> None:
    mark(data.seen, START + timedelta(hours=1))
    account_for_ended_servers(database, Servers("i-1"), data)
    assert ended(database) == {"i-1": None, "i-2": timedelta(hours=1)}


def test_an_end_that_somebody_saw_counts(database: Database, data: Data) -> None:
    mark(data.seen, START + timedelta(hours=1))
    account_for_ended_servers(database, Servers(ended={"i-1": START + timedelta(hours=7)}), data)
    assert ended(database) == {"i-1": timedelta(hours=7), "i-2": timedelta(hours=1)}


def test_without_a_sign_it_is_now_and_never_before_it_began(database: Database, data: Data) -> None:
    account_for_ended_servers(database, Servers(ended={"i-1": START - timedelta(hours=1)}), data)
    assert ended(database) == {"i-1": timedelta(0), "i-2": timedelta(days=3)}


@pytest.mark.parametrize("code", [None, EXIT_POWEROFF])
def test_a_server_under_which_the_machine_went_off_starts_again(tmp_path: Path, data: Data, code: int | None) -> None:
    before, after = b"1 1", b"1 2"
    keep_boot(data, before)
    assert (machine_went_off(data, before), machine_went_off(data, after)) == (False, True)
    database = Database(tmp_path / "other.db", clock=lambda: MONDAY)
    with database.write() as tx:
        tx.add(plain_instance(id="i-2", state="running", shutdown_behavior="terminate", booted=True))
    servers = Servers()
    servers.codes = {} if code is None else {"i-2": code}
    note_ended_servers(database, servers, data, went_off=machine_went_off(data, after))
    with database.read() as tx:
        row = tx.get(Instance, id="i-2")
    database.close()
    assert row is not None
    assert (row.state, row.rebooting) == (("running", True) if code is None else ("shutting-down", False))
    data.down_mark.touch()
    assert not machine_went_off(data, after)


@pytest.mark.real
def test_a_container_is_a_machine_of_its_own() -> None:
    """Its servers end with it, though the machine goes on."""
    asked = f"from {this_boot.__module__} import this_boot; print(this_boot().decode())"
    command = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", asked]
    inside = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    here = this_boot().decode()
    assert here == this_boot().decode()
    assert inside.split()[0] == here.split()[0]
    assert inside != here
