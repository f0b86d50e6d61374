"""What CloudTrail tells of the calls that schedules made and that were refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ec2_fixtures import ACCOUNT, REGION
from scheduler_scene import SchedulerScene

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.schedule import RefusedCall
from skylift.cloud.store.schedule import forget_refused

TOKEN = "lt-1-<aws.scheduler.scheduled-time>"


def events(scene: SchedulerScene, key: str = "", value: str = "", **more: Any) -> list[dict[str, Any]]:
    asked = [{"AttributeKey": key, "AttributeValue": value}] if key else []
    found: list[dict[str, Any]] = scene.ask("cloudtrail", "LookupEvents", LookupAttributes=asked, **more)["Events"]
    return found


def test_a_refused_call_is_told_with_its_role_its_token_and_why(scene: SchedulerScene) -> None:
    launch = scene.launch(ClientToken=TOKEN, SubnetId="subnet-00000000000000000")
    scene.create(Target=scene.target(Input=json.dumps(launch)))
    scene.pass_time(hours=14, seconds=1)
    (event,) = events(scene, "EventName", "RunInstances")
    assert (event["EventName"], event["EventSource"]) == ("RunInstances", "ec2.amazonaws.com")
    assert event["EventTime"] == scene.cloud.clock.now
    record = json.loads(event["CloudTrailEvent"])
    assert record["errorCode"] == "InvalidSubnetID.NotFound"
    assert "subnet-00000000000000000" in record["errorMessage"]
    assert record["userIdentity"]["sessionContext"]["sessionIssuer"]["arn"] == scene.role
    assert record["requestParameters"] == {"clientToken": "lt-1-2026-11-26T02:00:00Z"}
    assert (record["recipientAccountId"], record["awsRegion"]) == (ACCOUNT, REGION)
    assert events(scene, "ResourceName", scene.role) == [event]
    assert events(scene, "EventName", "AssumeRole") == []


@pytest.mark.parametrize("trust", ["gone", "changed"])
def test_a_role_that_may_not_be_assumed_is_what_was_refused(scene: SchedulerScene, trust: str) -> None:
    scene.create()
    if trust == "gone":
        scene.ask("iam", "DeleteRolePolicy", RoleName="runs", PolicyName="own")
        scene.ask("iam", "DeleteRole", RoleName="runs")
    else:
        other = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
        text = json.dumps({"Version": "2012-10-17", "Statement": [other]})
        scene.ask("iam", "UpdateAssumeRolePolicy", RoleName="runs", PolicyDocument=text)
    scene.pass_time(hours=14)
    (event,) = events(scene, "ResourceName", scene.role)
    assert (event["EventName"], event["EventSource"]) == ("AssumeRole", "sts.amazonaws.com")
    record = json.loads(event["CloudTrailEvent"])
    assert record["errorCode"] == "AccessDenied"
    assert record["userIdentity"] == {"type": "AWSService", "invokedBy": "scheduler.amazonaws.com"}
    assert record["requestParameters"]["roleArn"] == scene.role


def test_what_succeeds_is_not_told(scene: SchedulerScene) -> None:
    scene.create()
    scene.pass_time(hours=14)
    assert (len(scene.instances), events(scene)) == (1, [])


def test_they_come_in_pages_the_newest_first_and_between_times(scene: SchedulerScene) -> None:
    launch = scene.launch(ClientToken=TOKEN, SubnetId="subnet-00000000000000000")
    scene.create("rate(1 hour)", Target=scene.target(Input=json.dumps(launch)))
    scene.loop.step()
    start = scene.cloud.clock.now
    for _ in range(4):
        scene.pass_time(hours=1, seconds=1)
    times = [each["EventTime"] for each in events(scene)]
    assert (len(times), times) == (5, sorted(times, reverse=True))
    first = scene.ask("cloudtrail", "LookupEvents", MaxResults=3)
    second = scene.ask("cloudtrail", "LookupEvents", MaxResults=3, NextToken=first["NextToken"])
    assert [each["EventTime"] for each in [*first["Events"], *second["Events"]]] == times
    assert "NextToken" not in second
    assert [each["EventTime"] for each in events(scene, EndTime=start)] == [start]
    assert [each["EventTime"] for each in events(scene, StartTime=times[1])] == times[:2]


def test_what_cannot_be_looked_up_is_refused(scene: SchedulerScene) -> None:
    for key in ("Username", "EventSource"):
        with pytest.raises(ServiceError) as caught:
            events(scene, key, "x")
        assert caught.value.code == "InvalidLookupAttributesException"


def test_they_are_kept_for_ninety_days(scene: SchedulerScene) -> None:
    launch = scene.launch(SubnetId="subnet-00000000000000000")
    scene.create("at(2026-11-25T13:00:00)", Target=scene.target(Input=json.dumps(launch)))
    scene.pass_time(hours=1)
    for days, kept in ((89, 1), (2, 0)):
        scene.cloud.clock.forward(days=days)
        with scene.database.write() as tx:
            forget_refused(tx)
            assert len(tx.find(RefusedCall)) == kept
