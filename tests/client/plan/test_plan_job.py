"""From a request to a job, and everything about a request that can be wrong before anything is started."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from skylift.client.errors import UsageError
from skylift.client.job.commands import program_argv
from skylift.client.job.job import Job, Program
from skylift.client.job.settings import Secret
from skylift.client.plan.plan_job import Order, plan_job
from skylift.contract.record import Environment

HEADER = '# /// script\n# dependencies = ["x"]\n# ///\n'


def plan(folder: Path, target: str = "job.py", *args: str, kind: str = "script", **more: object) -> Job:
    program = Program(kind, target, args)  # type: ignore[arg-type]
    return plan_job(Order(program, **more), folder, {"HERE": "value"})  # type: ignore[arg-type]


def places(job: Job) -> list[str]:
    return [each.place for each in job.bundle.files]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "work"
    found.mkdir()
    (found / "job.py").write_text("print(1)\n")
    return found


def test_script_alone(folder: Path) -> None:
    (folder / "other.py").touch()
    job = plan(folder, "job.py", "a", "--b")
    assert places(job) == ["job.py"]
    assert job.environment == Environment()
    assert program_argv(job.program) == ["python", "job.py", "a", "--b"]
    assert re.fullmatch(r"job-[2-9a-z]{4}", job.name)


def test_requirements_beside_the_script_go_along(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "tool.py").touch()
    (folder / "sub" / "requirements.txt").write_text("leaf\n")
    job = plan(folder, "sub/tool.py")
    assert places(job) == ["sub/requirements.txt", "sub/tool.py"]
    assert job.environment == Environment("requirements", "sub/requirements.txt")


def test_script_with_a_header_goes_alone_even_in_a_project(folder: Path) -> None:
    (folder / "pyproject.toml").touch()
    (folder / "requirements.txt").write_text("leaf\n")
    (folder / "job.py").write_text(HEADER)
    job = plan(folder)
    assert places(job) == ["job.py"]
    assert job.environment == Environment("script", "job.py")


def test_empty_header_goes_alone_and_asks_for_nothing(folder: Path) -> None:
    (folder / "pyproject.toml").touch()
    (folder / "job.py").write_text("# /// script\n# ///\n")
    job = plan(folder)
    assert places(job) == ["job.py"]
    assert job.environment == Environment()


def test_project_goes_whole_from_a_folder_inside_it(folder: Path) -> None:
    (folder / "pyproject.toml").touch()
    (folder / "requirements.txt").write_text("leaf\n")
    (folder / "app").mkdir()
    (folder / "app" / "main.py").touch()
    job = plan(folder / "app", "main.py")
    assert places(job) == ["app/main.py", "job.py", "pyproject.toml", "requirements.txt"]
    assert (job.bundle.cwd, job.program.target) == ("app", "main.py")
    assert job.environment == Environment("requirements", "requirements.txt")


def test_script_of_the_project_above_the_working_directory(folder: Path) -> None:
    (folder / "pyproject.toml").touch()
    (folder / "app").mkdir()
    assert plan(folder / "app", "../job.py").program.target == "../job.py"


def test_absolute_script_elsewhere(folder: Path, tmp_path: Path) -> None:
    script = tmp_path / "else" / "tool.py"
    script.parent.mkdir()
    script.touch()
    job = plan(folder, str(script))
    assert (places(job), job.program.target) == (["tool.py"], "tool.py")


def test_module_and_command(folder: Path) -> None:
    (folder / "package").mkdir()
    (folder / "package" / "__init__.py").touch()
    job = plan(folder, "package.tool", "-x", kind="module")
    assert places(job) == ["package/__init__.py"]
    assert program_argv(job.program) == ["python", "-m", "package.tool", "-x"]
    job = plan(folder, "./job.py", "-x", kind="command")
    assert places(job) == ["job.py"]
    assert program_argv(job.program) == ["./job.py", "-x"]


def test_a_tilde_is_the_home_directory_or_begins_a_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Office programs have a file like `~$table.xlsx` beside each that is open, and a glob in a shell names it."""
    monkeypatch.setenv("HOME", str(folder))
    for name in ("~$table.xlsx", "~x.py"):
        (folder / name).write_text("print(1)\n")
    assert places(plan(folder, "~/job.py")) == ["job.py"]
    assert places(plan(folder, "~x.py", inputs=["~$table.xlsx", "~$*"])) == ["~$table.xlsx", "~x.py"]
    with pytest.raises(UsageError, match="There is no script ~no_such_user"):
        plan(folder, "~no_such_user/job.py")


def test_env(folder: Path) -> None:
    job = plan(folder, env=["HERE", "GIVEN=a=b", "EMPTY="])
    assert job.env == (("HERE", Secret("value")), ("GIVEN", Secret("a=b")), ("EMPTY", Secret("")))
    assert "value" not in repr(job)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"env": ["ABSENT"]}, "ABSENT"),
        ({"env": ["1X=2"]}, "1X"),
        ({"env": ["A=\0"]}, "NUL"),
        ({"outputs": ["/etc/x"]}, "/etc/x"),
        ({"outputs": ["a/../../b"]}, "below"),
        ({"outputs": [""]}, "below"),
        ({"outputs": ["~/x"]}, "below"),
        ({"instance_type": "Big"}, "Big"),
        ({"name": "Not A Name"}, "Not A Name"),
        ({"max_time": 40 * 86400}, "30 days"),
        ({"inputs": ["missing"]}, "missing"),
    ],
)
def test_what_cannot_be_meant(folder: Path, more: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)):
        plan(folder, **more)


@pytest.mark.parametrize("target", ["missing.py", "job.py/x", "sub"])
def test_script_that_is_none(folder: Path, target: str) -> None:
    (folder / "sub").mkdir()
    with pytest.raises(UsageError, match=re.escape(target)):
        plan(folder, target)


@pytest.mark.parametrize(
    ("target", "advice"),
    [
        ("python", "Leave python out: `skylift run SCRIPT` runs a script with Python."),
        ("python3.13", "Leave python3.13 out: `skylift run SCRIPT` runs a script with Python."),
        ("sh", "It was looked for at {folder}/sh. For a command, use `-- COMMAND`."),
        ("no-such-command", "It was looked for at {folder}/no-such-command."),
        ("./sh", "It was looked for at {folder}/sh."),
    ],
)
def test_a_command_in_the_place_of_a_script(folder: Path, target: str, advice: str) -> None:
    with pytest.raises(UsageError) as caught:
        plan(folder, target, "job.py")
    assert caught.value.message == f"There is no script {target}."
    assert caught.value.advice == advice.format(folder=folder)


@pytest.mark.parametrize(("name", "word"), [("job.ipynb", "job.ipynb"), ("my job.ipynb", "'my job.ipynb'")])
def test_a_notebook_is_no_script(folder: Path, name: str, word: str) -> None:
    (folder / name).write_text('{"cells": [], "metadata": {"x": null}}')
    with pytest.raises(UsageError) as caught:
        plan(folder, name)
    assert caught.value.message == f"{name} is a notebook, not a script."
    assert caught.value.advice == f"Make one of it: `jupyter nbconvert --to script {word}`"


def test_script_that_is_not_text(folder: Path) -> None:
    (folder / "job.py").write_bytes(b"\x7fELF\xff\xfe")
    with pytest.raises(UsageError, match="UTF-8"):
        plan(folder)


def test_module_that_cannot_be_one(folder: Path) -> None:
    with pytest.raises(UsageError, match=re.escape("a/b.py")):
        plan(folder, "a/b.py", kind="module")


def test_names_are_made_from_any_target(folder: Path) -> None:
    for name in ("Ünï cöde!.py", "___.py", "x" * 80 + ".py"):
        (folder / name).touch()
        assert re.fullmatch(r"[a-z0-9][a-z0-9-]{0,39}", plan(folder, name).name)


def test_version_of_python(tmp_path: Path) -> None:
    (tmp_path / "job.py").touch()
    job = plan_job(Order(Program("script", "job.py"), python="3.12"), tmp_path, {})
    assert job.environment.python == "3.12"
    with pytest.raises(UsageError, match="--python"):
        plan_job(Order(Program("script", "job.py"), python="python3"), tmp_path, {})


@pytest.mark.parametrize(
    ("files", "environment"),
    [
        (["pyproject.toml"], Environment("project", ".")),
        (["pyproject.toml", "uv.lock", "requirements.txt"], Environment("project", ".")),
        (["pyproject.toml", "requirements.txt"], Environment("requirements", "requirements.txt")),
        (["pyproject.toml", "uv.lock", "app/requirements.txt"], Environment("requirements", "app/requirements.txt")),
        (["pyproject.toml", "app/pyproject.toml", "app/uv.lock"], Environment("project", "app")),
    ],
)
def test_the_nearest_that_tells_decides_the_environment(
    folder: Path, files: list[str], environment: Environment
) -> None:
    (folder / "app").mkdir()
    (folder / "app" / "main.py").write_text("print(1)")
    for name in files:
        text = '[project]\nname = "x"\ndependencies = ["leaf"]\n' if name.endswith("pyproject.toml") else "leaf\n"
        (folder / name).write_text(text)
    assert plan(folder, "app/main.py").environment == environment


def test_requirements_that_require_nothing_say_so(folder: Path) -> None:
    """Also within a project that would have to be installed."""
    (folder / "pyproject.toml").write_text('[project]\nname = "x"\ndependencies = ["leaf"]\n')
    (folder / "app").mkdir()
    (folder / "app" / "main.py").write_text("print(1)")
    (folder / "app" / "requirements.txt").write_text("\n# Nothing.\n")
    job = plan(folder, "app/main.py")
    assert job.environment == Environment()
    assert "pyproject.toml" in places(job)


def test_a_pyproject_that_only_sets_up_tools_makes_no_environment(folder: Path) -> None:
    (folder / "pyproject.toml").write_text("[tool.ruff]\nline-length = 100\n")
    (folder / "job.py").write_text("print(1)")
    assert plan(folder, "job.py").environment == Environment()


def test_a_pyproject_that_cannot_be_read_is_named(folder: Path) -> None:
    (folder / "pyproject.toml").write_text("[project\n")
    (folder / "job.py").write_text("print(1)")
    with pytest.raises(UsageError, match=r"pyproject\.toml is not valid TOML"):
        plan(folder, "job.py")
