"""How skylift becomes root: the exact command, and what is said where there is no way."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import skylift
from skylift.cloud.state.home import Home
from skylift.place.privilege import PRESERVED, root_command, root_environment, run_as_root
from skylift.runner.errors import UsageError


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def fake_sudo(directory: Path, body: str) -> None:
    """A sudo of our own: what reaches it is what matters here."""
    (directory / "sudo").write_text(f"#!{sys.executable}\nimport json, os, pathlib, sys\n{body}\n")
    (directory / "sudo").chmod(0o755)


def test_the_command_is_absolute_and_names_what_passes() -> None:
    command = root_command("/usr/bin/sudo", ["cloud", "up", "--port", "4521"])
    assert command[0] == "/usr/bin/sudo"
    assert command[1] == f"--preserve-env={','.join(PRESERVED)}"
    assert command[2:] == ["--", sys.executable, "-P", "-m", "skylift.cli.main", "cloud", "up", "--port", "4521"]
    assert Path(sys.executable).is_absolute()
    assert not [name for name in PRESERVED if "SECRET" in name or name.startswith("LD_")]


def test_root_finds_the_same_state_and_the_same_package(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    package = Path(skylift.__file__).parent.parent
    assert root_environment(home, {"A": "b"})["SKYLIFT_HOME"] == str(home.path)
    monkeypatch.setattr(sys, "prefix", "/somewhere/else")
    assert root_environment(home, {"A": "b"}) == {
        "A": "b",
        "SKYLIFT_HOME": str(home.path),
        "PYTHONPATH": str(package),
    }


def test_arguments_and_exit_code_pass_unchanged(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note = tmp_path / "note"
    fake_sudo(tmp_path, f"pathlib.Path({str(note)!r}).write_text(json.dumps(sys.argv[1:])); sys.exit(125)")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run_as_root(home, ["cloud", "up", "a b; touch /x"]) == 125
    assert json.loads(note.read_text())[-3:] == ["cloud", "up", "a b; touch /x"]


def test_no_sudo_is_said(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="needs root, and there is no sudo") as failure:
        run_as_root(home, ["setup"])
    assert failure.value.exit_code == 2
    assert failure.value.advice


def test_a_sudo_that_refuses_is_said(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_sudo(tmp_path, "sys.exit(1)")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="sudo did not let"):
        run_as_root(home, ["setup"])
