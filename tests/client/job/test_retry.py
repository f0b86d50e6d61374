"""How often a program is started again, as people write it, and as the record has it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from skylift.client.errors import UsageError
from skylift.client.job.job import Program
from skylift.client.job.record import encode_record
from skylift.client.job.retry import Codes, read_retry
from skylift.client.job.server_record import parse_status, tries_of
from skylift.client.plan.plan_job import Order, plan_job
from skylift.contract.document import write
from skylift.contract.record import Retry


@pytest.mark.parametrize(
    ("times", "on", "retry"),
    [
        (None, None, None),
        (0, None, None),
        (0, "75", None),
        (3, None, Retry(3)),
        ("3", ["1", "75-80"], Retry(3, ((1, 1), (75, 80)))),
        (3, 75, Retry(3, ((75, 75),))),
        (3, [], Retry(3)),
        (100, " 1, 75,130 - 140", Retry(100, ((1, 1), (75, 75), (130, 140)))),
    ],
)
def test_what_is_asked_for(times: int | str | None, on: Codes | None, retry: Retry | None) -> None:
    assert read_retry(times, on) == retry


@pytest.mark.parametrize(
    "on", ["", "0", "256", "1,,2", "5-1", "-3", "1-", "a", "1;2", "1-2-3", "٣", "1\n\x1b[2J", ",".join(["1"] * 300)]
)
def test_what_is_no_exit_code_is_named(on: str) -> None:
    with pytest.raises(UsageError, match="--retry-on") as error:
        read_retry(3, on)
    assert error.value.message.isprintable()


@pytest.mark.parametrize("times", [-1, 101, 10**30, "", "٣", "3\n", "1e1", True])
def test_a_number_out_of_bounds(times: int | str) -> None:
    with pytest.raises(UsageError, match="from 0 to 100"):
        read_retry(times, None)


def test_codes_alone_and_a_terminal() -> None:
    with pytest.raises(UsageError, match="goes with --retries"):
        read_retry(None, "75")
    with pytest.raises(UsageError, match="-it and --retries"):
        read_retry(1, None, interactive=True)
    assert read_retry(0, None, interactive=True) is None


def test_the_record_has_it(tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text("print(1)\n")
    for retry, told in ((Retry(2, ((1, 9),)), {"times": 2, "on": [[1, 9]]}), (None, None)):
        job = plan_job(Order(Program("script", "job.py"), retry=retry), tmp_path, os.environ)
        assert json.loads(encode_record(job, created=0, deadline=9, packs=())).get("retry") == told


def test_tries_are_told_on_as_they_were_told() -> None:
    tries = [
        {"attempt": 1, "exit_code": 5, "signal": None, "reason": "It exited with 5.", "pause": 1.0},
        {"attempt": 2, "exit_code": 137, "signal": "SIGKILL", "reason": "Killed.", "seconds": 1.5},
    ]
    told = parse_status("s", json.dumps({"state": "failed", "final": True, "tries": tries}).encode())
    assert [(each.number, each.exit_code, each.signal) for each in tries_of(told)] == [
        (1, 5, None),
        (3, 137, "SIGKILL"),
    ]
    assert told.retries == 1
    again = parse_status("s", json.dumps(write(told)).encode())
    assert again.tries == told.tries
