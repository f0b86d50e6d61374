"""What is wrong with a schedule is said before anything is started: exit code 2, no traceback, no cloud."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from skylift.cli import schedule
from skylift.cli.main import make_app

NIGHTLY = "cron(0 2 * * ? *)"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "job.py").write_text("")

    def no_cloud(*_: object) -> None:
        raise AssertionError("a cloud was started for what is wrong")

    monkeypatch.setattr(schedule, "settings_for", no_cloud)
    monkeypatch.setattr(schedule, "_INPUT", os.open(os.devnull, os.O_RDONLY))
    return tmp_path


def refused(*words: str) -> str:
    done = CliRunner().invoke(make_app("schedule"), ["schedule", *words])
    code = getattr(done.exception, "exit_code", done.exit_code)
    assert code == 2, done.output
    assert "Traceback" not in done.output
    return f"{done.output} {done.exception} {getattr(done.exception, 'advice', '')}"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([NIGHTLY], "There is nothing to run"),
        ([NIGHTLY, "--"], "There is nothing to run"),
        ([NIGHTLY, "--", "map", "job.py", "a.csv"], "a.csv: there is no such file"),
        ([NIGHTLY, "--", "map", "job.py"], "There are no inputs"),
        ([NIGHTLY, "--", "map"], "There is nothing to run"),
        ([NIGHTLY, "--", "map", "--", "true", "1"], "A map runs a script or a module"),
        ([NIGHTLY, "--", "map", "--servers", "0", "job.py", "job.py"], "--servers 0 is not a number from 1 to"),
        ([NIGHTLY, "--", "map", "--servers", "auto", "job.py", "job.py"], "inputs of later runs are not known now"),
        ([NIGHTLY, "--overlap", "allow", "--", "map", "--servers", "2", "job.py", "job.py"], "one goes at a time"),
        ([NIGHTLY, "--", "map", "--resume", "sums"], "--resume goes on with one map"),
        ([NIGHTLY, "--", "map", "--retry-failed", "sums"], "--retry-failed goes on with one map"),
        ([NIGHTLY, "--", "map", "--into", "x/{name}", "job.py", "job.py"], "--into is for whoever fetches"),
        ([NIGHTLY, "--", "map", "-d", "job.py", "job.py"], "-d is for whoever"),
        ([NIGHTLY, "--", "map", "--name", "x", "job.py", "job.py"], "--name is the schedule's"),
        ([NIGHTLY, "--name", "N", "--", "map", "job.py", "job.py"], "cannot be used"),
        ([NIGHTLY, "--", "map", "--halt", "0", "job.py", "job.py"], "--halt"),
        ([NIGHTLY, "--", "map", "--split", "1MiB", "job.py", "s3://bucket/x"], "is looked up by each run"),
        ([NIGHTLY, "--", "map", "job.py", "s3://b"], "this is not a place in S3"),
        ([NIGHTLY, "--", "map", "job.py", "s3://bucket/[z-a]"], "is not a glob"),
        ([NIGHTLY, "--", "map", "job.py", *(f"s3://bucket/{n}" for n in range(21))], "20 places in S3 at most"),
        ([NIGHTLY, "--", "sweep"], "A schedule runs what `skylift run` or `map` runs"),
        ([NIGHTLY, "--", "run"], "There is nothing to run"),
        ([NIGHTLY, "--", "run", "other.py"], "There is no script other.py"),
        ([NIGHTLY, "--", "run", "--nosuch", "job.py"], "No such option"),
        ([NIGHTLY, "run", "--out", "x", "job.py"], "No such option"),
        (["cron(0 2 * * *)", "--", "run", "job.py"], "does not say when"),
        (["(", "--", "run", "job.py"], "does not say when"),
        (["at(2020-01-01T00:00:00)", "--", "run", "job.py"], "in the past"),
        (["--timezone", "Mars/Olympus", NIGHTLY, "--", "run", "job.py"], "no such time zone"),
        ([NIGHTLY, "--name", "../x", "--", "run", "job.py"], "cannot be used"),
        ([NIGHTLY, "--name", "N", "--", "run", "job.py"], "cannot be used"),
        ([NIGHTLY, "--name", "n" * 25, "--", "run", "job.py"], "at most 24"),
        ([NIGHTLY, "--name", "", "--", "run", "job.py"], "cannot be used"),
        ([NIGHTLY, "--", "run", "--name", "x", "job.py"], "--name is the schedule's"),
        ([NIGHTLY, "--", "run", "-it", "job.py"], "-it needs somebody"),
        ([NIGHTLY, "--", "run", "--forward", "80", "job.py"], "--forward is for whoever watches"),
        ([NIGHTLY, "--", "run", "--keep", "5m", "job.py"], "--keep would leave a server"),
        ([NIGHTLY, "--", "run", "--reuse", "kept", "job.py"], "--reuse needs a server that waits now"),
        ([NIGHTLY, "--", "run", "--out", "s3://my-data/x", "job.py"], "no results to S3"),
        ([NIGHTLY, "--", "map", "--out", "s3://my-data/x", "job.py", "job.py"], "no results to S3"),
        ([NIGHTLY, "--", "run", "--spot", "--or-on-demand", "job.py"], "--or-on-demand would need somebody"),
        ([NIGHTLY, "--", "run", "--spot", "--checkpoint", "x", "job.py"], "--checkpoint is for a next server"),
        ([NIGHTLY, "--", "run", "--max-price", "1", "job.py"], "--max-price goes with --spot"),
        ([NIGHTLY, "--", "map", "--spot", "--or-on-demand", "job.py", "job.py"], "--or-on-demand would need somebody"),
        ([NIGHTLY, "--", "run", "-d", "job.py"], "-d is for whoever"),
        ([NIGHTLY, "--", "run", "--json", "job.py"], "--json stands before"),
        ([NIGHTLY, "--", "run", "--in", "s3://bucket/x", "job.py"], "reads no inputs from S3"),
        (["nosuch"], "does not say when"),
        ([NIGHTLY, "--overlap", "never", "--", "run", "job.py"], "is none of skip, queue, allow"),
        ([NIGHTLY, "--overlap", "\x1b[2J", "--", "run", "job.py"], "is none of skip, queue, allow"),
    ],
)
def test_what_is_wrong_is_said_first(words: list[str], message: str) -> None:
    assert message in " ".join(refused(*words).split())


def test_standard_input_has_nobody_to_send_it(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    monkeypatch.setattr(schedule, "_INPUT", reading)
    assert "no standard input" in refused(NIGHTLY, "--", "run", "job.py")
    os.close(reading)
    os.close(writing)


def test_what_a_project_asks_for_is_asked_of_the_user_here_too(folder: Path) -> None:
    (folder / "job.py").write_text('# /// script\n# dependencies = []\n# [tool.skylift]\n# env = ["HOME"]\n# ///\n')
    assert "HOME" in refused(NIGHTLY, "--", "run", "job.py")


@pytest.mark.parametrize(("what", "option"), [("run", "--max-time"), ("map", "--per-server")])
def test_help_of_what_runs_is_its_own(what: str, option: str) -> None:
    done = CliRunner().invoke(make_app("schedule"), ["schedule", NIGHTLY, "--", what, "--help"])
    assert done.exit_code == 0
    assert option in done.output
    assert "--resume" not in done.output
