"""The group of a map's further servers: what they are started from."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from support.whole_run import Seen

from skylift.client.errors import NotPermitted, Refused
from skylift.client.job.job import MapPart, Program
from skylift.client.job.record import JobKeys, workers_name
from skylift.client.job.settings import Settings
from skylift.client.job.tags import job_tags
from skylift.client.launch import cap, role
from skylift.client.launch.job_group import job_groups, remove_job_groups
from skylift.client.launch.key import ensure_key
from skylift.client.launch.network import ensure_network
from skylift.client.launch.stages import Checked, Provisioned
from skylift.client.launch.undo import Undo
from skylift.client.launch.worker_group import delete_groups, make_workers
from skylift.client.plan.plan_job import Order, plan_job
from skylift.client.remote.account import Account, open_account
from skylift.client.remote.api import Api
from skylift.client.ship.upload import InputUpload, Shipment
from skylift.client.steps import Clock


@dataclass
class Case:
    account: Account
    checked: Checked
    provisioned: Provisioned
    seen: Seen
    groups: tuple[str, ...] = ()

    def make(self) -> None:
        asyncio.run(self._make())

    async def _make(self) -> None:
        async with Undo(self.account, self.checked.job.name, self.seen, lambda: False) as undo:
            made = await make_workers(self.checked, self.provisioned, undo, Clock(self.seen), self.seen)
            self.groups = made.network.groups
            undo.keep()

    def left(self) -> list[str]:
        """What is named after the map, besides what its coordinator's server has."""
        api, job = self.account.api, self.checked.job.name
        names = [each["GroupName"] for each in api.call("ec2", "describe_security_groups")["SecurityGroups"]]
        names += [each["RoleName"] for each in api.call("iam", "list_roles")["Roles"]]
        names += [each["InstanceProfileName"] for each in api.call("iam", "list_instance_profiles")["InstanceProfiles"]]
        names += [
            each["LaunchTemplateName"] for each in api.call("ec2", "describe_launch_templates")["LaunchTemplates"]
        ]
        groups = api.call("autoscaling", "describe_auto_scaling_groups")["AutoScalingGroups"]
        names += [each["AutoScalingGroupName"] for each in groups]
        names.remove(role.role_name(job))
        names.remove(role.role_name(job))
        return [*(each for each in names if each.startswith(f"skylift-{job}")), *cap.capped(api)]


@pytest.fixture
def case(settings: Settings, prepared: None, folder: Path, seen: Seen) -> Case:
    account = open_account(settings)
    api, bucket, number = account.api, account.bucket, account.number
    base, other = [each["ImageId"] for each in api.call("ec2", "describe_images", Owners=["amazon"])["Images"][:2]]
    (folder / "job.py").touch()
    job = plan_job(Order(Program("script", "job.py")), folder, os.environ)
    part: Any = MapPart(b"", lambda _api, _bucket: None, servers=2)
    shipment = Shipment(replace(job, map=part), 9_999_999_999, InputUpload((), (), ()), None, None)
    checked = Checked(account, shipment, other, None, "", (), base=base)
    role.create_role(api, job.name, number)
    found = role.equip_role(api, job.name, bucket, number)
    key = ensure_key(api, settings.key_dir, number)
    provisioned = Provisioned(ensure_network(api, bucket), key, found, "#!/bin/sh")
    return Case(account, checked, provisioned, seen)


def test_they_start_from_an_image_that_stays(settings: Settings, case: Case) -> None:
    """They may be started when the image with the environment, which the first server has, is gone."""
    case.make()
    (template,) = case.account.api.call("ec2", "describe_launch_templates")["LaunchTemplates"]
    assert settings.credentials is not None
    ec2 = boto3.client(
        "ec2", endpoint_url=settings.endpoint_url, region_name="us-east-1", aws_access_key_id="test",
        aws_secret_access_key="secret",
    )  # fmt: skip
    asked = {"LaunchTemplateId": template["LaunchTemplateId"], "Versions": ["$Latest"]}
    (version,) = ec2.describe_launch_template_versions(**asked)["LaunchTemplateVersions"]
    assert version["LaunchTemplateData"]["ImageId"] == case.checked.base


def test_the_cloud_deletes_them_after_the_jobs_deadline(case: Case) -> None:
    case.make()
    api, group = case.account.api, workers_name(case.checked.job.name)
    request = cap.group_request(case.account.number, group, case.checked.shipment.deadline)
    found = api.call("scheduler", "get_schedule", GroupName=cap.GROUP, Name=request["Name"])
    assert {name: found[name] for name in ("ScheduleExpression", "ActionAfterCompletion")} == {
        name: request[name] for name in ("ScheduleExpression", "ActionAfterCompletion")
    }
    assert {name: found["Target"][name] for name in request["Target"]} == request["Target"]
    delete_groups(api, case.checked.job.name)
    assert cap.capped(api) == {}


def test_other_servers_are_in_all_of_the_users_groups_and_in_the_maps_own(case: Case) -> None:
    """AWS allows up to 16 to who asks for it."""
    api, groups = case.account.api, tuple(f"sg-{number:017}" for number in range(15))
    network = replace(case.provisioned.network, groups=groups)
    case.provisioned = replace(case.provisioned, network=network)
    case.make()
    name = workers_name(case.checked.job.name)
    asked = {"LaunchTemplateName": name, "Versions": ["$Latest"]}
    (version,) = api.call("ec2", "describe_launch_template_versions", **asked)["LaunchTemplateVersions"]
    *users, own = version["LaunchTemplateData"]["NetworkInterfaces"][0]["Groups"]
    assert tuple(users) == groups
    assert own in job_groups(api, case.checked.job.name, "map")


def test_no_other_jobs_template_is_replaced(case: Case) -> None:
    """Not even that of a job whose name is like the map's, nor the one of the map's own first server."""
    api, job = case.account.api, case.checked.job.name
    data = {"ImageId": case.checked.base}
    for name, owner in ((f"skylift-{job}-workers", f"{job}-workers"), (f"skylift-{job}", job)):
        tags = [{"ResourceType": "launch-template", "Tags": job_tags(owner)}]
        api.call(
            "ec2", "create_launch_template", LaunchTemplateName=name, LaunchTemplateData=data, TagSpecifications=tags
        )
    for _ in range(2):
        # The second time, its own are left from the first one.
        case.make()
        remove_job_groups(api, job)
        role.remove_role(api, role.worker_of(job))
    left = [each["LaunchTemplateName"] for each in api.call("ec2", "describe_launch_templates")["LaunchTemplates"]]
    assert sorted(left) == sorted([f"skylift-{job}", f"skylift-{job}-workers", workers_name(job)])


@pytest.mark.parametrize(
    "words",
    [
        "You must use a valid fully-formed launch template. The security group 'sg-1' does not exist in VPC 'vpc-1'",
        "The launch template lt-1 does not exist",
    ],
)
def test_new_parts_that_auto_scaling_does_not_know_yet_are_waited_for(
    case: Case, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    asked, late = Api.call, [words] * 2

    def answer(api: Api, service: str, operation: str, **params: Any) -> Any:
        if operation == "create_auto_scaling_group" and late:
            raise Refused("ValidationError", late.pop(), operation)
        return asked(api, service, operation, **params)

    monkeypatch.setattr(Api, "call", answer)
    case.make()
    (group,) = case.account.api.call("autoscaling", "describe_auto_scaling_groups")["AutoScalingGroups"]
    assert (group["AutoScalingGroupName"], late) == (workers_name(case.checked.job.name), [])


REFUSED = [
    "authorize_security_group_ingress",
    "put_role_policy",
    "create_launch_template",
    "create_auto_scaling_group",
    "suspend_processes",
]


@pytest.mark.parametrize("refused", REFUSED)
def test_what_was_made_before_a_refusal_is_undone(case: Case, monkeypatch: pytest.MonkeyPatch, refused: str) -> None:
    asked = Api.call

    def answer(api: Api, service: str, operation: str, **params: Any) -> Any:
        if operation == refused:
            raise NotPermitted("AccessDenied", "no", operation)
        return asked(api, service, operation, **params)

    monkeypatch.setattr(Api, "call", answer)
    with pytest.raises(NotPermitted):
        case.make()
    assert case.left() == []
    assert case.seen.notes == []


@pytest.mark.parametrize("refused", ["create_security_group", *REFUSED])
def test_a_map_that_nobody_wanted_several_servers_for_goes_on_with_one(
    case: Case, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    asked, job = Api.call, case.checked.job
    assert job.map is not None
    chosen = replace(job, map=replace(job.map, may_do_with_one=True))
    case.checked = replace(case.checked, shipment=replace(case.checked.shipment, job=chosen))

    def answer(api: Api, service: str, operation: str, **params: Any) -> Any:
        if operation == refused:
            raise NotPermitted("AccessDenied", "no", operation)
        return asked(api, service, operation, **params)

    monkeypatch.setattr(Api, "call", answer)
    case.make()
    assert (case.left(), case.groups) == ([], case.provisioned.network.groups)
    (note,) = case.seen.notes
    assert note.startswith("The map has one server, as a group of others cannot be made. ")
    # Its own server waits for them.
    assert case.account.api.has(case.account.bucket, JobKeys(job.name).dask)
