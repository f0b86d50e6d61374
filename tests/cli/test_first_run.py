"""What the first run finds ready, because it was made while the cloud started."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from skylift.client.job.cache import Cache
from skylift.client.job.settings import Credentials, NewestImage, Secret, Settings
from skylift.client.remote.api import Api
from skylift.client.ship.archive import boot_archive, whole_archive
from skylift.cloud.state.home import Home
from skylift.place.first_run import CACHE, cache_filled


@pytest.fixture(autouse=True)
def no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_DATA_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "home").mkdir(mode=0o700)
    return Home(tmp_path / "home")


def files(home: Home) -> dict[str, int]:
    return {each.name: each.stat().st_ino for each in (home.path / CACHE).iterdir()}


def test_a_first_client_has_nothing_to_make(home: Home) -> None:
    with cache_filled(home):
        pass
    made = files(home)
    cache = Cache(home.path / CACHE)
    settings = Settings(
        "eu-west-1",
        home.path,
        NewestImage("x", ()),
        lambda: "127.0.0.1",
        endpoint_url="http://127.0.0.1:9",
        credentials=Credentials("AKIAEXAMPLE", Secret("key")),
        cache=cache,
    )
    Api(settings).warm()
    boot_archive(cache)
    whole_archive(cache)
    assert files(home) == made
    assert "ec2.service-2.json" in made


def test_a_later_start_makes_nothing(home: Home) -> None:
    with cache_filled(home):
        pass
    before = files(home)
    (home.path / CACHE / "boot.zip").unlink()
    with cache_filled(home):
        pass
    assert {**files(home), "boot.zip": 0} == {**before, "boot.zip": 0}
    assert not (home.path / CACHE / "boot.zip").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_root_writes_nothing_for_a_user(home: Home) -> None:
    os.chown(home.path, 1234, 1234)
    with cache_filled(home):
        pass
    assert list(home.path.iterdir()) == []


def test_settings_that_cannot_be_used_are_left_to_the_run(
    home: Home, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobodys")
    with cache_filled(home):
        pass
    assert capfd.readouterr() == ("", "")
