"""Schedules and their groups, as AWS's API answers and refuses them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ec2_fixtures import ACCOUNT, REGION
from scheduler_scene import GROUP, RUN, SchedulerScene, trust
from write_watch import MOST, Watch

from skylift.cloud.domain.schedule import Schedule, ScheduleToken
from skylift.cloud.services.scheduler.target import TARGETS
from skylift.cloud.services.table import TABLE

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


def test_a_schedule_is_answered_as_it_was_made(scene: SchedulerScene) -> None:
    made = scene.call("CreateSchedule", **scene.request(ScheduleExpressionTimezone="Europe/Berlin", Description="d"))
    assert made == {"ScheduleArn": f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/default/nightly"}
    found = scene.call("GetSchedule", Name="nightly")
    assert found == {
        "Arn": made["ScheduleArn"],
        "GroupName": "default",
        "Name": "nightly",
        "ScheduleExpression": "cron(0 2 * * ? *)",
        "ScheduleExpressionTimezone": "Europe/Berlin",
        "State": "ENABLED",
        "ActionAfterCompletion": "NONE",
        "CreationDate": NOW,
        "LastModificationDate": NOW,
        "Description": "d",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": {**scene.target(), "RetryPolicy": {"MaximumEventAgeInSeconds": 86400, "MaximumRetryAttempts": 185}},
    }


def test_an_update_leaves_nothing_of_what_was_before(scene: SchedulerScene) -> None:
    window = {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 5}
    scene.create(Description="d", EndDate=NOW + timedelta(days=9), FlexibleTimeWindow=window)
    scene.cloud.clock.forward(hours=1)
    scene.call("UpdateSchedule", **scene.request("rate(1 hour)", State="DISABLED"))
    found = scene.call("GetSchedule", Name="nightly")
    assert (found["State"], found["CreationDate"]) == ("DISABLED", NOW)
    assert found["LastModificationDate"] == NOW + timedelta(hours=1)
    assert found["FlexibleTimeWindow"] == {"Mode": "OFF"}
    assert not found.keys() & {"Description", "EndDate"}


def test_names_are_of_their_group(scene: SchedulerScene) -> None:
    scene.call("CreateScheduleGroup", Name="other")
    scene.create()
    scene.create(GroupName="other")
    scene.create(Name="weekly", State="DISABLED")
    assert scene.refusal("CreateSchedule", **scene.request()).code == "ConflictException"

    def listed(**params: Any) -> list[tuple[str, str]]:
        return [(one["GroupName"], one["Name"]) for one in scene.call("ListSchedules", **params)["Schedules"]]

    assert listed() == [("default", "nightly"), ("default", "weekly"), ("other", "nightly")]
    assert listed(GroupName="other") == [("other", "nightly")]
    assert listed(NamePrefix="w") == listed(State="DISABLED") == [("default", "weekly")]
    first = scene.call("ListSchedules", MaxResults=2)
    rest = scene.call("ListSchedules", MaxResults=2, NextToken=first["NextToken"])
    assert [one["GroupName"] for one in rest["Schedules"]] == ["other"]
    assert "NextToken" not in rest
    assert scene.refusal("ListSchedules", NextToken="x").code == "ValidationException"
    assert scene.refusal("ListSchedules", GroupName="none").code == "ResourceNotFoundException"

    scene.call("DeleteScheduleGroup", Name="other")
    assert listed() == [("default", "nightly"), ("default", "weekly")]
    scene.call("DeleteSchedule", Name="nightly")
    for name in ("GetSchedule", "DeleteSchedule"):
        error = scene.refusal(name, Name="nightly")
        assert (error.code, error.message) == ("ResourceNotFoundException", "Schedule nightly does not exist.")
    assert scene.refusal("UpdateSchedule", **scene.request()).code == "ResourceNotFoundException"


def test_a_request_that_comes_twice_is_carried_out_once(scene: SchedulerScene) -> None:
    request = scene.request(ClientToken="token")
    assert scene.call("CreateSchedule", **request) == scene.call("CreateSchedule", **request)
    other = scene.refusal("CreateSchedule", **{**request, "Description": "other"})
    assert other.code == "ConflictException"
    for _ in range(2):
        scene.call("DeleteSchedule", Name="nightly", ClientToken="gone")
    scene.call("CreateSchedule", **request)
    assert scene.call("GetSchedule", Name="nightly")["Name"] == "nightly", "what is gone is made anew"
    scene.cloud.clock.forward(days=2)
    scene.call("CreateScheduleGroup", Name="g", ClientToken="other")
    with scene.database.read() as tx:
        assert [one.token for one in tx.find(ScheduleToken)] == ["other"], "tokens are forgotten after a day"


def test_groups_have_tags(scene: SchedulerScene) -> None:
    arn = scene.call("CreateScheduleGroup", Name="g", Tags=[{"Key": "a", "Value": "1"}])["ScheduleGroupArn"]
    scene.call("TagResource", ResourceArn=arn, Tags=[{"Key": "b", "Value": "2"}, {"Key": "a", "Value": "3"}])
    scene.call("UntagResource", ResourceArn=arn, TagKeys=["b", "none"])
    assert scene.call("ListTagsForResource", ResourceArn=arn) == {"Tags": [{"Key": "a", "Value": "3"}]}
    assert [one["Name"] for one in scene.call("ListScheduleGroups")["ScheduleGroups"]] == ["default", "g"]
    assert scene.call("GetScheduleGroup", Name="default")["Arn"] == GROUP
    assert scene.refusal("CreateScheduleGroup", Name="g").code == "ConflictException"
    assert scene.refusal("DeleteScheduleGroup", Name="default").code == "ValidationException"
    assert scene.refusal("DeleteScheduleGroup", Name="none").code == "ResourceNotFoundException"
    assert scene.refusal("ListTagsForResource", ResourceArn=f"{arn}-none").code == "ResourceNotFoundException"
    reserved = scene.refusal("TagResource", ResourceArn=arn, Tags=[{"Key": "aws:x", "Value": "x"}])
    assert reserved.code == "ValidationException"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"ScheduleExpression": "cron(0 2 * * *)"}, "Invalid Schedule Expression cron(0 2 * * *). Cron has six fields"),
        ({"ScheduleExpression": "at(2026-11-25T11:59:59)"}, "no time at which it would be due"),
        ({"ScheduleExpressionTimezone": "Mars/Olympus"}, "not a time zone"),
        ({"StartDate": NOW - timedelta(minutes=6)}, "cannot be earlier than 5 minutes ago"),
        ({"EndDate": NOW}, "has to be in the future"),
        ({"StartDate": NOW + timedelta(days=2), "EndDate": NOW + timedelta(days=1)}, "must come before"),
        ({"EndDate": NOW + timedelta(hours=1)}, "no time at which it would be due"),
        ({"FlexibleTimeWindow": {"Mode": "FLEXIBLE"}}, "needs MaximumWindowInMinutes"),
        ({"FlexibleTimeWindow": {"Mode": "OFF", "MaximumWindowInMinutes": 5}}, "cannot be given"),
        ({"GroupName": "none"}, "Schedule group none does not exist"),
    ],
)
def test_what_cannot_be_is_refused(scene: SchedulerScene, more: dict[str, Any], words: str) -> None:
    assert words in scene.refusal("CreateSchedule", **scene.request(**more)).message
    assert scene.call("ListSchedules")["Schedules"] == []


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"Arn": "arn:aws:lambda:us-east-1:123456789012:function:f"}, "a target that this cloud does not have"),
        ({"Arn": "arn:aws:scheduler:::aws-sdk:ec2:describeInstances"}, "a target that this cloud does not have"),
        ({"Arn": "arn:aws:scheduler:::aws-sdk:iam:createUser"}, "a target that this cloud does not have"),
        ({"Input": "{"}, "has to be a JSON object"),
        ({"Input": "[]"}, "has to be a JSON object"),
        ({"Input": '{"MinCount": NaN}'}, "has to be a JSON object"),
        ({"Input": "[" * 100_000}, "has to be a JSON object"),
        ({"RoleArn": f"arn:aws:iam::{ACCOUNT}:role/none"}, "must allow AWS EventBridge Scheduler to assume the role"),
    ],
)
def test_a_target_that_cannot_be_invoked_is_refused(scene: SchedulerScene, more: dict[str, Any], words: str) -> None:
    error = scene.refusal("CreateSchedule", **scene.request(Target=scene.target(**more)))
    assert error.code == "ValidationException"
    assert words in error.message


def test_the_role_trusts_the_scheduler_for_this_group(scene: SchedulerScene) -> None:
    def with_role(role: str) -> dict[str, Any]:
        return scene.request(Target=scene.target(RoleArn=role), Name=role.rpartition("/")[2])

    other = {"Condition": {"StringEquals": {"aws:SourceAccount": "999999999999"}}}
    for name, trusted in (("ec2", trust("ec2.amazonaws.com")), ("foreign", trust(**other))):
        error = scene.refusal("CreateSchedule", **with_role(scene.make_role(name, trusted=trusted)))
        assert "must allow AWS EventBridge Scheduler" in error.message
    own = {"Condition": {"StringEquals": {"aws:SourceAccount": ACCOUNT, "aws:SourceArn": GROUP}}}
    scene.call("CreateSchedule", **with_role(scene.make_role("own", trusted=trust(**own))))


def test_who_makes_a_schedule_passes_its_role(scene: SchedulerScene) -> None:
    with scene.database.read() as tx:
        checks = TABLE["scheduler", "CreateSchedule"].checks(tx, scene.cloud.caller, scene.request())
        assert [(check.action, check.resource, check.context) for check in checks] == [
            ("scheduler:CreateSchedule", f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/default/nightly", None),
            ("iam:PassRole", scene.role, {"iam:PassedToService": "scheduler.amazonaws.com"}),
        ]


@pytest.mark.parametrize(
    "more",
    [{"DeadLetterConfig": {"Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"}}, {"SqsParameters": {"MessageGroupId": "g"}}],
)
def test_what_would_be_ignored_is_refused_by_name(scene: SchedulerScene, more: dict[str, Any]) -> None:
    error = scene.refusal("CreateSchedule", **scene.request(Target=scene.target(**more)))
    assert f"not taken: Target.{next(iter(more))}" in error.message


def test_each_target_is_an_operation_of_this_cloud() -> None:
    assert all(TABLE[target].writes for target in TARGETS.values())
    assert all(name.partition(":")[2] == each[0].lower() + each[1:] for name, (_, each) in TARGETS.items())
    assert json.dumps(RUN.rpartition("aws-sdk:")[2]) in map(json.dumps, TARGETS)


def test_the_schedules_of_a_group_go_some_at_a_time(scene: SchedulerScene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.call("CreateScheduleGroup", Name="large")
    scene.create(GroupName="large")
    with scene.database.write() as tx:
        (first,) = tx.find(Schedule, group="large")
        for number in range(11_000):
            tx.add(replace(first, name=f"{number}", arn=f"{first.arn}-{number}"))
    watch = Watch(scene.database, monkeypatch)
    for _ in range(2):
        scene.call("DeleteScheduleGroup", Name="large", ClientToken="t")
    assert watch.transactions == 2, "it is answered at once"
    assert scene.call("GetScheduleGroup", Name="large")["State"] == "DELETING"
    states = {one["Name"]: one["State"] for one in scene.call("ListScheduleGroups")["ScheduleGroups"]}
    assert states == {"default": "ACTIVE", "large": "DELETING"}
    assert scene.refusal("CreateSchedule", **scene.request(Name="new", GroupName="large")).code == "ConflictException"
    assert scene.refusal("CreateScheduleGroup", Name="large").code == "ConflictException"
    scene.loop.step()
    assert watch.most.within(MOST), watch.most
    assert scene.call("ListSchedules")["Schedules"] == []
    assert scene.refusal("GetScheduleGroup", Name="large").code == "ResourceNotFoundException"
    scene.call("CreateScheduleGroup", Name="large")
    scene.create(GroupName="large")
    scene.call("DeleteScheduleGroup", Name="large", ClientToken="t")
    assert [one["GroupName"] for one in scene.call("ListSchedules")["Schedules"]] == ["large"], "a repeated request"
