"""The schedules that end what of a job runs after its deadline, with exactly the documents that the client sends."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ec2_fixtures import ACCOUNT, REGION
from scheduler_scene import SchedulerScene

from skylift.client.launch import cap
from skylift.client.launch.role import cap_role_name
from skylift.client.launch.scheduler import GROUP, trust_in_scheduler

DEADLINE = 3600.0
"""Seconds from the scene's beginning."""
JOB, OTHER = {"Key": "skylift:job", "Value": "x"}, {"Key": "Name", "Value": "a neighbour's"}
UNDELIVERED = {"Key": "skylift:undelivered", "Value": "yes"}


@pytest.fixture
def capped(scene: SchedulerScene) -> SchedulerScene:
    """With the group of schedules and the role, under its boundary."""
    document = json.dumps(cap.cap_policy(ACCOUNT))
    made = scene.ask("iam", "CreatePolicy", PolicyName=cap.BOUNDARY, Path="/skylift/", PolicyDocument=document)
    scene.ask(
        "iam",
        "CreateRole",
        RoleName=cap.ROLE,
        Path="/skylift/",
        AssumeRolePolicyDocument=json.dumps(trust_in_scheduler(ACCOUNT, "*", cap.GROUP)),
    )
    scene.ask("iam", "PutRolePermissionsBoundary", RoleName=cap.ROLE, PermissionsBoundary=made["Policy"]["Arn"])
    scene.ask("iam", "PutRolePolicy", RoleName=cap.ROLE, PolicyName="end", PolicyDocument=document)
    scene.call("CreateScheduleGroup", Name=cap.GROUP)
    return scene


def started(scene: SchedulerScene, *tags: dict[str, str], fleet: bool = False) -> str:
    """A running server with its cap."""
    specifications = [{"ResourceType": "instance", "Tags": list(tags)}]
    launched = scene.ask("ec2", "RunInstances", **scene.launch(), TagSpecifications=specifications)
    instance = str(launched["Instances"][0]["InstanceId"])
    scene.cloud.observe(instance, "running")
    deadline = scene.cloud.clock.now.timestamp() + DEADLINE
    for request in cap.server_requests(ACCOUNT, instance, deadline, fleet=fleet):
        scene.call("CreateSchedule", **request)
    return instance


def state_of(scene: SchedulerScene, instance: str) -> str:
    (found,) = [each for each in scene.instances if each["InstanceId"] == instance]
    return str(found["State"]["Name"])


@pytest.mark.parametrize("fleet", [False, True])
def test_a_server_is_terminated_some_minutes_after_its_deadline(capped: SchedulerScene, fleet: bool) -> None:
    instance = started(capped, JOB, fleet=fleet)
    capped.pass_time(seconds=DEADLINE + cap.MARGIN - 1)
    assert state_of(capped, instance) == "running", "the server's own end has its time"
    capped.pass_time(seconds=61)
    assert state_of(capped, instance) == "shutting-down"
    assert capped.call("ListSchedules", GroupName=cap.GROUP)["Schedules"] == []


def test_it_is_made_up_for_when_the_cloud_was_away_at_the_time(capped: SchedulerScene) -> None:
    instance = started(capped, JOB)
    capped.pass_time(hours=20)
    assert state_of(capped, instance) == "shutting-down"


def test_a_server_that_keeps_its_results_is_not_terminated(capped: SchedulerScene) -> None:
    """It is stopped where it is not yet: a program can set the tag, too."""
    instance = started(capped, JOB, UNDELIVERED)
    capped.pass_time(seconds=DEADLINE + cap.MARGIN + 60)
    assert state_of(capped, instance) == "stopping"
    assert capped.call("ListSchedules", GroupName=cap.GROUP)["Schedules"] == []


def test_what_is_no_jobs_is_left_alone(capped: SchedulerScene) -> None:
    instance = started(capped, OTHER)
    capped.pass_time(seconds=DEADLINE + cap.MARGIN + 60)
    assert state_of(capped, instance) == "running"


@pytest.mark.parametrize(
    ("name", "tag", "left"),
    [
        ("skylift-workers.x", JOB, []),
        ("skylift-workers.x.on-demand", JOB, []),
        ("skylift-workers.x", OTHER, ["skylift-workers.x"]),
        ("web", JOB, ["web"]),
    ],
)
def test_a_group_of_a_jobs_other_servers_is_deleted(
    capped: SchedulerScene, name: str, tag: dict[str, str], left: list[str]
) -> None:
    template = {
        "LaunchTemplateName": "of-workers",
        "LaunchTemplateData": {"ImageId": capped.cloud.image_id, "InstanceType": "t3.micro"},
    }
    made = capped.ask("ec2", "CreateLaunchTemplate", **template)["LaunchTemplate"]["LaunchTemplateId"]
    spec: dict[str, Any] = {"LaunchTemplate": {"LaunchTemplateId": made, "Version": "1"}}
    sizes = {"MinSize": 0, "MaxSize": 4, "DesiredCapacity": 0, "AvailabilityZones": [f"{REGION}a"]}
    tags = [{**tag, "ResourceId": name, "ResourceType": "auto-scaling-group", "PropagateAtLaunch": False}]
    capped.ask("autoscaling", "CreateAutoScalingGroup", AutoScalingGroupName=name, **spec, **sizes, Tags=tags)
    deadline = capped.cloud.clock.now.timestamp() + DEADLINE
    capped.call("CreateSchedule", **cap.group_request(ACCOUNT, name, deadline))
    capped.pass_time(seconds=DEADLINE + cap.MARGIN + 60)
    found = capped.ask("autoscaling", "DescribeAutoScalingGroups")["AutoScalingGroups"]
    assert [each["AutoScalingGroupName"] for each in found if each.get("Status") is None] == left


RUN, WORKER = {"Key": "skylift:job", "Value": "x/2026-11-25T12:00:00Z"}, {"Key": "skylift:worker", "Value": "yes"}
OTHER_RUN = {"Key": "skylift:job", "Value": "xy/2026-11-25T12:00:00Z"}


@pytest.mark.parametrize(
    ("tags", "state"),
    [
        ([RUN], "shutting-down"),
        ([RUN, WORKER], "shutting-down"),
        ([RUN, UNDELIVERED], "stopping"),
        ([OTHER_RUN], "running"),
        ([JOB], "running"),
    ],
)
def test_the_caps_of_a_schedules_runs_end_its_servers_and_no_others(
    scene: SchedulerScene, tags: list[dict[str, str]], state: str
) -> None:
    """Whoever asks for them: a program of a run that has become root may ask for others."""
    boundary, role = json.dumps(cap.cap_policy(ACCOUNT)), cap_role_name("x")
    made = scene.ask("iam", "CreatePolicy", PolicyName=cap.BOUNDARY, Path="/skylift/", PolicyDocument=boundary)
    trust = json.dumps(trust_in_scheduler(ACCOUNT, REGION, GROUP))
    scene.ask("iam", "CreateRole", RoleName=role, Path="/skylift/", AssumeRolePolicyDocument=trust)
    scene.ask("iam", "PutRolePermissionsBoundary", RoleName=role, PermissionsBoundary=made["Policy"]["Arn"])
    text = json.dumps(cap.run_cap_policy(ACCOUNT, "x"))
    scene.ask("iam", "PutRolePolicy", RoleName=role, PolicyName="run", PolicyDocument=text)
    scene.call("CreateScheduleGroup", Name=GROUP)
    specifications = [{"ResourceType": "instance", "Tags": tags}]
    launched = scene.ask("ec2", "RunInstances", **scene.launch(), TagSpecifications=specifications)
    instance = str(launched["Instances"][0]["InstanceId"])
    scene.cloud.observe(instance, "running")
    for number, each in enumerate(cap.caps_of_runs(ACCOUNT, "x")):
        target = {**each["Target"], "Input": json.dumps({"InstanceIds": [instance]})}
        due = {"ScheduleExpression": "at(2026-11-25T13:00:00)", "Target": target}
        scene.call("CreateSchedule", **{**each, **due, "Name": f"x.a{number}"})
    scene.pass_time(seconds=3600)
    assert state_of(scene, instance) == state


def test_the_role_is_only_for_this_group_of_schedules(capped: SchedulerScene) -> None:
    (request, _) = cap.server_requests(ACCOUNT, "i-12345678", capped.cloud.clock.now.timestamp() + DEADLINE)
    refused = capped.refusal("CreateSchedule", **{**request, "GroupName": "default"})
    assert "must allow AWS EventBridge Scheduler to assume the role" in str(refused)
