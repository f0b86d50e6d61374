"""Where jobs run: what `--on` and the project say, and what boto3 must know for AWS."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from skylift.cli.main import perform
from skylift.client.errors import NoCredentials, UsageError
from skylift.client.job.image_choice import PUBLISHED
from skylift.cloud.state.home import default_home
from skylift.place.settings import settings_for
from skylift.place.start import bring_up


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own, and an AWS configuration that is empty."""
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("SKYLIFT_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_region_of_the_environment_or_the_profile(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    settings = settings_for("aws")
    assert (settings.region, settings.endpoint_url, settings.credentials) == ("eu-central-1", None, None)
    assert settings.image == PUBLISHED["debian-13"]
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    (here / "config").write_text("[profile work]\nregion = ap-south-1\n")
    monkeypatch.setenv("AWS_PROFILE", "work")
    assert settings_for("aws").region == "ap-south-1"


def test_no_region(here: Path) -> None:
    with pytest.raises(UsageError, match="No AWS region is set") as caught:
        settings_for("aws")
    assert "AWS_DEFAULT_REGION" in caught.value.advice


def test_profile_that_is_not_there(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobodys")
    with pytest.raises(NoCredentials, match="nobodys"):
        settings_for("aws")


def test_the_project_chooses_where_nothing_is_said(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    (here / "pyproject.toml").write_text('[tool.skylift]\non = "aws"\n')
    with pytest.raises(UsageError, match="need your agreement"):
        settings_for(None)
    assert settings_for(None, trusted=True).place == "AWS"


@pytest.mark.parametrize("command", [["ps"], ["cancel", "x"], ["ssh", "x"]])
def test_place_that_nobody_knows(command: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert perform([command[0], "--on", "mars", *command[1:]]) == 2
    assert "'mars'" in capfd.readouterr().err


def test_no_credentials_are_told_before_anything_is_made(
    here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    (here / "job.py").touch()
    assert perform(["run", "--on", "aws", "--ssh-from", "198.51.100.7", "job.py"]) == 2
    told = capfd.readouterr().err
    assert "aws configure" in told
    assert "Traceback" not in told


def test_private_on_aws_needs_a_way_to_s3(
    here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Else its server would wait for its job for ten minutes, and the user with it."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    (here / "job.py").touch()
    assert perform(["run", "--on", "aws", "--private", "job.py"]) == 2
    assert "--private needs --subnet on AWS" in capfd.readouterr().err


def test_a_state_directory_where_none_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SKYLIFT_HOME", str(tmp_path / "file" / "home"))
    assert perform(["cloud", "up"]) == 2
    err = capfd.readouterr().err
    assert "file/home cannot be made: Not a directory." in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "command",
    [
        ["ps"],
        ["logs", "x"],
        ["attach", "x"],
        ["wait", "x"],
        ["results", "x"],
        ["ssh", "x"],
        ["cancel", "x"],
        ["rm", "x"],
        ["sweep"],
        ["cluster", "ls"],
        ["cluster", "down", "x"],
    ],
)
def test_nobody_starts_a_cloud_by_looking(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def start(*_: object, **__: object) -> None:
        raise AssertionError("the cloud was started")

    monkeypatch.setattr("skylift.place.local.bring_up", start)
    monkeypatch.setattr("skylift.place.local.run_as_root", start)
    monkeypatch.setenv("SKYLIFT_DATA", str(tmp_path / "data"))
    assert perform([*command, "--on", "local"] if command[0] != "ssh" else ["ssh", "--on", "local", "x"]) == 2
    assert "There is no cloud in" in capfd.readouterr().err
    data = default_home().data
    data.path.mkdir(parents=True)
    data.down_mark.touch()
    assert perform(command) == 2
    err = capfd.readouterr().err
    assert "was taken down" in err
    assert "Start it: skylift cloud up" in err
    assert "builds the image of servers first" in err
    assert not (tmp_path / "home").exists()


def test_a_state_that_is_refused_is_refused_before_an_image_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(*_: object) -> None:
        raise AssertionError("an image was built")

    monkeypatch.setattr("skylift.place.start.require_parts", lambda: None)
    monkeypatch.setattr("skylift.place.start.make_data", lambda home: None)
    monkeypatch.setattr("skylift.place.start.require_image", build)
    monkeypatch.setenv("SKYLIFT_DATA", str(tmp_path / "data"))
    home = default_home()
    home.data.path.mkdir(parents=True)
    with closing(sqlite3.connect(home.data.database)) as other:
        other.execute("CREATE TABLE vpcs (id TEXT)")
    with pytest.raises(UsageError, match="another skylift from before the first release"):
        bring_up(home)
