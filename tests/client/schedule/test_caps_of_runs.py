"""The cap of the servers of a schedule's runs: what they ask for before anything of the job runs, and what their role
may do with it."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from moto import backends
from moto.scheduler.exceptions import ValidationException
from support.agent_bench import Machine, Metadata, boot_arguments
from support.whole_run import Seen, order

from skylift.agent.job import cap
from skylift.agent.job.context import Context
from skylift.agent.job.outcome import Ended
from skylift.agent.remote.aws import NoAnswer, Refused, Unreachable, retry_until
from skylift.client.job.record import SCHEDULES, JobKeys
from skylift.client.job.settings import Settings
from skylift.client.launch import cap as launch_cap
from skylift.client.launch import check
from skylift.client.launch.reach import Reach
from skylift.client.launch.role import boundary_policy, capping_itself
from skylift.client.launch.worker_group import policy_of_workers
from skylift.client.remote.account import Account, open_account
from skylift.client.remote.api import Api
from skylift.client.schedule.making import MakeSchedule, ScheduleOrder
from skylift.client.schedule.recurrence import Recurrence
from skylift.client.schedule.requests import keeping_disks, runs_policy
from skylift.client.schedule.schedules import Schedules
from skylift.client.schedule.template import find_template
from skylift.client.schedule.workers import runs_of
from skylift.client.steps import Clock
from skylift.cloud.services.api.authorize import Policies, decide
from skylift.cloud.services.api.policy_document import parse_policy
from skylift.contract.record import ScheduleTerms

RUN = "nightly-20261128-0100"
SOURCE = "open('result.txt', 'w').write('42')\n"


@pytest.fixture
def account(settings: Settings, prepared: None, api: Api) -> Account:
    return open_account(settings, api)


def make(settings: Settings, folder: Path, seen: Seen) -> None:
    job = order(folder, SOURCE, name="nightly", outputs=["result.txt"])
    what = ScheduleOrder(job, Recurrence("cron(0 2 * * ? *)"), "allow", "run job.py")
    assert asyncio.run(MakeSchedule(what, settings, seen, Clock(seen)).run())


def boot(account: Account, machine: Machine, metadata: Metadata) -> int:
    """A server of a run, until its end; its deadline."""
    versions = account.api.call(
        "ec2", "describe_launch_template_versions", LaunchTemplateId=find_template(account.api, "nightly")
    )["LaunchTemplateVersions"]
    program, arguments = boot_arguments(base64.b64decode(versions[0]["LaunchTemplateData"]["UserData"]).decode())
    metadata.more["/latest/meta-data/tags/instance/skylift:job"] = b"nightly/2026-11-28T01:00:00Z"
    deadline = int(time.time()) + 900
    machine.boot([*arguments, f"--deadline={deadline}"], program=program)
    machine.wait()
    return deadline


def caps(api: Api) -> list[dict[str, Any]]:
    listed = api.pages("scheduler", "list_schedules", "Schedules", GroupName="skylift")
    names = [each["Name"] for each in listed if each["Name"].startswith("nightly.")]
    found = [api.call("scheduler", "get_schedule", GroupName="skylift", Name=each) for each in names]
    return sorted(found, key=lambda each: str(each["Target"]["Arn"]))


def test_a_server_has_the_cloud_end_it_after_its_deadline(
    settings: Settings, account: Account, machine: Machine, metadata: Metadata, seen: Seen, folder: Path
) -> None:
    make(settings, folder, seen)
    deadline = boot(account, machine, metadata)
    found = caps(account.api)
    # As a client asks for a job's server: only name, role and group are others.
    asked = launch_cap.server_requests(account.number, metadata.instance, deadline)
    for got, wanted in zip(found, sorted(asked, key=lambda each: str(each["Target"]["Arn"])), strict=True):
        role = f"arn:aws:iam::{account.number}:role/skylift/skylift-cap.nightly"
        assert got["Target"] == {**wanted["Target"], "RoleArn": role, "RetryPolicy": got["Target"]["RetryPolicy"]}
        same = ("ScheduleExpression", "ScheduleExpressionTimezone", "FlexibleTimeWindow", "ActionAfterCompletion")
        assert {each: got[each] for each in same} == {each: wanted[each] for each in same}
        assert len(got["Name"]) == len("nightly.xx")
    schedules = Schedules(settings, account)
    assert [each.name for each in schedules.listed()] == ["nightly"]
    schedules.remove("nightly")
    assert caps(account.api) == []
    assert account.api.pages("iam", "list_roles", "Roles", PathPrefix="/skylift/") == []


def test_nothing_of_the_job_runs_where_the_cloud_does_not_take_it(
    settings: Settings,
    account: Account,
    machine: Machine,
    metadata: Metadata,
    seen: Seen,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make(settings, folder, seen)

    def refuse(*_: Any, **__: Any) -> Any:
        raise ValidationException("Not this one.")

    monkeypatch.setattr(type(backends.get_backend("scheduler")[account.number]["us-east-1"]), "create_schedule", refuse)
    boot(account, machine, metadata)
    status = account.status(RUN)
    assert status is not None
    assert (status.state, status.exit_code) == ("broken", 125)
    assert "could not be told to end this server" in (status.reason or "")
    assert not account.api.has(account.bucket, JobKeys(RUN).result("result.txt"))


def test_a_network_without_a_way_to_ask_is_known_before(
    settings: Settings,
    account: Account,
    machine: Machine,
    metadata: Metadata,
    seen: Seen,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(check, "find_reach", lambda *_: Reach())
    make(settings, folder, seen)
    assert [each for each in seen.notes if "EventBridge Scheduler" in each] != []
    record = json.loads(account.api.get(account.bucket, JobKeys("nightly", SCHEDULES).record) or b"")
    assert record["schedule"]["caps"] == []
    boot(account, machine, metadata)
    assert caps(account.api) == []
    assert account.api.has(account.bucket, JobKeys(RUN).result("result.txt"))


class Asked:
    """What a server asks, answered in turn; the last answer again and again."""

    region = "us-east-1"

    def __init__(self, *answers: tuple[int, str] | Exception) -> None:
        self._answers, self.urls = [*answers], list[str]()

    def instance(self) -> str:
        return "i-1"

    def url(self, _: str) -> str:
        return "http://here"

    def send(self, _service: str, _method: str, url: str, *_: Any) -> tuple[int, dict[str, str], bytes]:
        self.urls.append(url)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer[0], {}, answer[1].encode()


def ask(aws: Asked, seconds: float = 60.0) -> None:
    def retry(what: str, call: Callable[[], Any]) -> Any:
        return retry_until(what, call, time.time() + seconds)

    context = SimpleNamespace(aws=aws, retry=retry, deadline=9_000.0, source_name="schedules/nightly")
    (one, _) = launch_cap.caps_of_runs("1", "nightly")
    cap.cap_server(cast(Context, context), ScheduleTerms("skip", 60, caps=(one,), beat=1.0))


def test_a_name_that_is_taken_is_left_for_another() -> None:
    aws = Asked((409, ""), (409, ""), (200, ""))
    ask(aws)
    assert len(set(aws.urls)) == 3
    assert all(each.startswith("http://here/schedules/nightly.") for each in aws.urls)


def test_a_program_that_has_taken_all_names_keeps_later_runs_from_beginning_and_from_nothing_else() -> None:
    aws = Asked((409, ""))
    with pytest.raises(Ended, match="has 3844 of them already"):
        ask(aws)
    assert sorted(aws.urls) == sorted(f"http://here/schedules/nightly.{each}" for each in cap.NAMES)


def test_a_role_that_the_cloud_does_not_know_yet_is_waited_for() -> None:
    ask(aws := Asked(Refused(400, "The execution role must allow AWS to assume the role."), (200, "")))
    assert len(aws.urls) == 2


@pytest.mark.parametrize("answer", [(404, "no group"), Refused(400, "no"), Unreachable("HTTP 403")])
def test_it_does_not_begin_without(answer: tuple[int, str] | Exception) -> None:
    with pytest.raises(Ended, match="could not be told to end this server"):
        ask(Asked(answer), 0.1)


@pytest.mark.parametrize("silence", [NoAnswer("timed out"), Unreachable("HTTP 503 NoWayToService")])
def test_silence_is_waited_for_and_then_the_job_begins(silence: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody could know before that there is no way."""
    monkeypatch.setattr(cap, "_SILENCE", 0.2)
    ask(aws := Asked(silence))
    assert len(aws.urls) > 1


def test_the_cloud_leaves_as_much_time_to_all_servers() -> None:
    assert cap.MARGIN == launch_cap.MARGIN


# What the two roles may do, as the cloud decides it.

NUMBER, REGION = "123456789012", "eu-west-1"
BUCKET = f"skylift-{NUMBER}-{REGION}"
INSTANCE = f"arn:aws:ec2:{REGION}:{NUMBER}:instance/i-a"
CAPPING = capping_itself("nightly", NUMBER, REGION)


def held(document: dict[str, Any]) -> Policies:
    return Policies((parse_policy(json.dumps(document)),), parse_policy(json.dumps(boundary_policy(NUMBER))))


OWN = held(runs_policy("nightly", BUCKET, NUMBER, REGION, (), [*CAPPING, keeping_disks("nightly", NUMBER, REGION)]))
OTHERS = held(policy_of_workers(BUCKET, JobKeys("nightly", SCHEDULES).base, runs_of("nightly"), (), CAPPING))


@pytest.mark.parametrize("role", [OWN, OTHERS])
def test_a_run_may_ask_for_its_cap_and_do_nothing_else_to_schedules(role: Policies) -> None:
    def allowed(action: str, name: str, source: str | None = INSTANCE) -> bool:
        context = {"ec2:SourceInstanceARN": source} if source else {}
        resource = f"arn:aws:scheduler:{REGION}:{NUMBER}:schedule/{name}"
        return decide(role, f"scheduler:{action}", resource, context).allowed

    assert allowed("CreateSchedule", "skylift/nightly.aZ")
    assert not allowed("CreateSchedule", "skylift/nightly.aZ", None), "credentials that are no server's"
    for action in ("UpdateSchedule", "DeleteSchedule", "GetSchedule", "ListSchedules"):
        assert not allowed(action, "skylift/nightly.aZ")
    for other in ("nightly", "nightly.a", "nightly.abc", "other.aZ", "nightly-b.aZ", "default/nightly.aZ"):
        assert not allowed("CreateSchedule", other if "/" in other else f"skylift/{other}")
    for name in ("i-0123456789abcdef0.terminate", "workers.nightly", "nightly.aZ"):
        assert not allowed("CreateSchedule", f"skylift-caps/{name}")


@pytest.mark.parametrize("role", [OWN, OTHERS])
def test_a_run_hands_the_cloud_no_role_but_that_of_its_caps(role: Policies) -> None:
    def allowed(name: str, to: str = "scheduler.amazonaws.com") -> bool:
        context = {"iam:PassedToService": to, "ec2:SourceInstanceARN": INSTANCE}
        return decide(role, "iam:PassRole", f"arn:aws:iam::{NUMBER}:role/skylift/{name}", context).allowed

    assert allowed("skylift-cap.nightly")
    assert not allowed("skylift-cap.nightly", "ec2.amazonaws.com")
    for name in ("cap.other", "cap-1.scheduler", "scheduler.nightly", "schedule.nightly"):
        assert not allowed(f"skylift-{name}")


def test_a_run_says_of_no_server_that_it_keeps_results_but_of_those_that_can_be_stopped() -> None:
    """A spot server that is tagged so would be neither terminated nor stopped."""

    def allowed(run: str, *tags: str, worker: bool = False) -> bool:
        context: dict[str, Any] = {"aws:TagKeys": tags, "ec2:SourceInstanceARN": INSTANCE}
        context |= {f"aws:ResourceTag/{key}": value for key, value in {"skylift:job": run}.items()}
        context |= {"aws:ResourceTag/skylift:worker": "yes"} if worker else {}
        return decide(OWN, "ec2:CreateTags", INSTANCE, context).allowed

    mine = "nightly/2026-11-28T02:00:00Z"
    assert allowed(mine, "skylift:undelivered")
    assert not allowed(mine, "skylift:undelivered", worker=True)
    assert not allowed(mine, "skylift:job")
    assert not allowed(mine, "skylift:undelivered", "skylift:job")
    assert not allowed("other/2026-11-28T02:00:00Z", "skylift:undelivered")
    assert not decide(OTHERS, "ec2:CreateTags", INSTANCE, {"ec2:SourceInstanceARN": INSTANCE}).allowed
