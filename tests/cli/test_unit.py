"""The unit of systemd that the cloud is: its text, its environment, and what systemctl is asked.

Whether systemd takes it is seen in tests/vm."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from skylift.client.errors import UsageError
from skylift.cloud.state.home import Home
from skylift.place import unit
from skylift.place.start import start_cloud
from skylift.place.unit import Unit


class Systemctl:
    """A program on PATH that notes what it was asked, and answers."""

    def __init__(self, place: Path) -> None:
        self._place = place
        place.mkdir()

    def answers(self, start: int, text: str = "") -> None:
        program = self._place / "systemctl"
        program.write_text(
            f'#!/bin/sh\necho "$@" >>{self._place}/asked\n'
            f"case $2 in start) exit {start} ;; show) echo {shlex.quote(text)} ;; esac\n"
        )
        program.chmod(0o755)

    @property
    def asked(self) -> list[str]:
        return (self._place / "asked").read_text().splitlines()


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Systemctl:
    made = Systemctl(tmp_path / "bin")
    made.answers(0)
    monkeypatch.setattr(unit, "own_environment", lambda: {"PATH": f"{tmp_path}/bin:/usr/bin:/bin"})
    for name in ("UNTIL_OFF", "FOR_GOOD"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(unit, name, tmp_path / name)
    return made


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("SKYLIFT_DATA", str(tmp_path / "data"))
    found = Home(tmp_path / "a home $USER 100%")
    found.path.mkdir()
    found.data.path.mkdir(parents=True)
    return found


def test_a_start_writes_the_unit_and_waits_for_it(
    home: Home, systemctl: Systemctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", 'http://me:"pass\\word"@proxy:3128')
    monkeypatch.setenv("LD_PRELOAD", "/home/me/evil.so")
    monkeypatch.setenv("PYTHONPATH", "/home/me")
    start_cloud(home, 4600, None, ["10.0.0.0/8:53/udp"])
    one = Unit(home)
    assert systemctl.asked == ["--quiet daemon-reload", f"--quiet start {one.name}"]
    lines = (tmp_path / "UNTIL_OFF" / one.name).read_text().splitlines()
    (command,) = [line for line in lines if line.startswith("ExecStart=")]
    assert command.endswith(f'"skylift.cloud" "--home" "{tmp_path}/a home $$USER 100%%" $SKYLIFT_START')
    assert {"Type=notify", "KillMode=process", "Delegate=yes", f"EnvironmentFile={home.data.environment}"} <= set(lines)
    assert home.data.environment.stat().st_mode & 0o777 == 0o600
    environment = home.data.environment.read_text()
    assert 'HTTPS_PROXY="http://me:\\"pass\\\\word\\"@proxy:3128"\n' in environment
    assert 'SKYLIFT_START="--port 4600 --allow 10.0.0.0/8:53/udp"\n' in environment
    assert "evil" not in environment
    assert "PYTHONPATH" not in environment


def test_what_the_process_says_of_itself_is_told(home: Home, systemctl: Systemctl) -> None:
    systemctl.answers(1, "2 Port 4600 is taken.")
    with pytest.raises(UsageError, match=r"Port 4600 is taken\."):
        start_cloud(home, 4600)


def test_no_line_of_a_unit_comes_from_a_path(tmp_path: Path, systemctl: Systemctl) -> None:
    home = Home(tmp_path / "x\nExecStartPre=evil")
    home.path.mkdir()
    home.data.path.mkdir(parents=True)
    with pytest.raises(UsageError, match="characters that a unit"):
        start_cloud(home)
    assert list((tmp_path / "UNTIL_OFF").iterdir()) == []


def test_one_that_starts_with_the_machine_until_it_is_removed(home: Home, systemctl: Systemctl, tmp_path: Path) -> None:
    start_cloud(home)
    one = Unit(home)
    one.keep()
    assert systemctl.asked[-1] == f"--quiet enable {one.name}"
    assert ([*(tmp_path / "UNTIL_OFF").iterdir()], [*(tmp_path / "FOR_GOOD").iterdir()]) == (
        [],
        [tmp_path / "FOR_GOOD" / one.name],
    )
    # A start by hand is of the same unit, and `cloud down` leaves it.
    start_cloud(home)
    one.remove(kept=False)
    assert one.starts_at_boot
    assert not (tmp_path / "UNTIL_OFF" / one.name).exists()
    one.remove(kept=True)
    assert systemctl.asked[-2:] == [f"--quiet disable {one.name}", "--quiet daemon-reload"]
    assert not one.starts_at_boot


def test_a_cloud_that_runs_has_its_unit_until_it_ends(
    home: Home, systemctl: Systemctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it, systemd knows neither its stop nor that its servers' monitors are to be left."""
    start_cloud(home)
    one = Unit(home)
    one.keep()
    monkeypatch.setattr(Home, "running_pid", lambda home: 4711)
    one.remove(kept=True)
    assert not one.starts_at_boot
    assert "ExecStop=" in (tmp_path / "UNTIL_OFF" / one.name).read_text()
    monkeypatch.setattr(Home, "running_pid", lambda home: None)
    one.remove(kept=False)
    assert not (tmp_path / "UNTIL_OFF" / one.name).exists()


def test_clouds_have_units_of_their_own(home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first = Unit(home).name
    monkeypatch.setenv("SKYLIFT_DATA", str(tmp_path / "other"))
    assert Unit(home).name != first
    assert first.startswith(f"skylift-{home.owner.uid}-")
