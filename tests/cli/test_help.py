"""Help that one can find something in."""

from __future__ import annotations

from typing import Any

import pytest
import typer

from skylift.cli.main import make_app, perform
from skylift.cli.run import RunCommand


def test_each_option_of_run_has_its_heading() -> None:
    command: Any = typer.main.get_command(make_app("run"))
    run = command.commands["run"]
    shown = [each.name for each in run.params if not getattr(each, "hidden", False)]
    grouped = [name for names in RunCommand.groups.values() for name in names]
    assert sorted(grouped) == sorted([*shown, "help"])


def test_headings_stand_above_their_options(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert perform(["run", "--help"]) == 0
    out = capsys.readouterr().out
    order = [
        "Inputs and outputs:",
        "--in PATH",
        "Server:",
        "--type TYPE",
        "Limits:",
        "--max-time DURATION",
        "Spot:",
        "--checkpoint PATH",
        "Network:",
        "--private",
        "Output:",
        "--json",
    ]
    places = [out.index(word) for word in order]
    assert places == sorted(places)
    assert "program-is-a-command" not in out
    assert max(map(len, out.splitlines())) <= 80
