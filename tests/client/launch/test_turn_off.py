"""The end of a job's role: whose it is decides, and the client that has just made it need not ask."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from support.whole_run import Seen

from skylift.client.job.record import JobKeys
from skylift.client.job.server import Server
from skylift.client.job.settings import Settings
from skylift.client.job.tags import job_tags
from skylift.client.launch import role
from skylift.client.launch.bucket import ensure_bucket
from skylift.client.launch.server import live_servers
from skylift.client.launch.turn_off import TurnOff
from skylift.client.remote.account import Account, open_account
from skylift.client.remote.api import Api

ASKING = {"get_role", "get_instance_profile"}


class Asked(Api):
    """The real API; `asked` are the operations that were called, by name."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.asked: list[str] = []

    def call(self, service: str, operation: str, **params: Any) -> Any:
        self.asked.append(operation)
        return super().call(service, operation, **params)


@pytest.fixture
def api(settings: Settings) -> Asked:
    return Asked(settings)


@pytest.fixture
def account(settings: Settings, api: Asked) -> Account:
    found = open_account(settings, api)
    ensure_bucket(api, found.bucket)
    return found


def start(account: Account, job: str, owner: str = "") -> Server:
    """A server of `job`, whose role was made for `owner`."""
    api, made_for = account.api, owner or job
    role.create_role(api, made_for, account.number)
    made = role.equip_role(api, made_for, account.bucket, account.number)
    image = api.call("ec2", "describe_images", Owners=["amazon"])["Images"][0]["ImageId"]
    tags = [{"ResourceType": "instance", "Tags": job_tags(job)}]
    given = {"MinCount": 1, "MaxCount": 1, "IamInstanceProfile": {"Arn": made.profile_arn}, "TagSpecifications": tags}
    api.call("ec2", "run_instances", ImageId=image, InstanceType="t3.small", **given)
    record = {"created": time.time(), "deadline": time.time() + 7200}
    api.put(account.bucket, JobKeys(job).record, json.dumps(record).encode())
    (server,) = live_servers(api, job)
    return server


def roles_and_profiles(api: Api) -> list[str]:
    roles = [each["RoleName"] for each in api.pages("iam", "list_roles", "Roles", PathPrefix=role.PATH)]
    profiles = api.pages("iam", "list_instance_profiles", "InstanceProfiles", PathPrefix=role.PATH)
    return [*roles, *(each["InstanceProfileName"] for each in profiles)]


def turn_off(account: Account, job: str, server: Server, seen: Seen, *, launched_here: bool) -> None:
    ending = TurnOff(account, job, server, seen, spot=False, launched_here=launched_here)
    asyncio.run(ending.begin())
    asyncio.run(ending.finish())


@pytest.mark.parametrize("launched_here", [True, False])
def test_the_client_that_made_a_role_does_not_ask_whose_it_is(
    account: Account, api: Asked, seen: Seen, launched_here: bool
) -> None:
    server = start(account, "mine")
    api.asked.clear()
    turn_off(account, "mine", server, seen, launched_here=launched_here)
    assert roles_and_profiles(api) == []
    assert live_servers(api, "mine") == []
    assert bool(ASKING & set(api.asked)) is not launched_here
    assert seen.notes == []


def test_the_role_of_another_job_stays(account: Account, api: Asked, seen: Seen) -> None:
    """The server was kept after a job whose tags its role still has."""
    server = start(account, "second", owner="first")
    assert server.role == role.role_name("first")
    turn_off(account, "second", server, seen, launched_here=True)
    assert roles_and_profiles(api) == [role.role_name("first")] * 2
