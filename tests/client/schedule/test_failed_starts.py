"""A schedule whose runs cannot be started says so. CloudTrail's events are in AWS's form."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from moto.cloudtrail.responses import CloudTrailResponse
from moto.core.exceptions import JsonRESTError
from support.agent_bench import Machine, Metadata
from support.whole_run import Seen
from test_runs_of_schedules import begin, make

from skylift.cli.main import perform
from skylift.client.job.settings import Settings
from skylift.client.remote.account import Account, open_account
from skylift.client.remote.api import Api
from skylift.client.schedule.roles import remove_roles
from skylift.client.schedule.schedules import Schedules
from skylift.client.schedule.template import find_template

ROLE = "arn:aws:iam::123456789012:role/skylift/skylift-scheduler.nightly"


class Trail:
    """CloudTrail's event history. `asked` are the attributes that were looked up."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.asked: list[str] = []

    def run_instances(self, token: str, code: str, message: str, role: str = ROLE) -> None:
        issuer = {"type": "Role", "principalId": "AROA", "arn": role, "userName": role.rpartition("/")[2]}
        own = {"type": "AssumedRole", "sessionContext": {"sessionIssuer": issuer, "attributes": {}}}
        asked = {"clientToken": token, "instancesSet": {"items": [{"minCount": 1, "maxCount": 1}]}}
        self._add("RunInstances", own, asked, code, message)

    def assume_role(self, when: str, code: str, message: str) -> None:
        own = {"type": "AWSService", "invokedBy": "scheduler.amazonaws.com"}
        self._add("AssumeRole", own, {"roleArn": ROLE, "roleSessionName": "x"}, code, message, when)

    def _add(
        self, name: str, own: dict[str, Any], asked: object, code: str, message: str, when: str = "2026-11-29T01:00:07Z"
    ) -> None:
        record = {"userIdentity": own, "eventName": name, "requestParameters": asked, "eventTime": when}
        if code:
            record |= {"errorCode": code, "errorMessage": message}
        at = datetime.fromisoformat(when).timestamp()
        self.events.insert(0, {"EventName": name, "EventTime": at, "CloudTrailEvent": json.dumps(record)})

    def lookup(self, asked: dict[str, Any]) -> str:
        (attribute,) = asked["LookupAttributes"]
        self.asked.append(f"{attribute['AttributeKey']}={attribute['AttributeValue']}")
        name = "AssumeRole" if attribute["AttributeKey"] == "ResourceName" else "RunInstances"
        return json.dumps({"Events": [each for each in self.events if each["EventName"] == name]})


@pytest.fixture
def trail(monkeypatch: pytest.MonkeyPatch) -> Trail:
    found = Trail()
    monkeypatch.setattr(CloudTrailResponse, "lookup_events", lambda self: found.lookup(json.loads(self.body)))
    return found


@pytest.fixture
def account(settings: Settings, prepared: None, api: Api, seen: Seen, folder: Path) -> Account:
    make(settings, folder, seen)
    return open_account(settings, api)


def shown(settings: Settings, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], *words: str) -> Any:
    monkeypatch.setattr("skylift.place.local.local_settings", lambda *_: settings)
    monkeypatch.setattr("skylift.place.settings.settings_of_running", lambda *_: settings)
    capfd.readouterr()
    assert perform(["schedule", *words]) == 0
    return capfd.readouterr()


def test_a_start_that_was_refused_is_told_by_ls_and_history(
    account: Account,
    settings: Settings,
    trail: Trail,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    template = find_template(account.api, "nightly")
    trail.run_instances(f"{template}-2026-11-28T01:00:00Z", "InsufficientInstanceCapacity", "There is no room.")
    why = "The subnet ID 'subnet-1' does not exist\x1b[2J"
    trail.run_instances(f"{template}-2026-11-29T01:00:00Z", "InvalidSubnetID.NotFound", why)
    trail.run_instances(f"{template}-2026-11-30T01:00:00Z", "", "")
    trail.run_instances("mine", "InvalidSubnetID.NotFound", why)
    trail.run_instances("x-2026-11-30T01:00:00Z", "Blocked", "of another role", ROLE.replace("nightly", "other"))
    (listed,) = json.loads(shown(settings, monkeypatch, capfd, "ls", "--json").out)
    assert (listed["state"], listed["failed"]) == ("failing", "2026-11-29T01:00:00Z")
    assert listed["failure"] == "The subnet ID 'subnet-1' does not exist\\x1b[2J (InvalidSubnetID.NotFound)"
    assert trail.asked == ["EventName=RunInstances"], "one question for all schedules"
    said = shown(settings, monkeypatch, capfd, "ls")
    assert "failing" in said.out
    assert "nightly: the run due at 2026-11-29T01:00:00Z could not be started: The subnet ID" in said.err
    runs = json.loads(shown(settings, monkeypatch, capfd, "history", "nightly", "--json").out)
    assert [(each["name"], each["state"], each["created"]) for each in runs] == [
        ("nightly-20261129-0100", "not-started", "2026-11-29T01:00:00Z"),
        ("nightly-20261128-0100", "not-started", "2026-11-28T01:00:00Z"),
    ]
    assert runs[1]["reason"] == "There is no room. (InsufficientInstanceCapacity)"
    said = shown(settings, monkeypatch, capfd, "history", "nightly", "-n", "1")
    assert [line.split()[0] for line in said.out.splitlines()[1:]] == ["nightly-20261129-0100"]
    assert "nightly-20261129-0100: The subnet ID" in said.err


def test_a_start_that_a_later_attempt_made_is_a_job_and_no_failure(
    account: Account, settings: Settings, trail: Trail, machine: Machine, metadata: Metadata
) -> None:
    template = find_template(account.api, "nightly")
    trail.run_instances(f"{template}-2026-11-27T01:00:00Z", "Blocked", "No.")
    trail.run_instances(f"{template}-2026-11-28T01:00:00Z", "InsufficientInstanceCapacity", "There is no room.")
    begin(account, machine, metadata, "nightly", "nightly/2026-11-28T01:00:00Z")
    machine.wait()
    schedules = Schedules(settings, account)
    (listed,) = schedules.listed()
    assert (listed.state, listed.failed, listed.failure) == ("active", None, None)
    states = [(each.name, each.state) for each in schedules.history("nightly")]
    assert states == [("nightly-20261128-0100", "succeeded"), ("nightly-20261127-0100", "not-started")]
    assert [each.name for each in schedules.history("nightly", 1)] == ["nightly-20261128-0100"]


@pytest.mark.parametrize("told", [True, False])
def test_a_role_that_is_gone_is_told_also_where_cloudtrail_has_nothing(
    account: Account, settings: Settings, trail: Trail, told: bool
) -> None:
    remove_roles(account.api, "nightly")
    if told:
        trail.assume_role("2026-11-29T01:00:07Z", "AccessDenied", "An unknown error occurred")
        trail.assume_role("2026-11-29T01:00:37Z", "AccessDenied", "An unknown error occurred")
    schedules = Schedules(settings, account)
    (listed,) = schedules.listed()
    assert listed.state == "failing"
    assert listed.failed == ("2026-11-29T01:00:00Z" if told else None)
    assert listed.failure is not None and "The role skylift-scheduler.nightly is gone" in listed.failure
    assert trail.asked == ["EventName=RunInstances", f"ResourceName={ROLE}"]
    assert [each.name for each in schedules.history("nightly")] == (["nightly-20261129-0100"] if told else [])
    schedules.pause("nightly")
    assert schedules.listed()[0].state == "paused"


def test_who_may_not_ask_cloudtrail_is_told_so(
    account: Account, settings: Settings, trail: Trail, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(_: object) -> str:
        raise JsonRESTError("AccessDeniedException", "User: me is not authorized to perform: cloudtrail:LookupEvents")

    monkeypatch.setattr(CloudTrailResponse, "lookup_events", denied)
    notes: list[str] = []
    account = replace(account, settings=replace(settings, note=notes.append))
    (listed,) = Schedules(settings, account).listed()
    assert (listed.state, listed.failure) == ("active", None)
    assert len(notes) == 1
    assert notes[0].startswith("Whether starts of runs have failed is not known")
    assert "cloudtrail:LookupEvents" in notes[0]
