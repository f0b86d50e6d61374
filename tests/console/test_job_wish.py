"""A job that is put together on a page: what is missing, and the command that does the same."""

from __future__ import annotations

import os
import shlex
import tempfile
from pathlib import Path

import pytest
from test_call import HOSTILE

from skylift.client.errors import UsageError
from skylift.client.job.job import Program
from skylift.client.job.settings import OneImage, Settings
from skylift.console import submission
from skylift.console.job_wish import SCRIPT_BYTES, JobSpec, JobWish, script_missing, script_spec

KINDS = {"t3.small"}


@pytest.fixture
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings("us-east-1", tmp_path_factory.mktemp("keys"), OneImage("ami-1"), lambda: "192.0.2.1")


def test_nothing_but_a_script_is_needed() -> None:
    assert JobWish().missing(KINDS) == []
    assert script_missing("job.py", "print(1)\n") == []
    assert script_spec("job.py", JobWish()).command == "skylift run -d job.py"


def test_the_command_has_all_that_is_submitted_but_no_value_of_a_variable() -> None:
    wish = JobWish("--fast 'a b'", "t3.small", "out -x", "name", "10m", "TOKEN=secret\n\nTWO=a=b")
    spec = script_spec("job.py", wish)
    assert wish.missing(KINDS) == []
    assert spec.options["env"] == {"TOKEN": "secret", "TWO": "a=b"}
    assert spec.command == (
        "skylift run -d --name name --out out --out=-x --type t3.small --max-time 10m --env TOKEN --env TWO "
        "job.py --fast 'a b'"
    )


@pytest.mark.parametrize("hostile", HOSTILE)
def test_arguments_are_what_a_shell_makes_of_them_and_nothing_more(hostile: str) -> None:
    spec = script_spec("job.py", JobWish(arguments=shlex.quote(hostile)))
    assert spec.program.args == (hostile,)
    assert shlex.split(spec.command)[-2:] == ["job.py", hostile]


def test_modules_and_commands_are_shown_as_they_are_typed() -> None:
    assert JobSpec(Program("module", "a.b", ("c",)), {"spot": True}).command == "skylift run -d --spot -m a.b c"
    assert JobSpec(Program("command", "ls", ("-l",)), {}).command == "skylift run -d -- ls -l"


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (JobWish(arguments="'a"), "The arguments have a quotation mark"),
        (JobWish(arguments="a\0b"), "The arguments have a quotation mark"),
        (JobWish(outputs='"'), "The results have a quotation mark"),
        (JobWish(kind="t9.huge"), "There is no type 't9.huge'."),
        (JobWish(name="Größe"), "The job's name has lower-case letters"),
        (JobWish(name="../x"), "The job's name has lower-case letters"),
        (JobWish(max_time="soon"), "--max-time"),
        (JobWish(environment="A=1\nsecret"), "Line 2 of the environment is not like NAME=VALUE."),
        (JobWish(environment="A B=secret"), "Line 1 of the environment is not like NAME=VALUE."),
    ],
)
def test_what_is_missing_is_said(wish: JobWish, said: str) -> None:
    (found,) = wish.missing(KINDS)
    assert found.startswith(said)
    assert "secret" not in found


HOSTILE_FILES = ["", ".py", "../job.py", "/etc/job.py", "-c.py", "a/b.py", "a\0.py", "a\n.py", "ä.py", "job", "x" * 200]


@pytest.mark.parametrize("name", HOSTILE_FILES)
def test_a_hostile_file_name_is_refused_before_there_is_a_file(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (said,) = script_missing(name, "print(1)")
    assert said.startswith("The file's name is like job.py")
    with pytest.raises(UsageError, match="The file's name"):
        submission.submit_script(script_spec(name, JobWish()), "print(1)", settings)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (" \n", "Drop a script"),
        ("#" * (SCRIPT_BYTES + 1), "The script has more than 256 KiB"),
        ("ü" * (SCRIPT_BYTES // 2 + 1), "The script has more than 256 KiB"),
        ("a\0", "The script is not UTF-8 text."),
        ("\ud800", "The script is not UTF-8 text."),
    ],
)
def test_a_script_that_is_none_is_refused(text: str, said: str) -> None:
    (found,) = script_missing("job.py", text)
    assert found.startswith(said)


def test_a_script_is_for_this_user_alone_and_gone_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    """Also where its submission fails."""
    seen = []

    def look(cwd: Path, spec: JobSpec, _: Settings) -> str:
        script = cwd / spec.program.target
        seen.append((script.read_text(), script.stat().st_mode & 0o777, cwd.stat().st_mode & 0o777))
        raise UsageError("No more.")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(submission, "submit_from", look)
    with pytest.raises(UsageError, match="No more"):
        submission.submit_script(script_spec("job.py", JobWish()), "print('ü')\n", settings)
    assert seen == [("print('ü')\n", 0o600, 0o700)]
    assert os.listdir(tmp_path) == []


def test_temporary_files_in_a_project_would_take_it_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(UsageError, match="which would be sent along"):
        submission.submit_script(script_spec("job.py", JobWish()), "print(1)", settings)
    assert os.listdir(tmp_path) == ["pyproject.toml"]
