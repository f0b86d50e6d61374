"""`skylift cloud down` where it cannot be known which jobs run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from skylift.cli.main import perform
from skylift.cli.running_jobs import RunningJobs
from skylift.client.errors import RunError, UsageError
from skylift.cloud.state.data import EndpointUnreadable
from skylift.cloud.state.home import Home

WHY = "The jobs of this cloud cannot be listed: list_objects_v2: nobody is there"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """Of a cloud that runs and does not answer."""

    def nobody(*_: object, **__: object) -> None:
        raise RunError("list_objects_v2: nobody is there")

    monkeypatch.setenv("SKYLIFT_HOME", str(tmp_path))
    monkeypatch.setenv("SKYLIFT_DATA", str(tmp_path / "data"))
    monkeypatch.setattr("skylift.place.local.local_settings", nobody)
    monkeypatch.setattr(Home, "running_pid", lambda _: os.getpid())
    home = Home(tmp_path)
    home.data.path.mkdir(parents=True)
    return home


def test_jobs_that_cannot_be_listed_are_not_taken_for_none(
    home: Home, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    stopped: list[object] = []
    monkeypatch.setattr("skylift.place.start.stop_cloud", lambda *args, **_: stopped.append(args))
    assert perform(["cloud", "down"]) == 2
    told = capfd.readouterr().err
    assert WHY in told
    assert "skylift cloud down --force" in told
    assert stopped == []


def test_the_jobs_of_a_cloud_whose_address_is_unreadable_are_not_taken_for_none(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(_: Home) -> None:
        raise EndpointUnreadable("/data/cloud.json")

    monkeypatch.setattr(Home, "running_pid", unreadable)
    jobs = RunningJobs(home)
    assert jobs
    with pytest.raises(UsageError, match=r"may not read /data/cloud\.json"):
        jobs.agree()


def test_with_force_it_is_told_and_nothing_asked(home: Home, capfd: pytest.CaptureFixture[str]) -> None:
    jobs = RunningJobs(home)
    assert jobs
    jobs.end()
    assert capfd.readouterr().err == f"{WHY}\n"
