"""Profiles in AWS's own files: added and taken out without a trace, and never over somebody else's."""

from __future__ import annotations

import configparser
import json
import os
import pwd
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path

import pytest

from skylift.cli.aws_profile import Profile, remove_profiles, write_profile
from skylift.client.errors import UsageError
from skylift.cloud.state.data import Endpoint
from skylift.cloud.state.home import Home, RootKey

ENDPOINT = Endpoint("http://127.0.0.1:4520", "us-east-1", "123456789012", 1, "0.1.0", "127.32.0.1")
KEY = RootKey("AKIAEXAMPLE", "secret/+=")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws/config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "aws/credentials"))
    return tmp_path / "aws/config"


@pytest.fixture
def credentials(config: Path) -> Path:
    return config.parent / "credentials"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "home").mkdir()
    return Home(tmp_path / "home")


def section(path: Path, name: str) -> dict[str, str]:
    parser = configparser.RawConfigParser()
    parser.read_string(path.read_text())
    return dict(parser.items(name))


def test_a_profile_is_readable_for_awss_tools_and_for_nobody_else(home: Home, config: Path, credentials: Path) -> None:
    write_profile(home, "lift", ENDPOINT, KEY)
    assert section(config, "profile lift") == {"region": "us-east-1", "endpoint_url": "http://127.0.0.1:4520"}
    assert section(credentials, "lift") == {"aws_access_key_id": "AKIAEXAMPLE", "aws_secret_access_key": "secret/+="}
    assert [path.stat().st_mode & 0o777 for path in (config, credentials)] == [0o600, 0o600]
    assert {path.name for path in config.parent.iterdir()} == {"config", "credentials"}


def test_the_default_profile_has_no_prefix(home: Home, config: Path) -> None:
    write_profile(home, "default", ENDPOINT, KEY)
    assert section(config, "default")["region"] == "us-east-1"


@pytest.mark.parametrize(
    "before",
    [
        b"[default]\nregion=eu-west-1\n",
        b"# mine, in no known encoding: \xe9\r\n[profile a]\r\nregion = x\r\n\r\n\r\n",
        b"[default]\nregion = no newline at the end",
    ],
)
def test_the_rest_of_the_files_stays_byte_for_byte(home: Home, config: Path, credentials: Path, before: bytes) -> None:
    config.parent.mkdir()
    for path in (config, credentials):
        path.write_bytes(before)
        path.chmod(0o640)
    write_profile(home, "lift", ENDPOINT, KEY)
    assert config.read_bytes().startswith(before)
    assert remove_profiles(home) == []
    assert [path.read_bytes() for path in (config, credentials)] == [before, before]
    assert config.stat().st_mode & 0o777 == 0o640
    assert not (home.path / "profiles.json").exists()


def test_files_that_only_held_the_profile_go_with_it(home: Home, config: Path, credentials: Path) -> None:
    write_profile(home, "lift", ENDPOINT, KEY)
    write_profile(home, "lift2", ENDPOINT, KEY)
    remove_profiles(home)
    assert not config.exists()
    assert not credentials.exists()


def test_writing_again_brings_it_up_to_date(home: Home, config: Path) -> None:
    write_profile(home, "lift", ENDPOINT, KEY)
    moved = Endpoint("http://127.0.0.1:9999", *list(ENDPOINT.__dict__.values())[1:])
    write_profile(home, "lift", moved, KEY)
    assert section(config, "profile lift")["endpoint_url"] == "http://127.0.0.1:9999"
    remove_profiles(home)
    assert not config.exists()


@pytest.mark.parametrize("header", ["[profile lift]", '[profile "lift"]', "[ profile lift ]"])
def test_a_profile_of_somebody_else_is_not_touched(home: Home, config: Path, credentials: Path, header: str) -> None:
    config.parent.mkdir()
    config.write_text(f"{header}\nregion = x\n")
    with pytest.raises(UsageError, match="did not write"):
        write_profile(home, "lift", ENDPOINT, KEY)
    assert config.read_text() == f"{header}\nregion = x\n"
    assert not credentials.exists()
    assert remove_profiles(home) == []
    assert config.exists()


def test_another_clouds_profile_is_somebody_elses(home: Home, config: Path, tmp_path: Path) -> None:
    write_profile(home, "lift", ENDPOINT, KEY)
    (tmp_path / "other").mkdir()
    with pytest.raises(UsageError, match="did not write"):
        write_profile(Home(tmp_path / "other"), "lift", ENDPOINT, KEY)


def test_a_profile_that_was_changed_stays_and_is_told(home: Home, config: Path) -> None:
    write_profile(home, "lift", ENDPOINT, KEY)
    config.write_text(config.read_text().replace("us-east-1", "eu-west-1"))
    (said,) = remove_profiles(home)
    assert "lift" in said
    assert str(config) in said
    assert "eu-west-1" in config.read_text()


@pytest.mark.parametrize("name", ["", "a b", "a]\n[b", "a\n"])
def test_names_that_would_break_the_file_are_refused(home: Home, config: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be the name"):
        write_profile(home, name, ENDPOINT, KEY)
    assert not config.exists()


def test_a_link_is_followed_and_stays_one(home: Home, config: Path, tmp_path: Path) -> None:
    config.parent.mkdir()
    (tmp_path / "dotfiles-config").write_text("[default]\n")
    config.symlink_to(tmp_path / "dotfiles-config")
    write_profile(home, "lift", ENDPOINT, KEY)
    assert config.is_symlink()
    assert "[profile lift]" in (tmp_path / "dotfiles-config").read_text()


def test_what_is_remembered_is_for_the_owner_only(home: Home, config: Path) -> None:
    write_profile(home, "lift", ENDPOINT, KEY)
    file = home.path / "profiles.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert json.loads(file.read_text())[0]["config"] == os.environ["AWS_CONFIG_FILE"]


@pytest.mark.real
def test_under_sudo_no_other_file_is_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's own programs write what profiles.json remembers; root takes the profile out."""
    user = pwd.getpwnam("nobody")
    shadow = tmp_path / "shadow"
    shadow.write_text("root:hash:1:0:::::\n")
    shadow.chmod(0o600)
    home = Home(Path(tempfile.mkdtemp(prefix="sky-")))
    try:
        file = home.path / "profiles.json"
        file.write_text(json.dumps([asdict(Profile("x", str(shadow), str(shadow), "hash", "hash"))]))
        for path in (home.path, file):
            os.chown(path, user.pw_uid, user.pw_gid)
        monkeypatch.setenv("SUDO_UID", str(user.pw_uid))
        with pytest.raises(UsageError, match="shadow cannot be read: Permission denied"):
            remove_profiles(home)
        assert shadow.read_text() == "root:hash:1:0:::::\n"
    finally:
        shutil.rmtree(home.path)
