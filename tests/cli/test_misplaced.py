"""Options of skylift behind the script, which would go to the program without a word."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from skylift.cli import run
from skylift.cli.misplaced import check_arguments
from skylift.client.errors import UsageError
from skylift.client.job.job import Program


def told(folder: Path, *args: str, source: str = "print()\n", kind: Any = "script") -> list[str]:
    app, lines = typer.Typer(), list[str]()
    run.register(app)
    command: Any = typer.main.get_command(app)
    (folder / "job.py").write_text(source)
    check_arguments(typer.Context(command, info_name="skylift run"), Program(kind, "job.py", args), lines.append)
    return lines


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("args", "given"),
    [
        (["--on", "aws"], ["--on aws"]),
        (["x", "--max-cost=1", "--spot", "y"], ["--max-cost=1", "--spot"]),
        (["--out", "a b.csv"], ["--out 'a b.csv'"]),
        (["--epochs", "3", "--help", "-o", "x"], []),
        (["--", "--on", "aws"], []),
    ],
)
def test_what_is_told(tmp_path: Path, args: list[str], given: list[str]) -> None:
    behind = "stands behind job.py, so it goes to the program. For skylift, write it before: skylift run"
    assert told(tmp_path, *args) == [f"{each} {behind} {each} job.py" for each in given]


@pytest.mark.parametrize(
    "source",
    ['add_argument("--max-cost")', "def main(max_cost: float): 0", "def main(a, max_cost): 0", 'a["max-cost"]'],
)
def test_what_the_script_mentions_is_its_own(tmp_path: Path, source: str) -> None:
    assert told(tmp_path, "--max-cost", "1", source=source) == []
    assert told(tmp_path, "--max-cost", "1", source="# --max-costs of maxcost")


def test_what_a_module_beside_it_mentions_is_its_own(tmp_path: Path) -> None:
    (tmp_path / "arguments.py").write_text('add_argument("--max-cost")')
    assert told(tmp_path, "--max-cost", "1", "--on", "aws") == told(tmp_path, "--on", "aws") != []


def test_a_command_and_a_module_are_not_looked_at(tmp_path: Path) -> None:
    assert [told(tmp_path, "--on", "aws", kind=kind) for kind in ("command", "module")] == [[], []]


@pytest.mark.parametrize("answer", ["n\n", "\n"])
def test_on_a_terminal_what_costs_is_asked(tmp_path: Path, answer: str) -> None:
    (tmp_path / "job.py").write_text("print()\n")
    ours, theirs = pty.openpty()
    os.write(ours, answer.encode())
    command = [sys.executable, "-m", "skylift.cli.main", "run", "job.py", "--on", "aws"]
    env = {**os.environ, "SKYLIFT_HOME": str(tmp_path / "home")}
    process = subprocess.Popen(command, env=env, stdin=theirs, stdout=theirs, stderr=theirs)
    assert process.wait(timeout=60) == 2
    said = os.read(ours, 65536).decode()
    os.close(theirs)
    os.close(ours)
    assert "Go on without it? [y/N]" in said
    assert "Nothing was started." in said
    assert not (tmp_path / "home").exists()


def test_what_costs_nothing_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(typer, "confirm", lambda *words, **more: False)
    assert told(tmp_path, "--name", "x", "--out", "y")
    with pytest.raises(UsageError, match="Nothing was started"):
        told(tmp_path, "--max-time", "1h")
