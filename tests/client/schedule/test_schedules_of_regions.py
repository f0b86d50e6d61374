"""Roles are an account's and the rest of a schedule a region's: what is done in one region leaves the others' alone."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.whole_run import Seen, order

from skylift.client.errors import Refused, UsageError
from skylift.client.job.record import SCHEDULES, STARTING, JobKeys
from skylift.client.job.settings import Settings
from skylift.client.launch.bucket import ensure_bucket
from skylift.client.remote.account import Account, open_account
from skylift.client.remote.api import Api
from skylift.client.schedule.making import MakeSchedule, ScheduleOrder
from skylift.client.schedule.recurrence import Recurrence
from skylift.client.schedule.schedules import Schedules
from skylift.client.steps import Clock

ROLES = ["skylift-cap.nightly", "skylift-schedule.nightly", "skylift-scheduler.nightly"]


@pytest.fixture
def account(settings: Settings, prepared: None, api: Api) -> Account:
    return open_account(settings, api)


@pytest.fixture
def elsewhere(settings: Settings) -> Settings:
    return replace(settings, region="eu-west-1")


def make(settings: Settings, folder: Path, seen: Seen) -> None:
    what = ScheduleOrder(order(folder, "pass", name="nightly"), Recurrence("rate(1 day)"), "allow", "run job.py")
    assert asyncio.run(MakeSchedule(what, settings, seen, Clock(seen)).run())


def roles(account: Account) -> dict[str, Any]:
    """All roles and instance profiles for schedules, with what they may do."""
    api = account.api
    found = [each["RoleName"] for each in api.pages("iam", "list_roles", "Roles", PathPrefix="/skylift/")]
    may = {name: api.call("iam", "list_role_policies", RoleName=name)["PolicyNames"] for name in found}
    profiles = api.pages("iam", "list_instance_profiles", "InstanceProfiles", PathPrefix="/skylift/")
    return {**may, "profiles": [(each["Arn"], [role["RoleName"] for role in each["Roles"]]) for each in profiles]}


def test_a_name_of_another_region_is_refused_and_that_schedule_stays_whole(
    settings: Settings, account: Account, elsewhere: Settings, seen: Seen, folder: Path
) -> None:
    make(settings, folder, seen)
    before = roles(account)
    assert {name for name in before if before[name]} == {*ROLES, "profiles"}
    with pytest.raises(UsageError, match="a schedule called nightly already, in us-east-1") as caught:
        make(elsewhere, folder, seen)
    assert "AWS_DEFAULT_REGION=us-east-1 skylift schedule rm nightly" in caught.value.advice
    assert roles(account) == before
    assert Schedules(elsewhere).listed() == []
    assert seen.notes == []


def test_what_a_killed_client_left_in_one_region_is_removed_without_the_roles_of_another(
    settings: Settings, account: Account, elsewhere: Settings, seen: Seen, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(settings, folder, seen)
    before = roles(account)
    record = account.api.get(account.bucket, JobKeys("nightly", SCHEDULES).record)
    other = open_account(elsewhere)
    ensure_bucket(other.api, other.bucket)
    schedules, later = Schedules(elsewhere, other), time.time() + 2 * STARTING
    for remove in (lambda: schedules.remove("nightly"), lambda: next(schedules.leftovers()).remove()):
        # It was killed between its claim and its roles.
        other.api.put(other.bucket, JobKeys("nightly", SCHEDULES).record, record or b"")
        with monkeypatch.context() as patch:
            patch.setattr("skylift.client.schedule.schedules.time.time", lambda: later)
            remove()
        assert schedules.listed() == []
        assert roles(account) == before
    Schedules(settings, account).remove("nightly")
    assert roles(account) == {"profiles": []}
    make(elsewhere, folder, seen)
    assert set(roles(account)) == {*ROLES, "profiles"}


@pytest.mark.parametrize("operation", ["create_role", "create_instance_profile"])
def test_an_answer_that_was_lost_keeps_nobody_from_the_name(
    settings: Settings, account: Account, seen: Seen, folder: Path, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """boto3 repeats the call, and IAM says that there is one already: our own."""
    whole, lost = Api.call, [1]

    def call(self: Api, service: str, name: str, **params: Any) -> Any:
        if name == operation and lost:
            lost.pop()
            whole(self, service, name, **params)
        if name == "remove_role_from_instance_profile":
            found = whole(self, "iam", "get_instance_profile", InstanceProfileName=params["InstanceProfileName"])
            if not found["InstanceProfile"]["Roles"]:
                # As IAM says. moto fails.
                raise Refused("NoSuchEntity", "The role cannot be found.", name)
        return whole(self, service, name, **params)

    monkeypatch.setattr(Api, "call", call)
    make(settings, folder, seen)
    assert not lost
    assert set(roles(account)) == {*ROLES, "profiles"}
    Schedules(settings, account).remove("nightly")
    assert roles(account) == {"profiles": []}


@pytest.mark.parametrize(
    "tags",
    [
        [],
        [{"Key": "skylift:region", "Value": "us-east-1"}],
        [{"Key": "skylift:schedule", "Value": "nightly"}, {"Key": "skylift:region", "Value": "us-east-1 rm -r /"}],
        [{"Key": "skylift:schedule", "Value": "other"}, {"Key": "skylift:region", "Value": "us-east-1"}],
    ],
)
@pytest.mark.parametrize("name", ROLES)
def test_a_role_that_is_no_schedules_stays(
    settings: Settings, account: Account, seen: Seen, folder: Path, name: str, tags: list[dict[str, str]]
) -> None:
    account.api.call("iam", "create_role", RoleName=name, Path="/skylift/", AssumeRolePolicyDocument="{}", Tags=tags)
    with pytest.raises(UsageError, match=f"a role called {name} already") as caught:
        make(settings, folder, seen)
    assert "rm -r" not in str(caught.value)
    assert roles(account) == {name: [], "profiles": []}


def test_a_failure_after_the_first_role_takes_back_what_was_made_and_no_more(
    settings: Settings, account: Account, seen: Seen, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Api.call

    def call(self: Api, service: str, name: str, **params: Any) -> Any:
        if name == "put_role_policy" and "scheduler" in params["RoleName"]:
            raise Refused("Broken", "no", name)
        return whole(self, service, name, **params)

    monkeypatch.setattr(Api, "call", call)
    with pytest.raises(Refused, match="Broken"):
        make(settings, folder, seen)
    assert roles(account) == {"profiles": []}
