"""Lifecycle hooks hold instances back, until they are completed or their time is over."""

from __future__ import annotations

from typing import Any

import pytest
from ec2_fixtures import Cloud
from scaling_scene import Scene

STARTS = "autoscaling:EC2_INSTANCE_LAUNCHING"
ENDS = "autoscaling:EC2_INSTANCE_TERMINATING"


@pytest.fixture
def scene(cloud: Cloud) -> Scene:
    return Scene(cloud)


def hook(transition: str, **more: Any) -> list[dict[str, Any]]:
    return [{"LifecycleHookName": "wait", "LifecycleTransition": transition, "HeartbeatTimeout": 60, **more}]


def only(scene: Scene) -> str:
    (found,) = scene.group["Instances"]
    return str(found["InstanceId"])


def test_an_instance_waits_before_it_is_in_service(scene: Scene) -> None:
    scene.create(1, 1, LifecycleHookSpecificationList=hook(STARTS))
    scene.settle()
    assert scene.states == ["Pending:Wait"]
    assert scene.activities[0]["StatusCode"] == "MidLifecycleAction"
    scene.on(
        "CompleteLifecycleAction", LifecycleHookName="wait", InstanceId=only(scene), LifecycleActionResult="CONTINUE"
    )
    scene.settle()
    assert scene.states == ["InService"]
    again = scene.refusal(
        "CompleteLifecycleAction",
        AutoScalingGroupName="web",
        LifecycleHookName="wait",
        InstanceId=only(scene),
        LifecycleActionResult="CONTINUE",
    )
    assert "No active Lifecycle Action found with instance ID" in again.message


def test_one_that_is_abandoned_is_replaced(scene: Scene) -> None:
    scene.create(1, 1, LifecycleHookSpecificationList=hook(STARTS))
    scene.settle()
    first = only(scene)
    scene.on("CompleteLifecycleAction", LifecycleHookName="wait", InstanceId=first, LifecycleActionResult="ABANDON")
    scene.settle()
    launched = next(one for one in scene.activities if one["Description"].startswith("Launching"))
    assert launched["StatusCode"] == "Cancelled"
    assert launched["StatusMessage"].startswith("Instance failed to complete user's Lifecycle Action")
    scene.cloud.clock.forward(seconds=6)
    scene.settle()
    assert scene.states == ["Pending:Wait"] and only(scene) != first
    assert scene.cloud.instance(first)["State"]["Name"] == "terminated"


@pytest.mark.parametrize(("default", "state"), [("CONTINUE", ["InService"]), ("ABANDON", [])])
def test_when_its_time_is_over_the_default_decides(scene: Scene, default: str, state: list[str]) -> None:
    scene.create(1, 1, LifecycleHookSpecificationList=hook(STARTS, DefaultResult=default))
    scene.settle()
    assert 59 < scene.wakes[-1] <= 60
    scene.cloud.clock.forward(seconds=50)
    scene.on("RecordLifecycleActionHeartbeat", LifecycleHookName="wait", InstanceId=only(scene))
    scene.cloud.clock.forward(seconds=50)
    scene.settle()
    assert scene.states == ["Pending:Wait"], "a heartbeat gives it another minute"
    scene.cloud.clock.forward(seconds=10)
    scene.settle()
    assert scene.states == state


def test_an_instance_waits_before_it_is_terminated_and_its_successor_does_not(scene: Scene) -> None:
    scene.create(1, 2, LifecycleHookSpecificationList=hook(ENDS))
    scene.settle()
    first = only(scene)
    scene.call("TerminateInstanceInAutoScalingGroup", InstanceId=first, ShouldDecrementDesiredCapacity=False)
    scene.settle()
    assert scene.states == ["InService", "Terminating:Wait"]
    assert scene.cloud.instance(first)["State"]["Name"] == "running"
    scene.on("CompleteLifecycleAction", LifecycleHookName="wait", InstanceId=first, LifecycleActionResult="CONTINUE")
    scene.settle()
    assert scene.states == ["InService"]
    assert scene.cloud.instance(first)["State"]["Name"] == "terminated"


def test_who_waits_for_a_hook_that_is_deleted_goes_on(scene: Scene) -> None:
    scene.create(1, 1, LifecycleHookSpecificationList=hook(STARTS, DefaultResult="CONTINUE"))
    scene.settle()
    scene.on("DeleteLifecycleHook", LifecycleHookName="wait")
    scene.settle()
    assert scene.states == ["InService"]
    assert scene.on("DescribeLifecycleHooks")["LifecycleHooks"] == []


def test_hooks_are_described_and_changed(scene: Scene) -> None:
    scene.create(0, 1)
    asked = {"LifecycleHookName": "wait", "LifecycleTransition": STARTS, "HeartbeatTimeout": 60}
    scene.on("PutLifecycleHook", **asked)
    scene.on("PutLifecycleHook", LifecycleHookName="wait", DefaultResult="CONTINUE", NotificationMetadata="why")
    assert scene.on("DescribeLifecycleHooks")["LifecycleHooks"] == [
        {
            "LifecycleHookName": "wait",
            "AutoScalingGroupName": "web",
            "LifecycleTransition": STARTS,
            "NotificationMetadata": "why",
            "HeartbeatTimeout": 60,
            "GlobalTimeout": 6000,
            "DefaultResult": "CONTINUE",
        }
    ]
    for wrong in ({"HeartbeatTimeout": 29}, {"DefaultResult": "PERHAPS"}, {"LifecycleTransition": ENDS}):
        assert (
            scene.refusal("PutLifecycleHook", AutoScalingGroupName="web", **{**asked, **wrong}).code
            == "ValidationError"
        )
