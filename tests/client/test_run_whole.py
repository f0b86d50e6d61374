"""`skylift run` as a process sees it: exit codes, streams and the JSON object, against moto's EC2."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.agent_bench import Machine
from support.whole_run import host

from skylift.cli.main import perform
from skylift.client.job.settings import Settings
from skylift.client.remote.api import Api


@pytest.fixture
def there(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to run in; what is local for the command line is moto here."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr("skylift.place.local.local_settings", lambda *_: settings)
    return folder


def test_exit_code_streams_and_results(
    there: Path, api: Api, machine: Machine, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    (there / "job.py").write_text(
        "import os, sys\nos.write(1, bytes(range(256)))\nos.write(2, b'complaint\\n')\n"
        "open('r.txt', 'w').write(' '.join(sys.argv[1:]))\nsys.exit(9)\n"
    )
    with host(api, machine):
        code = perform(["run", "--out", "r.txt", "job.py", "--out", "x"])
    machine.wait()
    out, err = capfdbinary.readouterr()
    assert (code, out) == (9, bytes(range(256)))
    assert b"complaint\n" in err
    assert b"exit code 9 (failed)" in err
    assert (there / "r.txt").read_text() == "--out x"


def test_quiet_is_only_the_programs_output(
    there: Path, api: Api, machine: Machine, capfd: pytest.CaptureFixture[str]
) -> None:
    (there / "job.py").write_text("import sys\nprint('out')\nprint('err', file=sys.stderr)\n")
    with host(api, machine):
        assert perform(["run", "-q", "job.py"]) == 0
    machine.wait()
    assert capfd.readouterr() == ("out\n", "err\n")


def test_json_is_one_object_on_stdout(
    there: Path, api: Api, machine: Machine, capfd: pytest.CaptureFixture[str]
) -> None:
    (there / "job.py").write_text("import sys\nprint('out')\nraise SystemExit(3)\n")
    with host(api, machine):
        assert perform(["run", "--json", "-q", "job.py"]) == 3
    machine.wait()
    out, err = capfd.readouterr()
    found = json.loads(out)
    assert err == "out\n"
    assert (found["exit_code"], found["state"], found["stdout_tail"]) == (3, "failed", "out\n")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["missing.py"], "missing.py"),
        (["--max-time", "soon", "job.py"], "--max-time"),
        (["--keep", "x", "job.py"], "--keep"),
        (["--type", "t3.smal", "job.py"], "t3.smal"),
        (["--env", "NOT_THERE_AT_ALL", "job.py"], "NOT_THERE_AT_ALL"),
        (["--in", "missing.csv", "job.py"], "missing.csv"),
        (["--out", "../x", "job.py"], "../x"),
        (["--out", "s3://my-data/x", "job.py"], "--out s3://my-data/x"),
        (["--out", "s3:my-data/x", "job.py"], "no results to S3"),
        (["--trust-project", "in_table.py"], "--out s3://my-data/x"),
        (["--no-such-option", "job.py"], "no-such-option"),
        (["bad.py"], "PEP 723"),
        (["."], "folder"),
    ],
)
def test_what_is_wrong_before_anything_is_started_is_2(
    there: Path, api: Api, capfd: pytest.CaptureFixture[str], args: list[str], words: str
) -> None:
    (there / "job.py").touch()
    (there / "in_table.py").write_text('# /// script\n# [tool.skylift]\n# out = ["s3://my-data/x"]\n# ///\n')
    (there / "bad.py").write_text("# /// script\n# dependencies = [\n# ///\n")
    assert perform(["run", *args]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert words in err
    assert "Traceback" not in err
    assert api.call("s3", "list_buckets")["Buckets"] == []


def test_json_also_of_what_was_refused(there: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert perform(["run", "--json", "missing.py"]) == 2
    found: dict[str, Any] = json.loads(capfd.readouterr().out)
    assert (found["exit_code"], found["state"]) == (2, "refused")
    assert "missing.py" in found["reason"]


def test_ps_and_cancel(there: Path, api: Api, machine: Machine, capfd: pytest.CaptureFixture[str]) -> None:
    (there / "job.py").write_text("print('done')")
    with host(api, machine):
        assert perform(["run", "-q", "--keep", "10m", "job.py"]) == 0
    capfd.readouterr()
    assert perform(["ps", "--json"]) == 0
    (listed,) = json.loads(capfd.readouterr().out)
    assert listed["state"] == "succeeded"
    assert listed["instance"].startswith("i-")
    assert perform(["ps"]) == 0
    assert listed["name"] in capfd.readouterr().out
    assert perform(["cancel", listed["name"]]) == 0
    capfd.readouterr()
    assert perform(["ps", "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == []
    assert perform(["ps", "--all", "--json"]) == 0
    assert [each["name"] for each in json.loads(capfd.readouterr().out)] == [listed["name"]]


def test_ps_where_nothing_ever_ran(there: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert perform(["ps", "--all", "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == []


@pytest.mark.parametrize("command", ["ssh", "cancel"])
@pytest.mark.parametrize("name", ["nobody-knows", "../x", "-oProxyCommand=x"])
def test_job_that_is_not_there(there: Path, capfd: pytest.CaptureFixture[str], command: str, name: str) -> None:
    assert perform([command, "--", name]) == 2
    assert name in capfd.readouterr().err
