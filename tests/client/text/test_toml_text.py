"""What a foreign project says of itself: pipes, devices, and TOML that is made to be trouble."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from skylift.cli.preset import presets
from skylift.client.errors import UsageError
from skylift.client.job.job import Program
from skylift.client.plan.plan_job import Order, plan_job
from skylift.client.plan.tool_table import project_table
from skylift.client.text.toml_text import read_text

NONSENSE = {
    "nested lists": "x = " + "[" * 100_000,
    "nested tables": "x = " + "{a=" * 100_000,
    "a number of many digits": "x = " + "1" * 10_000,
    "an escape": 'x = "\x1b]0;owned\x07"',
    "a key of escapes": "\x1b[2J = 1",
}


@pytest.mark.parametrize("content", NONSENSE.values(), ids=NONSENSE)
@pytest.mark.parametrize("where", ["project", "header"])
def test_no_toml_is_more_than_an_error(tmp_path: Path, content: str, where: str) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "job.py").write_text("print()\n")
    if where == "project":
        (tmp_path / "pyproject.toml").write_text(content)
    else:
        (tmp_path / "job.py").write_text(f"# /// script\n# {content}\n# ///\n")
    for read in (
        lambda: presets([], "job.py", tmp_path),
        lambda: plan_job(Order(Program("script", "job.py")), tmp_path, {}),
    ):
        with pytest.raises(UsageError, match=r"is not valid TOML|has the character U\+001B") as caught:
            read()
        assert caught.value.message.isprintable()


@pytest.mark.parametrize("name", ["pyproject.toml", "requirements.txt", "job.py"])
def test_a_pipe_is_not_waited_for(tmp_path: Path, name: str) -> None:
    for each in ("pyproject.toml", "requirements.txt", "job.py"):
        if each != name:
            (tmp_path / each).write_text("")
    os.mkfifo(tmp_path / name)
    if name == "requirements.txt":
        assert plan_job(Order(Program("script", "job.py")), tmp_path, {}).environment.kind == "none"
    else:
        with pytest.raises(UsageError, match="is not a regular file"):
            plan_job(Order(Program("script", "job.py")), tmp_path, {})


def test_a_device_and_a_huge_file_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").symlink_to("/dev/zero")
    assert project_table(tmp_path) is None
    with pytest.raises(UsageError, match="not a regular file"):
        read_text(tmp_path / "pyproject.toml")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(UsageError, match="more than 4 MiB"):
        read_text(tmp_path / "huge")
