"""What a project's own table may say by itself, and what takes the caller's yes."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from skylift.cli import run
from skylift.cli.preset import keys_of
from skylift.client.errors import UsageError
from skylift.client.plan.consent import ASKED, COSTS, FREE, Consents, Question, asks_of
from skylift.client.plan.tool_table import project_table, script_table
from skylift.place.settings import check_place, settings_for


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True)


Skylift = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init")
    (folder / "job.py").write_text("print()\n")
    return folder


def table(folder: Path, text: str) -> None:
    (folder / "pyproject.toml").write_text(f"[tool.skylift]\n{text}\n")


def asked(folder: Path, *, billed: bool = False, cwd: Path | None = None) -> list[Question]:
    found = project_table(folder)
    assert found is not None
    return asks_of(found, list(found.values), cwd or folder, billed=billed)


def test_every_key_is_decided_on() -> None:
    """A new option of `skylift run` has to be put into one of the tables of consent.py."""
    app = typer.Typer()
    run.register(app)
    app.command("other")(lambda: None)
    command: Any = typer.main.get_command(app)
    options = [each for each in command.commands["run"].params if each.param_type_name == "option"]
    decided = [*FREE, *COSTS, *ASKED, "on", "env", "in", "out"]
    assert sorted(decided) == sorted(keys_of(options))


@pytest.mark.parametrize(
    "line",
    [
        'python = "3.12"',
        'max-time = "6h"\nidle = "10m"\nmax-cost = 3',
        'type = "m7i.large"',
        'cpu = "4"\nmemory = "16GiB"',
        "spot = true",
        "keep = false",
        "plain-image = true",
        'on = "local"',
        'env = ["MODE=fast", "EMPTY="]',
        'in = ["data", "data/*.csv", "./more"]',
        'out = ["results/**", "report.csv", "**"]',
    ],
)
def test_what_holds_by_itself(project: Path, line: str) -> None:
    table(project, line)
    assert asked(project) == []


@pytest.mark.parametrize(
    "line",
    [
        'on = "aws"',
        'env = ["AWS_SECRET_ACCESS_KEY"]',
        'env = ["MODE=fast", "TOKEN"]',
        'in = ["/etc/passwd"]',
        'in = ["~/.ssh"]',
        'in = ["../other"]',
        'in = ["data/../../other"]',
        'in = ["../*"]',
        'in = ["/**"]',
        'in = ["s3://bucket/key"]',
        'in = ["link"]',
        'in = ["link/*"]',
        'in = [".git"]',
        'in = [".GIT/config"]',
        'in = [".git/*"]',
        'out = ["link/x"]',
        'out = [".git/hooks/post-checkout"]',
        'out = ["../x"]',
        'keep = "30m"',
        'reuse = "kept"',
        'image = "ami-0123"',
        'ssh-from = "0.0.0.0/0"',
        'subnet = "subnet-01234567"',
        'security-group = ["sg-01234567"]',
        'forward = ["8888"]',
        "interactive = true",
    ],
)
def test_what_takes_a_yes(project: Path, line: str) -> None:
    (project / "link").symlink_to(project.parent)
    table(project, line)
    found, *_ = asked(project)
    assert found.at == f"{project / 'pyproject.toml'}:2"
    assert found.spell().isprintable()


@pytest.mark.parametrize("line", ['type = "p5.48xlarge"', 'max-time = "30d"', "cpu = 192", "spot = true"])
def test_what_takes_a_yes_where_servers_cost_money(project: Path, line: str) -> None:
    table(project, line)
    assert len(asked(project, billed=True)) == 1


def test_what_is_beside_a_script_is_not_its_own(tmp_path: Path, project: Path) -> None:
    """A script that was downloaded lies among other files; one that a project's git tracks belongs there."""
    header = '# /// script\n# [tool.skylift]\n# in = ["taxes.pdf"]\n# out = ["Makefile"]\n# ///\n'
    for folder, number in ((tmp_path, 2), (project, 0)):
        (folder / "job.py").write_text(header)
        git(project, "add", "job.py")
        found = script_table(folder / "job.py", "job.py")
        assert found is not None
        assert len(asks_of(found, list(found.values), folder, billed=False)) == number
    found = script_table(project / "job.py", "job.py")
    assert found is not None
    assert len(asks_of(found, list(found.values), tmp_path, billed=False)) == 2, "relative to where skylift is called"


def test_a_yes_is_for_what_was_asked(project: Path, tmp_path: Path) -> None:
    consents = Consents(tmp_path / "state/cache/consents")
    table(project, 'env = ["TOKEN"]')
    (ask,) = asked(project)
    assert ask not in consents
    consents.remember(ask)
    assert ask in consents
    (file,) = (tmp_path / "state/cache/consents").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    table(project, '# moved\nenv = ["TOKEN"]')
    assert asked(project)[0] in consents
    table(project, 'env = ["TOKEN", "OTHER"]')
    assert [each in consents for each in asked(project)] == [True, False]
    other = tmp_path / "elsewhere"
    project.rename(other)
    assert asked(other)[0] not in consents


def test_a_link_that_is_turned_is_asked_about_again(project: Path, tmp_path: Path) -> None:
    consents = Consents(tmp_path / "consents")
    (tmp_path / "data").mkdir()
    (project / "data").symlink_to(tmp_path / "data")
    table(project, 'in = ["data"]')
    consents.remember(asked(project)[0])
    assert asked(project)[0] in consents
    (project / "data").unlink()
    (project / "data").symlink_to(Path.home())
    assert asked(project)[0] not in consents


# The whole command line. What comes after the question is an error of its own (no such script), so nothing starts.


@pytest.fixture
def skylift(project: Path, tmp_path: Path) -> Skylift:
    def call(*words: str, answer: str | None = None, **more: str) -> subprocess.CompletedProcess[str]:
        """Without an answer there is no terminal."""
        env = {**os.environ, "SKYLIFT_HOME": str(tmp_path / "home"), **more}
        command = [sys.executable, "-m", "skylift.cli.main", *words]
        if answer is None:
            return subprocess.run(
                command, cwd=project, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
            )
        ours, theirs = pty.openpty()
        os.write(ours, answer.encode())
        process = subprocess.Popen(command, cwd=project, env=env, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        said = b""
        while piece := _read(ours):
            said += piece
        os.close(ours)
        return subprocess.CompletedProcess(command, process.wait(), "", said.decode())

    return call


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the other side is gone
        return b""


def test_without_a_terminal_it_ends_before_anything(project: Path, skylift: Skylift, tmp_path: Path) -> None:
    table(project, 'type = "t3.small"\non = "aws"\nenv = ["TOKEN"]')
    done = skylift("run", "missing.py", TOKEN="secret")
    assert done.returncode == 2
    assert 'pyproject.toml:3: on = "aws": servers on AWS cost money' in done.stderr
    assert 'pyproject.toml:4: env = "TOKEN": sends the value' in done.stderr
    assert "pyproject.toml:2: type" in done.stderr
    assert "--trust-project" in done.stderr
    assert "secret" not in done.stderr
    assert "There is no script missing.py" in skylift("run", "--trust-project", "missing.py", TOKEN="x").stderr
    assert not (tmp_path / "home").exists()


def test_what_the_command_line_says_is_not_asked(project: Path, skylift: Skylift) -> None:
    table(project, 'type = "t3.small"\non = "aws"\nenv = ["TOKEN"]')
    done = skylift("run", "--on", "local", "--env", "TOKEN", "missing.py", TOKEN="x")
    assert "There is no script missing.py" in done.stderr
    done = skylift("run", "--env=A=b", "missing.py", SKYLIFT_ON="local")
    assert "There is no script missing.py" in done.stderr
    done = skylift("run", "--on", "aws", "--env=A=b", "missing.py")
    assert 'type = "t3.small"' in done.stderr


def test_a_table_cannot_vouch_for_itself(project: Path, skylift: Skylift) -> None:
    table(project, 'trust-project = true\non = "aws"')
    done = skylift("run", "missing.py")
    assert (done.returncode, "no key 'trust-project'" in done.stderr) == (2, True)


def test_on_a_terminal_it_is_asked_once(project: Path, skylift: Skylift) -> None:
    table(project, 'on = "aws"\ntype = "m7i.large"\nmax-time = "6h"\nout = ["results/**"]')
    refused = skylift("run", "missing.py", answer="n\n")
    assert "Go on, and remember it" in refused.stderr
    assert refused.returncode == 2
    agreed = skylift("run", "missing.py", answer="y\n")
    assert "There is no script missing.py" in agreed.stderr
    again = skylift("run", "missing.py")
    assert "There is no script missing.py" in again.stderr
    table(project, 'on = "aws"\ntype = "p5.48xlarge"')
    changed = skylift("run", "missing.py")
    assert 'type = "p5.48xlarge"' in changed.stderr
    assert "on =" not in changed.stderr.replace("skylift", "")


def test_json_has_the_question_as_its_reason(project: Path, skylift: Skylift) -> None:
    import json

    table(project, 'on = "aws"')
    told = json.loads(skylift("run", "--json", "missing.py").stdout)
    assert (told["state"], told["exit_code"]) == ("refused", 2)
    assert "servers on AWS cost money" in told["reason"]


@pytest.mark.parametrize("words", [("ps",), ("sweep", "--dry-run"), ("cancel", "x"), ("ssh", "x")])
def test_other_commands_ask_as_well(project: Path, skylift: Skylift, words: tuple[str, ...]) -> None:
    """`skylift sweep` in a folder of somebody else's would otherwise be about another place than the caller's."""
    table(project, 'on = "aws"')
    done = skylift(*words)
    assert done.returncode == 2
    assert "servers on AWS cost money" in done.stderr


def test_the_python_api_asks_as_well(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKYLIFT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SKYLIFT_ON", raising=False)
    monkeypatch.chdir(project)
    table(project, 'on = "nowhere"')
    for ask in (lambda: settings_for(None), lambda: check_place(None)):
        with pytest.raises(UsageError, match="need your agreement") as caught:
            ask()
        assert "trust_project=True" in caught.value.advice
    with pytest.raises(UsageError, match="not a place where jobs run"):
        settings_for(None, trusted=True)
