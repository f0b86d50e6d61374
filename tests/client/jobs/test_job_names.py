"""Which job is meant: by its name, by the beginning of it, or by `-`."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from skylift.cli.main import perform
from skylift.client.errors import JobNotFound, UsageError
from skylift.client.job.cache import Cache
from skylift.client.job.last_job import last_job, remember_job
from skylift.client.job.record import JobKeys
from skylift.client.job.settings import Settings
from skylift.client.jobs.names import find_job_name
from skylift.client.launch.bucket import ensure_bucket
from skylift.client.remote.account import Account, open_account


@pytest.fixture
def account(settings: Settings, monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path) -> Account:
    settings = replace(settings, cache=Cache(tmp_path / "cache"))
    monkeypatch.setattr("skylift.place.local.local_settings", lambda *_: settings)
    monkeypatch.chdir(folder)
    account = open_account(settings)
    ensure_bucket(account.api, account.bucket)
    for name in ("train", "train-tsn2", "trade-x7k2", "environment-0a1b2c3d"):
        # What cannot be read has a name all the same.
        account.api.put(account.bucket, JobKeys(name).record, b"{")
    return account


@pytest.mark.parametrize(
    ("asked", "meant"), [("train", "train"), ("train-", "train-tsn2"), ("trade", "trade-x7k2"), ("train-tsn2",) * 2]
)
def test_a_beginning_that_one_name_has_is_that_name(account: Account, asked: str, meant: str) -> None:
    assert find_job_name(account, asked) == meant


def test_a_beginning_of_several_names_is_refused_with_them(account: Account) -> None:
    with pytest.raises(UsageError, match="3 jobs begin with 'tra'") as refused:
        find_job_name(account, "tra")
    assert refused.value.advice == "trade-x7k2, train-tsn2, train"


@pytest.mark.parametrize(
    ("asked", "advice"),
    [
        ("trian", "Did you mean train?"),
        ("train-tsn3", "Did you mean train-tsn2"),
        ("nothing-like-it", "See `skylift ps --all`."),
        ("", "See `skylift ps --all`."),
        ("../train", "Did you mean train"),
        ("-", "See `skylift ps --all`."),
    ],
)
def test_a_name_that_is_nearly_right_is_offered(account: Account, asked: str, advice: str) -> None:
    with pytest.raises(JobNotFound) as refused:
        find_job_name(account, asked)
    assert (refused.value.advice or "").startswith(advice)


def test_what_cannot_be_undone_wants_the_whole_name(
    account: Account, capfd: pytest.CaptureFixture[str], folder: Path
) -> None:
    remember_job(account.settings, folder, "train")
    for asked in ("trade", "-"):
        assert perform(["rm", asked]) == 2
    assert "Did you mean trade-x7k2?" in capfd.readouterr().err
    assert perform(["rm", "trade-x7k2"]) == 0
    assert set(account.recorded()) == {"environment-0a1b2c3d", "train", "train-tsn2"}


def test_the_last_job_is_that_of_the_folder_and_the_place(
    account: Account, folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    remember_job(account.settings, folder, "train-tsn2")
    remember_job(account.settings, tmp_path, "train")
    assert find_job_name(account, "-") == "train-tsn2"
    os.chdir(tmp_path)
    assert find_job_name(account, "-") == "train"
    # Without a terminal, it has to be asked for.
    assert perform(["logs"]) == 2
    assert "Which job?" in capfd.readouterr().err


@pytest.mark.parametrize("found", [b"", b"../x", b"\xff\xfe", b"a" * 100, b"train\x1b[2J"])
def test_a_damaged_entry_is_none(account: Account, folder: Path, found: bytes) -> None:
    remember_job(account.settings, folder, found.decode("latin-1"))
    assert last_job(account.settings, folder) is None


def test_servers_for_images_are_not_listed(account: Account, capfd: pytest.CaptureFixture[str]) -> None:
    assert perform(["ps", "--all", "--json"]) == 0
    names = {each["name"] for each in json.loads(capfd.readouterr().out)}
    assert names == {"train", "train-tsn2", "trade-x7k2"}
