"""--overlap: one run of a schedule at a time, by the real supervisors of two servers that share a bucket."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from pathlib import Path
from typing import Any

import pytest
from support.agent_bench import Machine, Metadata, boot_arguments, until
from support.shipped_job import WAIT_FOR_GO
from support.waiting_job import go
from support.whole_run import Seen, order

from skylift.agent.lifecycle.schedule_lock import parse
from skylift.client.job.record import SCHEDULES, JobKeys, Overlap
from skylift.client.job.settings import Settings
from skylift.client.remote.account import Account, open_account
from skylift.client.remote.api import Api
from skylift.client.schedule.making import MakeSchedule, ScheduleOrder
from skylift.client.schedule.recurrence import Recurrence
from skylift.client.schedule.template import find_template
from skylift.client.steps import Clock

TAG = "/latest/meta-data/tags/instance/skylift:job"
FIRST, SECOND = "nightly-20261128-0100", "nightly-20261129-0100"
KEY = "schedules/nightly/running.json"


class Nightly:
    """A schedule, and servers as EC2 starts them for it, with a heart that beats quickly."""

    def __init__(self, settings: Settings, api: Api, folder: Path, seen: Seen) -> None:
        self._settings, self._folder, self._seen = settings, folder, seen
        self.account: Account = open_account(settings, api)

    def make(self, overlap: Overlap, beat: float = 0.5) -> None:
        job = order(self._folder, f"{WAIT_FOR_GO}print('ran')\n", name="nightly")
        what = ScheduleOrder(job, Recurrence("rate(1 day)"), overlap, "run job.py")
        assert asyncio.run(MakeSchedule(what, self._settings, self._seen, Clock(self._seen)).run())
        key = JobKeys("nightly", SCHEDULES).record
        record = json.loads(self.account.api.get(self.account.bucket, key) or b"")
        record["schedule"]["beat"] = beat
        self.put(key, json.dumps(record).encode())

    def boot(self, machine: Machine, metadata: Metadata, day: int) -> None:
        api = self.account.api
        template = find_template(api, "nightly")
        found = api.call("ec2", "describe_launch_template_versions", LaunchTemplateId=template)[
            "LaunchTemplateVersions"
        ]
        user_data = base64.b64decode(found[0]["LaunchTemplateData"]["UserData"]).decode()
        program, arguments = boot_arguments(user_data)
        metadata.more[TAG] = f"nightly/2026-11-{day}T01:00:00Z".encode()
        lasts = self.account.schedule("nightly").schedule.lasts  # type: ignore[union-attr]
        machine.boot([*arguments, f"--deadline={int(time.time()) + lasts}"], program=program)

    def put(self, key: str, body: bytes) -> None:
        self.account.api.put(self.account.bucket, key, body)

    def running(self) -> Any:
        return json.loads(self.account.api.get(self.account.bucket, KEY) or b"null")

    def status(self, job: str) -> dict[str, Any]:
        return json.loads(self.account.api.get(self.account.bucket, JobKeys(job).status) or b"{}")

    def runs(self, job: str) -> bool:
        return self.status(job).get("state") == "running"


@pytest.fixture
def nightly(settings: Settings, api: Api, folder: Path, seen: Seen) -> Nightly:
    return Nightly(settings, api, folder, seen)


@pytest.fixture
def other(endpoint: str) -> Any:
    with Metadata() as metadata:
        metadata.instance = "i-0fedcba9876543210"
        with Machine(endpoint, metadata) as machine:
            yield machine, metadata


def test_a_run_that_is_due_meanwhile_is_skipped_and_told(
    nightly: Nightly, machine: Machine, metadata: Metadata, other: tuple[Machine, Metadata]
) -> None:
    nightly.make("skip")
    nightly.boot(machine, metadata, 28)
    until(lambda: nightly.runs(FIRST), "the first run")
    assert nightly.running()["job"] == FIRST
    nightly.boot(*other, 29)
    other[0].wait()
    status = nightly.status(SECOND)
    assert (status["state"], status["final"], status["exit_code"]) == ("skipped", True, 143)
    assert status["reason"] == f"{FIRST} was still going (--overlap skip)."
    assert nightly.runs(FIRST)
    go(machine)
    machine.wait()
    assert nightly.status(FIRST)["state"] == "succeeded"
    assert nightly.running() == {}


def test_a_run_that_is_due_meanwhile_waits_for_its_turn(
    nightly: Nightly, machine: Machine, metadata: Metadata, other: tuple[Machine, Metadata]
) -> None:
    nightly.make("queue")
    nightly.boot(machine, metadata, 28)
    until(lambda: nightly.runs(FIRST), "the first run")
    nightly.boot(*other, 29)
    beat = nightly.running()["beat"]
    until(lambda: nightly.running()["beat"] > beat + 4, "some time")
    assert not nightly.runs(SECOND)
    go(machine)
    machine.wait()
    until(lambda: nightly.runs(SECOND), "the second run")
    assert nightly.running()["job"] == SECOND
    go(other[0])
    other[0].wait()
    assert nightly.status(SECOND)["state"] == "succeeded"


def test_a_run_that_waits_can_be_cancelled(
    nightly: Nightly, machine: Machine, metadata: Metadata, other: tuple[Machine, Metadata]
) -> None:
    nightly.make("queue")
    nightly.boot(machine, metadata, 28)
    until(lambda: nightly.runs(FIRST), "the first run")
    nightly.boot(*other, 29)
    until(lambda: nightly.status(SECOND), "the second run's server")
    nightly.put(JobKeys(SECOND).cancel, b"")
    other[0].wait()
    assert nightly.status(SECOND)["state"] == "cancelled"
    assert nightly.runs(FIRST)
    go(machine)
    machine.wait()
    assert nightly.status(FIRST)["state"] == "succeeded"


def test_both_go_where_that_is_allowed(
    nightly: Nightly, machine: Machine, metadata: Metadata, other: tuple[Machine, Metadata]
) -> None:
    nightly.make("allow")
    nightly.boot(machine, metadata, 28)
    nightly.boot(*other, 29)
    until(lambda: nightly.runs(FIRST) and nightly.runs(SECOND), "both runs")
    for each in (machine, other[0]):
        go(each)
        each.wait()
    assert nightly.running() is None


def test_a_run_that_died_holds_nobody_up(nightly: Nightly, machine: Machine, metadata: Metadata) -> None:
    nightly.make("skip")
    told = {"job": "nightly-20261127-0100", "instance": "i-0aaaaaaaaaaaaaaaa", "beat": 7}
    nightly.put(KEY, json.dumps(told).encode())
    nightly.boot(machine, metadata, 28)
    until(lambda: nightly.runs(FIRST), "the run")
    go(machine)
    machine.wait()
    assert "nothing was heard of nightly-20261127-0100 for a while, and so its server is ended" in machine.console()


def test_a_supervisor_that_was_killed_keeps_the_turn(nightly: Nightly, machine: Machine, metadata: Metadata) -> None:
    nightly.make("skip")
    nightly.boot(machine, metadata, 28)
    until(lambda: nightly.runs(FIRST), "the run")
    machine.lose_supervisor()
    beat = nightly.running()["beat"]
    until(lambda: nightly.running()["beat"] != beat, "a sign of life")
    assert nightly.running()["job"] == FIRST
    go(machine)
    machine.wait()
    assert (nightly.status(FIRST)["state"], nightly.running()) == ("succeeded", {})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"[" * 100_000,
        b'{"job": "nightly-20261127-0100"}',
        b'{"job": "nightly-20261127-0100", "instance": "i-1&Action=DeleteVpc"}',
        b'{"job": ["x"], "instance": "i-0aaaaaaaaaaaaaaaa"}',
        b'{"job": "\\u001b[2J", "instance": "i-0aaaaaaaaaaaaaaaa"}',
        b'{"free": true}',
        b"\xff",
    ],
)
def test_what_a_program_writes_there_names_no_server_and_gives_no_turn(body: bytes) -> None:
    found = parse(body, "e")
    assert (found.job, found.instance, found.free) == ("another run", "", False)
