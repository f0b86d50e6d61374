"""The cap from outside: what is asked of EventBridge Scheduler, when it moves and goes, and a user who may not ask."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from kept_yard import Yard
from support.agent_bench import Machine
from support.whole_run import Seen, host, order, run

from skylift.client.attach import Attach
from skylift.client.errors import NotPermitted, Refused, Unreachable
from skylift.client.job.record import JobKeys, workers_on_demand
from skylift.client.job.settings import Settings
from skylift.client.jobs.jobs import Jobs
from skylift.client.jobs.sweep import Sweep
from skylift.client.launch import cap
from skylift.client.launch.bucket import ensure_bucket
from skylift.client.launch.scheduler import create_schedule
from skylift.client.launch.server import terminate
from skylift.client.remote.account import Account, open_account
from skylift.client.remote.api import Api
from skylift.client.steps import Clock
from skylift.client.watch.watched_job import find_job

DOCUMENT = "6851f9089ecbae58f05b7bc94ea770d59a9f3e8cabe64249bcf2feb6da947f7f"
ID = "i-0123456789abcdef0"
DUE = datetime(2026, 11, 25, 12, 0, tzinfo=UTC).timestamp()


@pytest.fixture
def account(settings: Settings, api: Api) -> Account:
    return open_account(settings, api)


def names(api: Api) -> list[str]:
    return sorted(cap.capped(api))


def times(api: Api) -> set[str]:
    found = (api.call("scheduler", "get_schedule", GroupName=cap.GROUP, Name=each) for each in names(api))
    return {each["ScheduleExpression"] for each in found}


def test_the_requests_of_a_server() -> None:
    requests = cap.server_requests("1", ID, DUE)
    assert requests == [
        {
            "GroupName": "skylift-caps",
            "Name": f"{ID}.{name}",
            "ScheduleExpression": "at(2026-11-25T12:02:00)",
            "ScheduleExpressionTimezone": "UTC",
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "ActionAfterCompletion": "DELETE",
            "Target": {
                "Arn": f"arn:aws:scheduler:::aws-sdk:ec2:{name}Instances",
                "RoleArn": "arn:aws:iam::1:role/skylift/skylift-cap-1.scheduler",
                "Input": json.dumps({"InstanceIds": [ID]}),
            },
        }
        for name in ("terminate", "stop")
    ]
    assert cap.server_requests("1", ID, DUE, fleet=True) == requests[:1], "a fleet would replace one that is stopped"


def test_the_request_of_a_group_of_the_longest_name() -> None:
    request = cap.group_request("1", workers_on_demand("x" * 40), DUE)
    assert len(request["Name"]) <= 64
    assert request["Target"]["Arn"] == "arn:aws:scheduler:::aws-sdk:autoscaling:deleteAutoScalingGroup"
    assert json.loads(request["Target"]["Input"]) == {
        "AutoScalingGroupName": workers_on_demand("x" * 40),
        "ForceDelete": True,
    }


@pytest.mark.parametrize(
    ("deadline", "at"),
    [
        (DUE, "at(2026-11-25T12:02:00)"),
        (DUE + 0.5, "at(2026-11-25T12:02:00)"),
        (DUE + 1, "at(2026-11-25T12:03:00)"),
        (DUE + 59, "at(2026-11-25T12:03:00)"),
        (253402300799.0, "at(9999-12-31T23:59:00)"),
    ],
)
def test_it_comes_with_the_next_whole_minute_and_never_before_the_server_had_its_time(deadline: float, at: str) -> None:
    assert {each["ScheduleExpression"] for each in cap.server_requests("1", ID, deadline)} == {at}


def test_another_document_has_another_name() -> None:
    """As of jobs' boundaries (test_boundary.py): an account keeps the policy that it has under a name."""
    document = json.dumps(cap.cap_policy("123456789012"), sort_keys=True)
    assert (cap.BOUNDARY, hashlib.sha256(document.encode()).hexdigest()) == ("skylift-boundary-cap-1", DOCUMENT)
    assert cap.ROLE == "skylift-cap-1.scheduler", "of a role that is there, the policy is not written again"


def test_what_may_be_ended_carries_skylifts_tag() -> None:
    for each in cap.cap_policy("1")["Statement"]:
        assert each["Condition"]["Null"]["aws:ResourceTag/skylift:job"] == "false"
        assert each["Resource"] != "*"


def test_a_cap_that_is_there_stays_as_it_is_unless_the_server_goes_on_to_another_job(account: Account) -> None:
    """Who may write the bucket may say another deadline of a job to clients that come later."""
    cap.cap_server(account, ID, DUE)
    cap.cap_server(account, ID, DUE + 86400)
    assert (names(account.api), times(account.api)) == ([f"{ID}.stop", f"{ID}.terminate"], {"at(2026-11-25T12:02:00)"})
    cap.move_cap(account, ID, DUE + 86400)
    assert times(account.api) == {"at(2026-11-26T12:02:00)"}


def test_a_kept_server_without_a_cap_gets_one(account: Account) -> None:
    cap.move_cap(account, ID, DUE)
    assert names(account.api) == [f"{ID}.stop", f"{ID}.terminate"]


def test_a_server_that_is_ended_needs_none(account: Account) -> None:
    cap.cap_server(account, ID, DUE)
    terminate(account.api, ID)
    assert names(account.api) == []


@pytest.mark.parametrize("code", ["AccessDeniedException", "ThrottlingException"])
def test_a_server_ends_also_where_its_cap_cannot_be_removed(
    account: Account, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    asked = Api.call

    def answer(api: Api, service: str, operation: str, **params: Any) -> Any:
        if service == "scheduler":
            raise Refused(code, "no", operation)
        return asked(api, service, operation, **params)

    monkeypatch.setattr(Api, "call", answer)
    terminate(account.api, ID)


@pytest.mark.parametrize(("told", "capped"), [({"capped": True}, True), ({"capped": False}, False), ({}, False)])
def test_attach_makes_the_cap_that_a_killed_client_has_not_made(
    account: Account, seen: Seen, tmp_path: Path, told: dict[str, bool], capped: bool
) -> None:
    """Of a job whose server tells that it keeps results: one of an earlier version would be terminated with them."""
    instance, prefix, deadline = Yard(account).keep("x", streams={}, exit_code=0), JobKeys("x"), int(time.time()) + 7200
    record = {"created": deadline - 7200, "deadline": deadline, "keep": 60, **told}
    manifest = {"results": [], "unmatched": [], "left_behind": [], "final": True}
    for key, body in {prefix.record: record, prefix.manifest: manifest}.items():
        account.api.put(account.bucket, key, json.dumps(body).encode())
    asyncio.run(Attach(find_job(account, "x", tmp_path), seen, Clock(seen)).run())
    asked = cap.server_requests(account.number, instance, deadline) if capped else []
    assert names(account.api) == sorted(each["Name"] for each in asked)
    assert times(account.api) == {each["ScheduleExpression"] for each in asked}


class New(Api):
    """An account in which nothing has a cap yet: what it lacks is told as AWS tells it, until it is made."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.asked: list[str] = []
        self.lacks = [
            "There is no group",
            "The execution role must allow AWS EventBridge Scheduler to assume the role.",
        ]

    def call(self, service: str, operation: str, **params: Any) -> Any:
        self.asked.append(operation)
        if operation == "create_schedule" and self.lacks:
            code = "ValidationException" if len(self.lacks) == 1 else "ResourceNotFoundException"
            raise Refused(code, self.lacks.pop(0), operation)
        return super().call(service, operation, **params)


def test_the_first_one_of_an_account_makes_the_role_and_the_group(settings: Settings) -> None:
    api = New(settings)
    account = open_account(settings, api)
    cap.cap_group(account, "skylift-workers.x", DUE)
    assert api.asked.count("create_role") == api.asked.count("create_schedule_group") == 1
    role = api.call("iam", "get_role", RoleName=cap.ROLE)["Role"]
    assert role["Path"] == "/skylift/"
    assert role["PermissionsBoundary"]["PermissionsBoundaryArn"].endswith(f"/skylift/{cap.BOUNDARY}")
    given = api.call("iam", "get_role_policy", RoleName=cap.ROLE, PolicyName="end")["PolicyDocument"]
    assert given == cap.cap_policy(account.number)
    assert names(api) == ["workers.x"]
    # Once more, as a client that was killed in between: what is there already does no harm.
    cap._prepare(account)


def test_other_refusals_are_not_waited_for(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(*_: Any, **__: Any) -> Any:
        raise NotPermitted("AccessDeniedException", "no", "create_schedule")

    monkeypatch.setattr(account.api, "call", answer)
    began = time.monotonic()
    with pytest.raises(NotPermitted):
        create_schedule(account.api, {})
    assert time.monotonic() - began < 10


@pytest.fixture
def denied(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A user who may do nothing in EventBridge Scheduler."""
    asked = Api.call

    def answer(api: Api, service: str, operation: str, **params: Any) -> Any:
        if service == "scheduler":
            raise NotPermitted("AccessDeniedException", "no", operation, "You lack the permission scheduler:X.")
        return asked(api, service, operation, **params)

    with monkeypatch.context() as patch:
        patch.setattr(Api, "call", answer)
        yield


def test_a_job_of_who_may_not_ask_runs_and_says_so(
    denied: None, settings: Settings, api: Api, machine: Machine, seen: Seen, folder: Path
) -> None:
    with host(api, machine) as found:
        outcome = run(order(folder, ""), settings, seen)
    assert (outcome.exit_code, outcome.capped, outcome.as_json()["capped"]) == (0, False, False)
    instance = found["instance"]
    assert seen.notes == [
        f"Nothing but {instance} itself ends it at its deadline: the cloud could not be told to. "
        "You lack the permission scheduler:X."
    ]
    machine.wait()


def test_a_run_has_its_cap_while_its_server_is_there(
    settings: Settings, api: Api, machine: Machine, seen: Seen, folder: Path
) -> None:
    job = order(folder, "")
    came: list[tuple[list[str], set[str]]] = []
    seen.done = lambda step, detail, seconds: came.append((names(api), times(api))) if step == "server" else None  # type: ignore[method-assign]
    with host(api, machine) as found:
        outcome = run(job, settings, seen)
    deadline = json.loads(api.get(open_account(settings, api).bucket, JobKeys(job.name).record) or b"")["deadline"]
    instance = found["instance"]
    asked = cap.server_requests(settings.account or "", instance, deadline)
    assert came == [([f"{instance}.stop", f"{instance}.terminate"], {each["ScheduleExpression"] for each in asked})]
    assert outcome.capped is True
    assert names(api) == []
    machine.wait()


def test_sweep_goes_on_where_scheduler_does_not_answer(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Api.pages

    def answer(api: Api, service: str, *rest: Any, **params: Any) -> Any:
        if service == "scheduler":
            raise Unreachable("No answer from scheduler.us-east-1.amazonaws.com.")
        return asked(api, service, *rest, **params)

    monkeypatch.setattr(Api, "pages", answer)
    (found,) = [each for each in Sweep(account).find() if each.kind == "schedule"]
    assert (found.id, found.removable) == (cap.GROUP, False)
    assert found.why.endswith("No answer from scheduler.us-east-1.amazonaws.com.")


def ended(account: Account, instance: str, job: str = "x") -> Jobs:
    """A job of one line whose server says that it was this one."""
    status = {"job": job, "state": "succeeded", "final": True, "instance": instance, "exit_code": 0}
    account.api.put(account.bucket, JobKeys(job).record, b'{"created": 0, "deadline": 60}')
    account.api.put(account.bucket, JobKeys(job).status, json.dumps(status).encode())
    return Jobs(account.settings, account)


def test_rm_removes_the_cap_of_a_server_that_has_ended_by_itself(account: Account) -> None:
    ensure_bucket(account.api, account.bucket)
    cap.cap_server(account, ID, DUE)
    ended(account, ID).remove("x")
    assert names(account.api) == []


def test_rm_leaves_the_cap_of_another_jobs_server(settings: Settings, account: Account) -> None:
    """Which server was a job's is said by that server."""
    yard = Yard(account)
    ensure_bucket(account.api, account.bucket)
    other = yard.keep("other")
    cap.cap_server(account, other, DUE)
    ended(account, other).remove("x")
    assert names(account.api) == [f"{other}.stop", f"{other}.terminate"]


def test_sweep_removes_the_cap_of_what_has_ended_by_itself(account: Account) -> None:
    cap.cap_server(account, ID, DUE)
    cap.cap_group(account, "skylift-workers.gone", DUE)
    later = time.time() + 86400
    assert [each for each in Sweep(account).find() if each.kind == "schedule"] == [], "one may just be starting"
    found = [each for each in Sweep(account, later).find() if each.kind == "schedule"]
    assert sorted(each.id for each in found) == [f"{ID}.stop", f"{ID}.terminate", "workers.gone"]
    for each in found:
        each.remove()
    assert names(account.api) == []
