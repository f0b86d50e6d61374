"""`[tool.skylift]`: every flag of a run has its key, in a project's pyproject.toml and in a script's own header."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer

from skylift.cli import run
from skylift.cli.preset import keys_of, overridden, presets
from skylift.client.errors import UsageError


@pytest.fixture
def options() -> list[Any]:
    app = typer.Typer()
    run.register(app)
    app.command("other")(lambda: None)
    command: Any = typer.main.get_command(app)
    return [each for each in command.commands["run"].params if each.param_type_name == "option"]


def values(options: list[Any], script: str | None, cwd: Path) -> dict[str, Any]:
    return {name: each.value for name, each in presets(options, script, cwd).items()}


def project(folder: Path, table: str) -> None:
    (folder / "pyproject.toml").write_text(f'[project]\nname = "x"\n\n{table}')


def test_every_flag_has_its_key(options: list[Any]) -> None:
    flags = {word for each in options for word in each.opts if word.startswith("--")}
    assert {f"--{key}" for key in keys_of(options)} == flags - {"--module", "--program-is-a-command", "--trust-project"}


def test_project(options: list[Any], tmp_path: Path) -> None:
    project(tmp_path, '[tool.skylift]\non = "aws"\nmax-time = "6h"\nin = ["a", "b"]\nout = "c"\nquiet = true\n')
    inner = tmp_path / "inner"
    inner.mkdir()
    wanted = {"on": "aws", "max_time": "6h", "in_": ["a", "b"], "out": ["c"], "quiet": True}
    assert values(options, None, inner) == wanted


def test_header_comes_before_the_project(options: list[Any], tmp_path: Path) -> None:
    project(tmp_path, '[tool.skylift]\ntype = "t3.micro"\non = "aws"\n')
    (tmp_path / "job.py").write_text('# /// script\n# [tool.skylift]\n# type = "c7g.large"\n# ///\n')
    assert values(options, "job.py", tmp_path) == {"type": "c7g.large", "on": "aws"}
    assert values(options, None, tmp_path) == {"type": "t3.micro", "on": "aws"}


def test_nothing_is_said(options: list[Any], tmp_path: Path) -> None:
    assert values(options, "missing.py", tmp_path) == {}
    project(tmp_path, '[tool.other]\nskylift = "no"\n')
    assert values(options, None, tmp_path) == {}


@pytest.mark.parametrize(
    ("table", "words", "advice"),
    [
        ('[tool.skylift]\non = "aws"\nmax_time = "6h"\n', r"pyproject\.toml:6: .*'max_time'", "max-time"),
        ('[tool.skylift]\ncolour = "red"\n', r"toml:5: .*'colour'", "Keys are: .*max-time"),
        ("[tool.skylift]\nquiet = 1\n", r"toml:5: quiet must be true or false", ""),
        ("[tool.skylift]\nin = [1]\n", r"toml:5: in must be a list of strings", ""),
        ('[tool.skylift]\ntype = ["t3.small"]\n', r"toml:5: type must be a string", ""),
        ('[tool]\nskylift = "on aws"\n', "must be a table", ""),
        ("[tool.skylift\n", "is not valid TOML", ""),
        ('[tool.skylift]\nmodule = "x"\n', "no key 'module'", ""),
    ],
)
def test_what_is_wrong_is_said_with_its_line(
    options: list[Any], tmp_path: Path, table: str, words: str, advice: str
) -> None:
    import re

    project(tmp_path, table)
    with pytest.raises(UsageError, match=words) as caught:
        presets(options, None, tmp_path)
    assert re.search(advice, caught.value.advice)


def test_line_in_a_header(options: list[Any], tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(
        "#!/usr/bin/env python3\n\n# /// script\n# dependencies = []\n#\n# [tool.skylift]\n# typ = 'x'\n# ///\n"
    )
    with pytest.raises(UsageError, match=r"^job\.py:7: .*'typ'") as caught:
        presets(options, "job.py", tmp_path)
    assert "type" in caught.value.advice


def test_needs_that_are_said_nearer_count_before_a_type(options: list[Any], tmp_path: Path) -> None:
    project(tmp_path, '[tool.skylift]\ntype = "t3.micro"\n')
    (tmp_path / "job.py").write_text('# /// script\n# [tool.skylift]\n# cpu = 4\n# memory = "16GiB"\n# ///\n')
    assert values(options, "job.py", tmp_path) == {"cpu": "4", "memory": "16GiB"}
    assert overridden(options, ["-q", "--memory=16GiB"]) == {"type"}
    assert overridden(options, ["--out", "cpu"]) == set()
