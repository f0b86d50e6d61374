"""What is said of an input's output where it has no outcome: it runs, it waits, or its map is over."""

from __future__ import annotations

import base64
import json
import re
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from skylift.cli.logs import _show_input
from skylift.client.errors import UsageError
from skylift.client.job.job import MapPart, Program
from skylift.client.job.record import JobKeys, encode_record
from skylift.client.job.settings import Settings
from skylift.client.launch.bucket import ensure_bucket
from skylift.client.map.keys import MapKeys
from skylift.client.map.outcome import LogEntry, MapEnd, encode_entry
from skylift.client.map.spec import encode_spec
from skylift.client.plan.plan_job import Order, plan_job
from skylift.client.remote.account import open_account
from skylift.client.remote.api import Api
from skylift.console.map_inputs import MapInputs
from skylift.contract.map_spec import MapInput, MapSpec

NAME = "sums"


class Case:
    """A map of one input, which runs for the second time."""

    def __init__(self, settings: Settings, api: Api, folder: Path) -> None:
        self.account = open_account(settings, api)
        ensure_bucket(api, self.account.bucket)
        (folder / "job.py").touch()
        job = plan_job(Order(Program("script", "job.py"), name=NAME), folder, {})
        job = replace(job, map=MapPart(b"", lambda *_: None))
        self.put(JobKeys(NAME).record, encode_record(job, created=1.0, deadline=2, packs=[], tools={}))
        self.put(MapKeys(NAME).spec, encode_spec(MapSpec(("python", "job.py"), True, (), (MapInput(0, "a", "a"),))))
        self.state("running")
        self.entries = 0
        self.log(LogEntry(1, 1.0, "i-0a", begun=((0, 1),)))
        self.log(LogEntry(1, 2.0, begun=((0, 2),)))
        self.report(2)

    def put(self, key: str, body: bytes) -> None:
        self.account.api.put(self.account.bucket, key, body)

    def state(self, state: str) -> None:
        status = {"job": NAME, "state": state, "final": state != "running", "exit_code": 1}
        self.put(JobKeys(NAME).status, json.dumps(status).encode())

    def log(self, entry: LogEntry) -> None:
        self.put(MapKeys(NAME).log_entry(self.entries), encode_entry(entry))
        self.entries += 1

    def report(self, attempt: int) -> None:
        stream = {"start": 0, "content": base64.b64encode(b"so far\n").decode()}
        report = {"run": "0a" * 8, "attempt": attempt, "written": 86_400, "stdout": stream, "stderr": stream}
        self.put(MapKeys(NAME).live(0), json.dumps(report).encode())

    def logs(self) -> None:
        _show_input(self.account, NAME, "0", only_stderr=True, more=False)

    def console(self) -> MapInputs:
        return MapInputs(lambda: nullcontext(self.account), NAME)


@pytest.fixture
def case(settings: Settings, api: Api, tmp_path: Path) -> Case:
    return Case(settings, api, tmp_path)


def test_of_one_that_runs_the_date_is_told(case: Case, capfd: pytest.CaptureFixture[str]) -> None:
    case.logs()
    out, err = capfd.readouterr()
    assert out == "so far\n"
    assert "It still runs: this is what it had written by 1970-01-0" in err
    shown = case.console().one("0")
    assert (shown.row.state, shown.live is not None) == ("running", True)


@pytest.mark.parametrize(
    ("state", "last"),
    [
        ("failed", None),
        ("cancelled", LogEntry(1, 3.0, stopped=True)),
        ("failed", LogEntry(1, 3.0, ended=MapEnd("It was ended early.", halted=True))),
    ],
)
def test_nothing_runs_of_a_map_that_is_over(
    case: Case, capfd: pytest.CaptureFixture[str], state: str, last: LogEntry | None
) -> None:
    if last is not None:
        case.log(last)
    case.state(state)
    case.logs()
    out, err = capfd.readouterr()
    assert out == "so far\n"
    assert re.search(r"It has no outcome, and the map is over: this is what it had written by 1970-01-0\d ", err)
    console = case.console()
    assert [each.state for each in console.rows()] == ["no outcome"]
    assert console.summary.words == "0 of 1 done, 1 without an outcome." + (
        " It was ended early." if last is not None and last.ended else ""
    )


def test_one_whose_coordinator_was_stopped_does_not_run_now(case: Case, capfd: pytest.CaptureFixture[str]) -> None:
    """It goes on on another server."""
    case.log(LogEntry(1, 3.0, stopped=True))
    case.logs()
    assert "It has no outcome yet, and does not run now: this is what" in capfd.readouterr().err
    assert [each.state for each in case.console().rows()] == ["waiting"]


def test_what_an_earlier_attempt_has_written_is_not_the_running_ones(case: Case) -> None:
    case.report(1)
    with pytest.raises(UsageError, match="there is nothing of it yet"):
        case.logs()
    assert case.console().one("0").live is None


@pytest.mark.parametrize("status", [b"", b"{", b'{"final": true}'])
def test_a_state_that_cannot_be_read_says_nothing(case: Case, capfd: pytest.CaptureFixture[str], status: bytes) -> None:
    case.put(JobKeys(NAME).status, status)
    case.logs()
    assert "It still runs" in capfd.readouterr().err
