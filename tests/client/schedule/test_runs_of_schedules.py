"""Schedules against moto's EventBridge Scheduler: made whole or not at all, and removed without a trace."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from support.agent_bench import Machine, Metadata, boot_arguments, until
from support.spot_counting import notice
from support.whole_run import Seen, order

from skylift.agent.spot.spot_interruption import WHY
from skylift.agent.spot.spot_notice import ACTION
from skylift.client.errors import JobNotFound, Refused, RunError, UsageError
from skylift.client.job.record import SCHEDULES, STARTING, JobKeys
from skylift.client.job.settings import Settings
from skylift.client.jobs.sweep import Sweep
from skylift.client.launch.server import live_servers, terminate
from skylift.client.remote.account import Account, open_account
from skylift.client.remote.api import Api
from skylift.client.schedule import making
from skylift.client.schedule.making import MakeSchedule, ScheduleOrder
from skylift.client.schedule.recurrence import Recurrence
from skylift.client.schedule.schedules import Schedules
from skylift.client.schedule.template import find_template
from skylift.client.steps import Clock

SOURCE = "import os\nprint('ran', os.environ['WORD'])\nopen('result.txt', 'w').write('42')\n"
TAG = "/latest/meta-data/tags/instance/skylift:job"


@pytest.fixture
def account(settings: Settings, prepared: None, api: Api) -> Account:
    return open_account(settings, api)


def make(settings: Settings, folder: Path, seen: Seen, name: str = "nightly", source: str = SOURCE) -> None:
    job = order(folder, source, name=name, outputs=["result.txt"], env=["WORD=hush"])
    what = ScheduleOrder(job, Recurrence("cron(0 2 * * ? *)", "Europe/Berlin"), "allow", "run job.py")
    assert asyncio.run(MakeSchedule(what, settings, seen, Clock(seen)).run())


def everything(account: Account) -> dict[str, Any]:
    """What there is of schedules in the account."""
    api = account.api
    return {
        "schedules": [each["Name"] for each in api.pages("scheduler", "list_schedules", "Schedules")],
        "roles": [each["RoleName"] for each in api.pages("iam", "list_roles", "Roles", PathPrefix="/skylift/")],
        "profiles": api.pages("iam", "list_instance_profiles", "InstanceProfiles", PathPrefix="/skylift/"),
        "templates": api.pages("ec2", "describe_launch_templates", "LaunchTemplates"),
        "objects": api.pages("s3", "list_objects_v2", "Contents", Bucket=account.bucket, Prefix="schedules/"),
    }


def boot(account: Account, machine: Machine, metadata: Metadata, name: str, tag: str) -> None:
    """A server, as EC2 would start it from the schedule's template, until its end."""
    begin(account, machine, metadata, name, tag)
    machine.wait()


def begin(account: Account, machine: Machine, metadata: Metadata, name: str, tag: str) -> None:
    template = find_template(account.api, name)
    (version,) = account.api.call("ec2", "describe_launch_template_versions", LaunchTemplateId=template)[
        "LaunchTemplateVersions"
    ]
    user_data = base64.b64decode(version["LaunchTemplateData"]["UserData"]).decode()
    program, arguments = boot_arguments(user_data)
    metadata.more[TAG] = tag.encode()
    machine.boot([*arguments, f"--deadline={int(time.time()) + 900}"], program=program)


def test_a_schedule_and_its_runs(
    settings: Settings, account: Account, machine: Machine, metadata: Metadata, seen: Seen, folder: Path, endpoint: str
) -> None:
    make(settings, folder, seen)
    schedules = Schedules(settings, account)
    (listed,) = schedules.listed()
    assert (listed.name, listed.state, listed.when) == ("nightly", "active", "cron(0 2 * * ? *)")
    assert (listed.timezone, listed.program, listed.last) == ("Europe/Berlin", "job.py", None)
    assert listed.next is not None
    due = datetime.fromisoformat(listed.next)
    assert due.astimezone(ZoneInfo("Europe/Berlin")).strftime("%H:%M:%S") == "02:00:00"
    assert timedelta(0) < due - datetime.now(UTC) <= timedelta(hours=25)
    boot(account, machine, metadata, "nightly", "nightly/2026-11-28T01:00:00Z")
    with Machine(endpoint, metadata) as another:
        # The values of --env are there for the next run, too.
        boot(account, another, metadata, "nightly", "nightly/2026-11-29T01:00:00Z")
    names = ["nightly-20261129-0100", "nightly-20261128-0100"]
    runs = schedules.history("nightly")
    assert [(each.name, each.state, each.exit_code) for each in runs] == [(name, "succeeded", 0) for name in names]
    assert schedules.listed()[0].last == names[0]
    record = account.record(names[0])
    assert (record.outputs, record.created) == (("result.txt",), 1795914000.0)
    # No server has written a record, which would name results and deadline.
    assert account.api.get(account.bucket, JobKeys(names[0]).record) is None
    assert "removed; 2 runs of it stay" in schedules.remove("nightly")
    assert not any(everything(account).values())
    assert account.record(names[0]) == record
    assert schedules._jobs.remove(names[0]).startswith("removed")
    with pytest.raises(JobNotFound):
        account.record(names[0])


@pytest.mark.parametrize("tag", ["other/2026-11-28T01:00:00Z", "nightly/../../jobs/x", "nightly-20261128-0100"])
def test_a_server_with_another_tag_does_nothing(
    settings: Settings, account: Account, machine: Machine, metadata: Metadata, seen: Seen, folder: Path, tag: str
) -> None:
    make(settings, folder, seen)
    with pytest.raises(AssertionError, match="this server has no job"):
        boot(account, machine, metadata, "nightly", tag)
    assert machine.off_commands()[-1] == "shutdown -P now"
    assert account.recorded() == []


@pytest.mark.parametrize("planted", [b'{"instance": "i-0fedcba9876543210"}', b"{", b"[]", b'{"instance": 1}'])
@pytest.mark.parametrize("older", [True, False])
def test_a_claim_is_believed_only_if_it_is_no_older_than_the_server(
    settings: Settings,
    account: Account,
    machine: Machine,
    metadata: Metadata,
    seen: Seen,
    folder: Path,
    planted: bytes,
    older: bool,
) -> None:
    """Programs of earlier runs may write there: all runs have one role."""
    make(settings, folder, seen)
    run = JobKeys("nightly-20261128-0100")
    account.api.put(account.bucket, f"{run.attempts}1.json", planted)
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + (3600 if older else -3600)))
    metadata.more["/latest/dynamic/instance-identity/document"] = json.dumps({"pendingTime": started}).encode()
    boot(account, machine, metadata, "nightly", "nightly/2026-11-28T01:00:00Z")
    found = account.api.get(account.bucket, f"{run.attempts}1.json") or b""
    (said,) = [each.state for each in Schedules(settings, account).history("nightly")]
    if older:
        assert (said, json.loads(found)["instance"]) == ("succeeded", metadata.instance)
    else:
        assert found == planted
        assert account.status("nightly-20261128-0100") is None


NOTICED = """
import signal, sys, time
def end(*_):
    print("told")
    open("result.txt", "w").write("so far")
    sys.exit(CODE)
signal.signal(signal.SIGTERM, end)
open("up", "w").close()
while True:
    time.sleep(0.05)
"""


@pytest.mark.parametrize(("code", "state"), [(75, "failed"), (0, "succeeded")])
def test_a_run_whose_spot_server_is_taken_back_has_an_end_and_its_results(
    settings: Settings,
    account: Account,
    machine: Machine,
    metadata: Metadata,
    seen: Seen,
    folder: Path,
    code: int,
    state: str,
) -> None:
    """It was `lost` before, as nobody listened. With --retries it is not started again on such a server either."""
    make(settings, folder, seen, source=NOTICED.replace("CODE", str(code)))
    key = JobKeys("nightly", SCHEDULES).record
    record = json.loads(account.api.get(account.bucket, key) or b"")
    record["schedule"]["spot"], record["retry"] = True, {"times": 3, "on": [], "pause": 0.1}
    account.api.put(account.bucket, key, json.dumps(record).encode())
    begin(account, machine, metadata, "nightly", "nightly/2026-11-28T01:00:00Z")
    until((machine.home / "job/up").exists, "the program to have begun")
    metadata.more[ACTION] = notice(120)
    machine.wait()
    status = account.status("nightly-20261128-0100")
    assert status is not None
    assert (status.state, status.final, status.exit_code) == (state, True, code)
    assert (WHY in (status.reason or "")) == (code != 0)
    assert account.api.get(account.bucket, f"{JobKeys('nightly-20261128-0100').base}/server/results/result.txt") == (
        b"so far"
    )


def test_a_name_is_taken_once(settings: Settings, account: Account, seen: Seen, folder: Path) -> None:
    make(settings, folder, seen)
    before = everything(account)
    with pytest.raises(UsageError, match="a schedule called nightly already"):
        make(settings, folder, seen)
    assert everything(account) == before


@pytest.mark.parametrize(
    "operation", ["create_instance_profile", "create_launch_template", "create_schedule_group", "create_schedule"]
)
def test_what_fails_leaves_nothing(
    settings: Settings, account: Account, seen: Seen, folder: Path, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Api.call

    def call(self: Api, service: str, name: str, **params: Any) -> Any:
        if name == operation:
            raise Refused("Broken", "no", name)
        return whole(self, service, name, **params)

    monkeypatch.setattr(Api, "call", call)
    with pytest.raises(Refused, match="Broken"):
        make(settings, folder, seen)
    assert not any(everything(account).values())
    monkeypatch.undo()
    make(settings, folder, seen)


def test_an_interrupt_leaves_nothing(
    settings: Settings, account: Account, seen: Seen, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = order(folder, "pass", name="nightly")
    making_it = MakeSchedule(ScheduleOrder(job, Recurrence("rate(1 day)"), "allow", "run"), settings, seen, Clock(seen))
    create = making._create_schedule

    async def main() -> bool:
        loop = asyncio.get_running_loop()

        def interrupted(api: Api, request: dict[str, Any]) -> None:
            loop.call_soon_threadsafe(making_it.interrupt)
            create(api, request)

        monkeypatch.setattr(making, "_create_schedule", interrupted)
        return await making_it.run()

    assert asyncio.run(main()) is False
    assert not any(everything(account).values())


def test_a_role_that_scheduler_does_not_know_yet(
    settings: Settings, account: Account, seen: Seen, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, refusals = Api.call, [1, 1]

    def call(self: Api, service: str, name: str, **params: Any) -> Any:
        if name == "create_schedule" and refusals:
            refusals.pop()
            raise Refused(
                "ValidationException", "The execution role you provide must allow ... to assume the role.", name
            )
        return whole(self, service, name, **params)

    monkeypatch.setattr(Api, "call", call)
    make(settings, folder, seen)
    assert everything(account)["schedules"] == ["nightly"]


def test_paused_and_resumed_with_all_that_it_was(
    settings: Settings, account: Account, seen: Seen, folder: Path
) -> None:
    make(settings, folder, seen)
    schedules = Schedules(settings, account)
    before = account.api.call("scheduler", "get_schedule", GroupName="skylift", Name="nightly")
    assert [schedules.pause("nightly"), schedules.pause("nightly")] == ["paused", "paused already"]
    assert (schedules.listed()[0].state, schedules.listed()[0].next) == ("paused", None)
    assert schedules.resume("nightly") == "active"
    after = account.api.call("scheduler", "get_schedule", GroupName="skylift", Name="nightly")
    for each in ("ScheduleExpression", "ScheduleExpressionTimezone", "Target", "FlexibleTimeWindow", "State"):
        assert after[each] == before[each]


@pytest.mark.parametrize("name", ["nosuch", "../nightly", "", "NIGHTLY", "n" * 25, "\x1b[2J"])
def test_what_there_is_not(settings: Settings, account: Account, name: str) -> None:
    schedules = Schedules(settings, account)
    for act in (schedules.pause, schedules.resume, schedules.run_now, schedules.remove, schedules.history):
        with pytest.raises(UsageError, match="There is no schedule called") as caught:
            act(name)
        assert "\x1b" not in caught.value.message


def test_run_now_while_it_is_paused_and_no_removal_under_a_run(
    settings: Settings, account: Account, seen: Seen, folder: Path
) -> None:
    make(settings, folder, seen)
    schedules = Schedules(settings, account)
    schedules.pause("nightly")
    run = schedules.run_now("nightly")
    (server,) = live_servers(account.api, run)
    assert server.job == run
    assert [(each.name, each.state) for each in schedules.history("nightly")] == [(run, "starting")]
    with pytest.raises(RunError, match="still has its server") as caught:
        schedules.remove("nightly")
    assert f"skylift cancel {run}" in caught.value.advice
    with pytest.raises(RunError, match="incomplete"):
        schedules.run_now("nightly")
    assert schedules.listed()[0].state == "incomplete"
    terminate(account.api, server.instance)
    schedules.remove("nightly")
    assert not any(everything(account).values())


def test_sweep_leaves_what_a_schedule_needs_and_takes_what_a_killed_client_left(
    settings: Settings, account: Account, seen: Seen, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(settings, folder, seen)
    later = time.time() + 2 * STARTING
    assert Sweep(account, later).find() == []
    schedules = Schedules(settings, account)
    monkeypatch.setattr("skylift.client.schedule.schedules.time.time", lambda: later)
    assert list(schedules.leftovers()) == []
    account.api.call("scheduler", "delete_schedule", GroupName="skylift", Name="nightly")
    (left,) = schedules.leftovers()
    assert (left.kind, left.id) == ("schedule", "nightly")
    left.remove()
    assert not any(everything(account).values())
    assert [each.kind for each in Sweep(account, later).find()] == ["input"]


def test_a_damaged_record_is_told_and_can_be_removed(
    settings: Settings, account: Account, seen: Seen, folder: Path
) -> None:
    make(settings, folder, seen)
    key = JobKeys("nightly", SCHEDULES).record
    record = json.loads(account.api.get(account.bucket, key) or b"")
    schedules = Schedules(settings, account)
    for damage in (b"{", b"[]", json.dumps({**record, "schedule": {"overlap": "never", "lasts": 1}}).encode()):
        account.api.put(account.bucket, key, damage)
        assert schedules.listed()[0].state == "damaged"
        assert not [each for each in Sweep(account, time.time() + 2 * STARTING).find() if each.kind == "input"]
    schedules.remove("nightly")
    assert not any(everything(account).values())
