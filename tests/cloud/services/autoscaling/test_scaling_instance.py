"""Instances of a group: ended, put aside, let go, brought in, protected; and who goes when there are too many."""

from __future__ import annotations

import pytest
from ec2_fixtures import Cloud
from scaling_scene import Scene


@pytest.fixture
def scene(cloud: Cloud) -> Scene:
    return Scene(cloud)


@pytest.mark.parametrize("decrement", [True, False])
def test_one_is_terminated_with_or_without_a_replacement(scene: Scene, decrement: bool) -> None:
    scene.create(1, 3, 2)
    scene.settle()
    first, second = scene.ids
    told = scene.call(
        "TerminateInstanceInAutoScalingGroup", InstanceId=first, ShouldDecrementDesiredCapacity=decrement
    )["Activity"]
    shrinking = ", shrinking the capacity from 2 to 1" if decrement else ""
    sentence = f"instance {first} was taken out of service in response to a user request{shrinking}."
    assert told["Cause"] == f"At 2026-11-25T12:00:00Z {sentence}"
    assert (told["StatusCode"], told["Description"]) == ("InProgress", f"Terminating EC2 instance: {first}")
    scene.settle()
    assert len(scene.ids) == scene.group["DesiredCapacity"] == (1 if decrement else 2)
    assert first not in scene.ids and second in scene.ids


def test_a_decrement_stays_above_the_minimum(scene: Scene) -> None:
    scene.create(1, 3)
    scene.settle()
    (only,) = scene.ids
    ended = {"InstanceId": only, "ShouldDecrementDesiredCapacity": True}
    assert "desiredSize equals minSize (1)" in scene.refusal("TerminateInstanceInAutoScalingGroup", **ended).message
    aside = {"AutoScalingGroupName": "web", "InstanceIds": [only], "ShouldDecrementDesiredCapacity": True}
    for name in ("EnterStandby", "DetachInstances"):
        assert "min-size=1" in scene.refusal(name, **aside).message
    assert scene.ids == [only]


def test_standby_does_not_count_until_it_is_over(scene: Scene) -> None:
    scene.create(0, 2, 2)
    scene.settle()
    first, second = scene.ids
    (told,) = scene.on("EnterStandby", InstanceIds=[first], ShouldDecrementDesiredCapacity=True)["Activities"]
    assert told["Cause"].endswith(
        f"instance {first} was moved to standby in response to a user request, shrinking the capacity from 2 to 1."
    )
    scene.settle()
    assert (scene.states, scene.group["DesiredCapacity"]) == (["InService", "Standby"], 1)
    scene.on("SetDesiredCapacity", DesiredCapacity=2)
    scene.settle()
    assert scene.states == ["InService", "InService", "Standby"]
    assert "max-size=2" in scene.refusal("ExitStandby", AutoScalingGroupName="web", InstanceIds=[first]).message
    scene.on("UpdateAutoScalingGroup", MaxSize=3)
    (told,) = scene.on("ExitStandby", InstanceIds=[first])["Activities"]
    assert (told["StatusCode"], told["Progress"]) == ("PreInService", 30)
    scene.settle()
    assert scene.states == ["InService"] * 3
    assert {first, second} <= set(scene.ids)
    assert "is not in Standby" in scene.refusal("ExitStandby", AutoScalingGroupName="web", InstanceIds=[first]).message


def test_one_in_standby_that_is_terminated_takes_no_other_with_it(scene: Scene) -> None:
    scene.create(0, 2, 2)
    scene.settle()
    first, second = scene.ids
    scene.on("EnterStandby", InstanceIds=[first], ShouldDecrementDesiredCapacity=True)
    scene.settle()
    scene.call("TerminateInstanceInAutoScalingGroup", InstanceId=first, ShouldDecrementDesiredCapacity=True)
    scene.settle()
    assert (scene.ids, scene.group["DesiredCapacity"]) == ([second], 1)


def test_one_in_standby_may_be_off_and_is_looked_at_when_it_comes_back(scene: Scene) -> None:
    scene.create(0, 2, 1)
    scene.settle()
    (first,) = scene.ids
    scene.on("EnterStandby", InstanceIds=[first], ShouldDecrementDesiredCapacity=True)
    scene.settle()
    scene.die(first)
    scene.settle()
    assert scene.states == ["Standby"]
    scene.on("ExitStandby", InstanceIds=[first])
    scene.settle()
    scene.cloud.clock.forward(seconds=6)
    scene.settle()
    assert len(scene.ids) == 1 and scene.ids != [first]


def test_what_is_detached_goes_on_alone_and_can_be_attached(scene: Scene) -> None:
    # In one zone: where there are two, the one that comes back may have to go for their balance.
    scene.create(1, 3, VPCZoneIdentifier=scene.subnets[0])
    scene.settle()
    (first,) = scene.ids
    scene.on("DetachInstances", InstanceIds=[first], ShouldDecrementDesiredCapacity=False)
    scene.settle()
    (second,) = scene.ids
    assert second != first
    alone = scene.cloud.instance(first)
    assert alone["State"]["Name"] == "running"
    assert "aws:autoscaling:groupName" not in {pair["Key"] for pair in alone["Tags"]}
    scene.on("AttachInstances", InstanceIds=[first])
    assert scene.group["DesiredCapacity"] == 2
    scene.settle()
    assert sorted(scene.ids) == sorted([first, second])
    again = scene.refusal("AttachInstances", AutoScalingGroupName="web", InstanceIds=[first])
    assert "already part of AutoScalingGroup:web" in again.message
    pending = scene.cloud.run()["InstanceId"]
    told = scene.refusal("AttachInstances", AutoScalingGroupName="web", InstanceIds=[pending])
    assert "not in correct state" in told.message


def test_whom_the_user_calls_unhealthy_is_replaced_once_it_had_its_time(scene: Scene) -> None:
    scene.create(1, 1, HealthCheckGracePeriod=300)
    scene.settle()
    (first,) = scene.ids
    scene.call("SetInstanceHealth", InstanceId=first, HealthStatus="Unhealthy")
    scene.settle()
    assert scene.ids == [first]
    scene.cloud.clock.forward(seconds=301)
    scene.call("SetInstanceHealth", InstanceId=first, HealthStatus="Unhealthy")
    scene.settle()
    assert len(scene.ids) == 1 and scene.ids != [first]
    ended = next(one for one in scene.activities if one["Description"].startswith("Terminating"))
    assert ended["Cause"].endswith("was taken out of service in response to a user health-check.")


def test_protected_ones_stay_when_the_group_shrinks(scene: Scene) -> None:
    scene.create(0, 3, 3, NewInstancesProtectedFromScaleIn=True)
    scene.settle()
    ids = scene.ids
    scene.on("SetInstanceProtection", InstanceIds=ids[1:2], ProtectedFromScaleIn=False)
    scene.on("SetDesiredCapacity", DesiredCapacity=0)
    scene.settle()
    assert sorted(scene.ids) == sorted([ids[0], ids[2]])
    scene.on("SetInstanceProtection", InstanceIds=scene.ids, ProtectedFromScaleIn=False)
    scene.settle()
    assert scene.ids == []


@pytest.mark.parametrize(
    ("policy", "goes"), [("OldestInstance", 0), ("NewestInstance", 2), ("OldestLaunchTemplate", 1)]
)
def test_termination_policies(scene: Scene, policy: str, goes: int) -> None:
    """Three in one zone, launched a minute apart; the second is of another version of the template, the first one."""
    scene.create(0, 3, 0, VPCZoneIdentifier=scene.subnets[0], TerminationPolicies=[policy])
    data = {"ImageId": scene.cloud.image_id, "InstanceType": "t3.micro"}
    scene.cloud.call("CreateLaunchTemplateVersion", LaunchTemplateId=scene.template, LaunchTemplateData=data)
    ids: list[str] = []
    for count, version in enumerate(["2", "1", "2"], start=1):
        template = {"LaunchTemplateId": scene.template, "Version": version}
        scene.on("UpdateAutoScalingGroup", LaunchTemplate=template, DesiredCapacity=count)
        scene.settle()
        ids += [one for one in scene.ids if one not in ids]
        scene.cloud.clock.forward(minutes=1)
    scene.on("SetDesiredCapacity", DesiredCapacity=2)
    scene.settle()
    assert set(ids) - set(scene.ids) == {ids[goes]}


def test_the_zone_that_has_most_gives(scene: Scene) -> None:
    scene.create(0, 4, 3, TerminationPolicies=["NewestInstance"])
    scene.settle()
    zones = [one["AvailabilityZone"] for one in scene.group["Instances"]]
    fuller = max(set(zones), key=zones.count)
    scene.on("SetDesiredCapacity", DesiredCapacity=2)
    scene.settle()
    left = [one["AvailabilityZone"] for one in scene.group["Instances"]]
    assert sorted(left) == sorted(set(zones)) and fuller in left


def test_instances_are_described_in_pages(scene: Scene) -> None:
    scene.create(3, 3)
    scene.settle()
    first = scene.call("DescribeAutoScalingInstances", MaxRecords=2)
    second = scene.call("DescribeAutoScalingInstances", MaxRecords=2, NextToken=first["NextToken"])
    shown = first["AutoScalingInstances"] + second["AutoScalingInstances"]
    assert sorted(one["InstanceId"] for one in shown) == sorted(scene.ids)
    assert {(one["AutoScalingGroupName"], one["HealthStatus"]) for one in shown} == {("web", "HEALTHY")}
    assert "NextToken" not in second
    # The last one of a page may be gone when the next is asked for.
    gone = first["AutoScalingInstances"][-1]["InstanceId"]
    scene.call("TerminateInstanceInAutoScalingGroup", InstanceId=gone, ShouldDecrementDesiredCapacity=False)
    scene.on("SuspendProcesses", ScalingProcesses=["Launch"])
    scene.settle()
    later = scene.call("DescribeAutoScalingInstances", MaxRecords=2, NextToken=first["NextToken"])
    assert later["AutoScalingInstances"] == second["AutoScalingInstances"]
    assert scene.refusal("DescribeAutoScalingInstances", NextToken="nonsense").code == "InvalidNextToken"
