"""What a client knows of the server of its last job: enough to begin a connection, and believed in nothing."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from support.whole_run import order

from skylift.client.attach import Attach
from skylift.client.job.cache import Cache
from skylift.client.job.job import Job, Spot
from skylift.client.job.server import Server
from skylift.client.job.server_record import NO_STATUS
from skylift.client.job.settings import Access, Settings
from skylift.client.launch.last_kept import (
    LastKept,
    StartedConnection,
    forget_kept,
    last_kept,
    remember_kept,
    start_connection,
)
from skylift.client.remote import ssh
from skylift.client.remote.account import open_account
from skylift.client.watch.streaming import Streamed
from skylift.client.watch.watched_job import WatchedJob
from skylift.contract.stream import HostKeys

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAvmQYuYD71X7/XlPU3aEWsBp0En6Ta+MF6J0ChgMILQ"
NOW = 1000.0
KEPT = LastKept("123456789012", "last", "t3.small", "127.0.0.1", HostKeys("me", (KEY,), "i-1"), NOW + 60)
SERVER = Server("i-1", "running", "127.0.0.1", "", "last", "t3.small", "")


@pytest.fixture
def place(settings: Settings, tmp_path: Path) -> Settings:
    return replace(settings, cache=Cache(tmp_path / "cache"))


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return order(tmp_path, "pass", keep=60)


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[StartedConnection]]:
    """What a test has begun is closed."""
    folders = tmp_path / "t"
    folders.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folders))
    found: list[StartedConnection] = []
    yield found
    for each in found:
        each.end()
    assert not list(folders.iterdir())


def test_it_is_known_again(place: Settings) -> None:
    assert last_kept(place) is None
    remember_kept(place, KEPT)
    assert last_kept(place) == KEPT


@pytest.mark.parametrize(
    "other", [{"region": "eu-west-1"}, {"endpoint_url": "http://127.0.0.1:1"}, {"account": "210987654321"}]
)
def test_of_another_place_it_says_nothing(place: Settings, other: dict[str, Any]) -> None:
    remember_kept(place, KEPT)
    assert last_kept(replace(place, **other)) is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("account", "../../secret"),
        ("account", 5),
        ("job", "-oProxyCommand=touch it"),
        ("job", None),
        ("type", "t3.small\n"),
        ("type", ["t3.small"]),
        ("address", "-oProxyCommand=touch it"),
        ("address", "host.example.com"),
        ("address", None),
        ("user", "root -v"),
        ("user", "-l"),
        ("keys", []),
        ("keys", ["ssh-ed25519 AAAA"]),
        ("keys", f"{KEY}\n* {KEY}"),
        ("keys", [f"{KEY}\n* {KEY}"]),
        ("until", "tomorrow"),
        ("until", -1),
        ("instance", "i-1; touch it"),
    ],
)
def test_what_is_damaged_is_nothing(
    place: Settings, job: Job, begun: list[StartedConnection], field: str, value: object
) -> None:
    remember_kept(place, KEPT)
    where = f"{place.endpoint_url} {place.region} {place.account}"
    fields = json.loads(place.cache.read("last-kept", where) or b"")
    place.cache.write("last-kept", where, json.dumps({**fields, field: value}).encode())
    assert start_connection(job, place, NOW) is None


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"{}", b"\xff", b"[" * 100_000])
def test_what_is_no_description_is_nothing(place: Settings, content: bytes) -> None:
    place.cache.write("last-kept", f"{place.endpoint_url} {place.region} {place.account}", content)
    assert last_kept(place) is None


def test_a_job_that_may_have_it_connects(place: Settings, job: Job, begun: list[StartedConnection]) -> None:
    assert start_connection(job, place, NOW) is None
    remember_kept(place, KEPT)
    found = start_connection(job, place, NOW)
    assert found is not None
    begun.append(found)


def test_a_job_that_cannot_have_it_does_not(
    place: Settings, job: Job, begun: list[StartedConnection], monkeypatch: pytest.MonkeyPatch
) -> None:
    remember_kept(place, KEPT)
    assert start_connection(replace(job, fresh=True), place, NOW) is None
    assert start_connection(replace(job, keep=0), place, NOW) is None
    assert start_connection(replace(job, reuse="another"), place, NOW) is None
    assert start_connection(replace(job, spot=Spot()), place, NOW) is None
    assert start_connection(replace(job, instance_type="t3.medium"), place, NOW) is None
    assert start_connection(job, replace(place, access=Access(private=True)), NOW) is None
    assert start_connection(job, place, NOW + 61) is None
    monkeypatch.setattr(ssh, "is_here", lambda: False)
    assert start_connection(job, place, NOW) is None


def test_a_shell_that_cannot_be_started(
    place: Settings, job: Job, begun: list[StartedConnection], monkeypatch: pytest.MonkeyPatch
) -> None:
    remember_kept(place, KEPT)

    def none_left(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", none_left)
    assert start_connection(job, place, NOW) is None


def test_it_is_forgotten_with_its_server_and_with_no_other(place: Settings) -> None:
    remember_kept(place, KEPT)
    forget_kept(place, "i-2")
    assert last_kept(place) == KEPT
    for _ in range(2):
        forget_kept(place, "i-1")
        assert last_kept(place) is None


@pytest.mark.parametrize("differs", ["job", "address", "host_keys", None])
def test_it_is_one_server_by_job_address_and_host_keys(differs: str | None) -> None:
    remembered = {
        "job": replace(KEPT, job="before"),
        "address": replace(KEPT, address="127.0.0.2"),
        "host_keys": replace(KEPT, host_keys=KEPT.host_keys._replace(user="you")),
        None: KEPT,
    }[differs]
    connection = StartedConnection(remembered, cast(ssh.SshStart, None))
    assert connection.is_to(SERVER, KEPT.host_keys) == (differs is None)
    assert not connection.is_to(SERVER, None)


@pytest.mark.parametrize(
    ("job", "server", "until", "remembered"),
    [
        ({}, SERVER, NOW + 60, KEPT),
        ({"deadline": NOW + 60}, SERVER, NOW + 600, KEPT),
        ({"launched_here": False}, SERVER, NOW + 60, None),
        ({"host_keys": None}, SERVER, NOW + 60, None),
        ({"host_keys": KEPT.host_keys._replace(instance="i-2")}, SERVER, NOW + 60, None),
        ({}, None, NOW + 60, None),
        ({}, replace(SERVER, address=None), NOW + 60, None),
        ({}, SERVER, None, None),
    ],
)
def test_what_a_run_remembers(
    place: Settings, job: dict[str, Any], server: Server | None, until: float | None, remembered: LastKept | None
) -> None:
    """A server that it has started itself, that is kept, and that it knows by its host keys."""
    account = open_account(place)
    known: dict[str, Any] = {"launched_here": True, "host_keys": KEPT.host_keys, **job}
    watched = WatchedJob(account, "last", Path(), 60, "t3.small", server, **known)
    streamed = Streamed(watched, server, NO_STATUS._replace(kept_until=until))
    Attach._remember(cast(Attach, SimpleNamespace(_job=watched)), streamed)
    assert last_kept(place) == remembered
