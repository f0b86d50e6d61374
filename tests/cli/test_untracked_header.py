"""A script that was downloaded into the user's own repository: what its header asks for, and what it gets unasked."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import typer

from skylift.cli.consent import require_consent
from skylift.cli.run import register
from skylift.client.plan.consent import ASKED, COSTS, FREE, Consents, Question, asks_of
from skylift.client.plan.tool_table import project_table, script_table
from skylift.place.settings import consents

HEADER = "# /// script\n# dependencies = []\n# [tool.skylift]\n{}\n# ///\nprint()\n"


def git(folder: Path, *words: str) -> None:
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-C", str(folder), *words]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A repository with a secret that git ignores, and a figure and a Makefile that it tracks."""
    folder = tmp_path / "mine"
    (folder / "results").mkdir(parents=True)
    (folder / "secrets").mkdir()
    for place in ("Makefile", "results/figure.png", "notes.txt", ".env", "secrets/key"):
        (folder / place).write_text(place)
    (folder / ".gitignore").write_text(".env\nsecrets/\n*.log\n")
    git(folder, "init")
    git(folder, "add", "Makefile", "results", "notes.txt", ".gitignore")
    return folder


def script(place: Path, *lines: str) -> Path:
    place.write_text(HEADER.format("\n".join(f"# {each}" for each in lines)))
    return place


def asked(path: Path, cwd: Path) -> list[Question]:
    found = script_table(path, path.name)
    assert found is not None
    return asks_of(found, list(found.values), cwd, billed=False)


def asked_by_project(folder: Path, line: str) -> list[Question]:
    (folder / "pyproject.toml").write_text(f"[tool.skylift]\n{line}\n")
    found = project_table(folder)
    assert found is not None
    return asks_of(found, list(found.values), folder, billed=False)


def run(cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Without a terminal. What comes after the question is an error of its own, so nothing starts."""
    env = {**os.environ, "SKYLIFT_HOME": str(cwd.parent / "home")}
    command = [sys.executable, "-m", "skylift.cli.main", "run", *words]
    return subprocess.run(
        command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


def test_a_downloaded_script_gets_nothing_unasked(mine: Path) -> None:
    """The whole command: the ignored secret stays here, and so does what the user has written."""
    script(mine / "job.py", 'in = [".env"]', 'out = ["Makefile", ".envrc"]')
    done = run(mine, "--python", "never", "job.py")
    assert done.returncode == 2
    said = " ".join(done.stderr.split())
    for text in (
        'in = ".env": ',
        "sends what git ignores (.env)",
        "replaces what git tracks (Makefile)",
        'out = ".envrc": ',
    ):
        assert text in said
    assert "--trust-project" in done.stderr
    agreed = run(mine, "--python", "never", "--in", ".env", "--out", "Makefile", "job.py")
    assert "never" in agreed.stderr
    assert "agreement" not in agreed.stderr


@pytest.mark.parametrize(
    "line", ['in = ["notes.txt"]', 'in = ["results"]', 'out = ["report.csv"]', 'out = ["*"]', 'out = ["results/**"]']
)
def test_a_script_that_git_does_not_track_owns_no_file(mine: Path, line: str) -> None:
    path = script(mine / "job.py", line)
    by_itself, *others = asked(path, mine)
    assert "not the project's" in by_itself.why
    git(mine, "add", "job.py")
    assert len(asked(path, mine)) == len(others) == ("*" in line), "what git tracks is replaced by no glob unasked"


@pytest.mark.parametrize("key", [*sorted(FREE), *COSTS, *ASKED, "on", "env", "in", "out"])
def test_whatever_a_header_says_takes_a_yes_until_git_tracks_it(mine: Path, key: str) -> None:
    """Of the table that decides, so that no later key is forgotten."""
    value = {"on": '"local"', "env": '["MODE=fast"]', "in": '["notes.txt"]', "out": '["new"]'}.get(key, '"1"')
    path = script(mine / "job.py", f"{key} = {value}")
    asks = asked(path, mine)
    assert [each.key for each in asks] == [key] * (key != "python")
    assert all(each.at == "job.py:4" and each.spell().isprintable() for each in asks)
    git(mine, "add", "job.py")
    assert len(asked(path, mine)) == (key in ASKED), "what git tracks is as a project's table"
    script(path, f"{key} = " + re.sub(r'"(]?)$', r'2"\1', value))
    assert len(asked(path, mine)) == (key != "python"), "another value is not the one that git has"


def test_each_of_several_values_takes_a_yes_of_its_own(mine: Path, tmp_path: Path) -> None:
    so_far = Consents(tmp_path / "consents")
    path = script(mine / "job.py", 'env = ["MODE=fast", "TOKEN"]')
    for each in asked(path, mine):
        so_far.remember(each)
    assert [each in so_far for each in asked(path, mine)] == [True, True]
    script(path, 'env = ["MODE=slow", "TOKEN"]')
    assert [each in so_far for each in asked(path, mine)] == [False, True]


def test_what_a_script_is_made_of_takes_none(mine: Path) -> None:
    path = mine / "job.py"
    text = '# /// script\n# requires-python = ">=3.12"\n# dependencies = ["numpy"]\n# [tool.skylift]\n# {}\n# ///\n'
    path.write_text(text.format('python = "3.13"\n# spot = false'))
    assert asked(path, mine) == []


def test_a_downloaded_script_keeps_no_server_busy_unasked(mine: Path) -> None:
    """The whole command, on this machine, where servers cost nothing."""
    script(mine / "job.py", 'max-time = "30d"')
    done = run(mine, "--python", "never", "job.py")
    assert done.returncode == 2
    said = " ".join(done.stderr.split())
    assert 'job.py:4: max-time = "30d": stands in a script that git does not track with it' in said
    assert "git add" in said
    assert "agreement" not in run(mine, "--python", "never", "--max-time", "30d", "job.py").stderr
    git(mine, "add", "job.py")
    assert "agreement" not in run(mine, "--python", "never", "job.py").stderr


def test_what_took_the_place_of_a_tracked_script_is_not_tracked(mine: Path) -> None:
    path = script(mine / "job.py", 'out = ["report.csv"]')
    git(mine, "add", "job.py")
    path.write_text(path.read_text() + "print('edited')\n")
    assert asked(path, mine) == [], "its keys are those that git has"
    script(path, 'out = ["report.csv", "conftest.py"]')
    assert [each.value for each in asked(path, mine)] == ['"report.csv"', '"conftest.py"']
    script(path, 'in = ["notes.txt"]')
    assert len(asked(path, mine)) == 1
    git(mine, "rm", "--cached", "--force", "job.py")
    script(path, 'out = ["report.csv"]')
    assert len(asked(path, mine)) == 1


def test_a_yes_is_for_what_the_header_said_then(mine: Path, tmp_path: Path) -> None:
    so_far = Consents(tmp_path / "consents")
    path = script(mine / "job.py", 'in = ["notes.txt"]', 'out = ["new"]')
    for each in asked(path, mine):
        so_far.remember(each)
    assert all(each in so_far for each in asked(path, mine))
    script(path, 'in = ["notes.txt", "results"]', 'out = ["new"]')
    assert [each in so_far for each in asked(path, mine)] == [True, False, True]
    (mine / "new").mkdir()
    (mine / "new/a").write_text("mine")
    git(mine, "add", "new")
    assert [each in so_far for each in asked(path, mine)] == [True, False, True, False], "it replaces that by now"


@pytest.mark.parametrize("where", ["link out", "link in", "nested", "linked worktree", "submodule"])
def test_whose_repository_counts_is_where_the_file_is(mine: Path, tmp_path: Path, where: str) -> None:
    line = 'out = ["report.csv"]'
    if where == "link out":
        (mine / "job.py").symlink_to(script(tmp_path / "downloaded.py", line))
        git(mine, "add", "job.py")
        assert len(asked(mine / "job.py", mine)) == 1
    elif where == "link in":
        script(mine / "job.py", line)
        git(mine, "add", "job.py")
        (tmp_path / "job.py").symlink_to("mine/job.py")
        assert asked(tmp_path / "job.py", mine) == []
        assert len(asked(tmp_path / "job.py", tmp_path)) == 1
    elif where == "nested":
        inner = mine / "inner"
        inner.mkdir()
        git(inner, "init")
        script(inner / "job.py", line)
        git(inner, "add", "job.py")
        assert asked(inner / "job.py", inner) == []
        assert len(asked(inner / "job.py", mine)) == 1, "a stranger's clone vouches for its own files only"
    else:
        script(mine / "job.py", line)
        git(mine, "add", "job.py")
        git(mine, "commit", "-m", "first")
        other = tmp_path / "other"
        if where == "submodule":
            other = mine / "sub"
            git(mine, "-c", "protocol.file.allow=always", "submodule", "add", str(mine), "sub")
        else:
            git(mine, "worktree", "add", str(other))
        assert asked(other / "job.py", other) == []


@pytest.mark.parametrize("broken", ["no git", "no repository", "GIT_DIR", "index of another", "ignored and forced"])
def test_where_git_cannot_tell_it_is_asked(
    mine: Path, tmp_path: Path, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = script(mine / "job.py", 'out = ["report.csv"]')
    if broken == "no git":
        git(mine, "add", "job.py")
        monkeypatch.setenv("PATH", str(tmp_path))
    elif broken == "no repository":
        git(mine, "add", "job.py")
        (mine / ".git/HEAD").write_text("nonsense")
    elif broken == "GIT_DIR":
        shutil.copytree(mine, tmp_path / "theirs")
        git(tmp_path / "theirs", "add", "job.py")
        monkeypatch.setenv("GIT_DIR", str(tmp_path / "theirs/.git"))
        monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "theirs/.git/index"))
    elif broken == "index of another":
        (mine / "job.py").rename(mine / "other.py")
        git(mine, "add", "other.py")
        path = script(mine / "job.py", 'out = ["report.csv"]')
    else:
        (mine / "job.log").write_text(path.read_text())
        path = mine / "job.log"
    assert "not the project's" in asked(path, mine)[0].why


def test_a_huge_file_of_the_index_is_not_read(mine: Path) -> None:
    path = script(mine / "job.py", 'out = ["report.csv"]')
    path.write_bytes(path.read_bytes() + b"#" * (65 << 20))
    git(mine, "add", "job.py")
    script(path, 'out = ["report.csv"]')
    assert len(asked(path, mine)) == 1


@pytest.mark.parametrize(
    "lines",
    [
        ['tool.skylift.out = ["Makefile"]'],
        ["[tool]", 'skylift = {out = ["Makefile"]}'],
        ['[tool."skylift"]', '"out" = ["Make" , """file"""]'.replace('"Make" , """file"""', '"""Makefile"""')],
        ["[tool.skylift]", 'out = ["./Makefile"]'],
        ["[tool.skylift]", 'out = ["M[a]kefile"]'],
        ["[tool.skylift]", 'out = ["."]'],
    ],
)
@pytest.mark.parametrize("tracked", [True, False])
def test_no_way_of_writing_it_goes_around_the_question(mine: Path, lines: Sequence[str], tracked: bool) -> None:
    path = mine / "job.py"
    path.write_text("# /// script\n" + "".join(f"# {each}\n" for each in lines) + "# ///\n")
    if tracked:
        git(mine, "add", "job.py")
    found = [each.why for each in asked(path, mine)]
    assert "replaces what git tracks (" in found[-1]
    assert len(found) == 1 + (not tracked)


# A table of the project's own.


@pytest.mark.parametrize("text", [".env", "secrets", "secrets/*", "s*", ".e*", "link", "folder", "environment"])
def test_what_git_ignores_takes_a_yes_of_the_project_too(mine: Path, text: str) -> None:
    """A stranger's clone has no secrets; the user has put them there."""
    (mine / "link").symlink_to(".env")
    (mine / "folder").mkdir()
    (mine / "folder/inner").symlink_to("../secrets")
    (mine / "environment/bin").mkdir(parents=True)
    (mine / "environment/pyvenv.cfg").touch()
    git(mine, "add", "link", "folder")
    (found,) = asked_by_project(mine, f'in = ["{text}"]')
    assert "sends what git ignores (" in found.why
    assert found.spell().isprintable()


@pytest.mark.parametrize("text", ["mine/.env", "mine/secrets", "mine/s*"])
def test_what_git_ignores_takes_a_yes_from_another_folder_too(mine: Path, tmp_path: Path, text: str) -> None:
    """A clone's folder has the name that its author expects."""
    path = script(mine / "job.py", f'in = ["{text}"]')
    git(mine, "add", "job.py")
    (found,) = asked(path, tmp_path)
    assert "sends what git ignores (" in found.why


def test_what_cannot_be_looked_at_takes_a_yes(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "is_dir", denied)
    assert "sends what git ignores (notes.txt)" in asked_by_project(mine, 'in = ["notes.txt"]')[0].why


@pytest.mark.parametrize("text", ["inner/Makefile", "i*/Makefile", "makefile"])
def test_a_repository_in_this_one_tracks_its_files_too(mine: Path, text: str) -> None:
    """A yes to replace what is tracked holds for all results."""
    (mine / "inner").mkdir()
    git(mine / "inner", "init")
    (mine / "inner/Makefile").touch()
    git(mine / "inner", "add", "Makefile")
    (found,) = asked_by_project(mine, f'out = ["{text}"]')
    assert "replaces what git tracks (Makefile)" in found.why


def test_what_goes_along_anyway_takes_none(mine: Path) -> None:
    (mine / "same").symlink_to("results")
    assert asked_by_project(mine, 'in = ["results", "*.txt", "same", "missing"]') == []


def test_a_yes_to_a_folder_of_data_stays_when_it_grows(mine: Path, tmp_path: Path) -> None:
    so_far = Consents(tmp_path / "consents")
    so_far.remember(asked_by_project(mine, 'in = ["secrets"]')[0])
    (mine / "secrets/more").touch()
    assert asked_by_project(mine, 'in = ["secrets"]')[0] in so_far


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("results/**", "replaces what git tracks (results/figure.png)"),
        ("**", "replaces what git tracks ("),
        ("results", "replaces what git tracks (results/figure.png)"),
        (".envrc", "writes what is hidden"),
        ("sub/.vscode/tasks.json", "writes what is hidden"),
        (".venv/**", "writes what is hidden"),
    ],
)
def test_what_may_harm_takes_a_yes_of_the_project_too(mine: Path, text: str, why: str) -> None:
    (found,) = asked_by_project(mine, f'out = ["{text}"]')
    assert why in found.why


def test_new_results_take_none(mine: Path) -> None:
    assert asked_by_project(mine, 'out = ["report.csv", "plots/**", "results/new/*", "*.csv", "a.log"]') == []


@pytest.mark.parametrize(
    ("line", "words", "spares"),
    [
        ('out = ["report.csv"]', [], True),
        ('out = ["results/**"]', ["yes"], False),
        ('out = ["results/**"]', ["--trust-project"], False),
        ('out = [".cache"]', ["yes"], True),
        ('out = ["results/**"]', ["--out", "results/**"], False),
        ('max-time = "2h"', [], False),
    ],
)
def test_only_what_was_agreed_to_replaces_what_git_tracks(
    mine: Path, line: str, words: list[str], spares: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKYLIFT_HOME", str(mine.parent / "home"))
    monkeypatch.chdir(mine)
    asks = asked_by_project(mine, line)
    for each in asks if words == ["yes"] else ():
        consents().remember(each)
    app = typer.Typer()
    register(app)
    command: Any = typer.main.get_command(app)
    context = command.make_context("run", [*(each for each in words if each != "yes"), "job.py"])
    assert require_consent(context, context.params) == spares
