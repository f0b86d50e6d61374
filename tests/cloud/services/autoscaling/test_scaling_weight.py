"""Groups whose types have weights: their sizes are units.

What AWS does: "Configure an Auto Scaling group to use instance weights" of its user guide,
https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-mixed-instances-groups-instance-weighting.html,
and WeightedCapacity of https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_LaunchTemplateOverrides.html
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from ec2_fixtures import Cloud
from scaling_scene import Scene

from skylift.cloud.domain.market import Capacity
from skylift.cloud.domain.scaling_group import METRICS, ScalingGroup, ScalingMember, group_metrics
from skylift.cloud.domain.spot import SpotNotice

SMALL, LARGE = "t3.micro", "t3.small"


@pytest.fixture
def scene(cloud: Cloud) -> Scene:
    return Scene(cloud)


def policy(scene: Scene, weights: dict[str, int | None], **distribution: Any) -> dict[str, Any]:
    overrides = [
        {"InstanceType": name, **({} if weight is None else {"WeightedCapacity": str(weight)})}
        for name, weight in weights.items()
    ]
    return {
        "LaunchTemplate": {
            "LaunchTemplateSpecification": {"LaunchTemplateId": scene.template, "Version": "$Latest"},
            "Overrides": overrides,
        },
        "InstancesDistribution": distribution,
    }


def create(scene: Scene, least: int, most: int, desired: int, mixed: dict[str, Any], **more: Any) -> None:
    scene.create(least, most, desired, LaunchTemplate=None, MixedInstancesPolicy=mixed, **more)
    settle(scene)


def settle(scene: Scene) -> None:
    scene.settle()
    scene.check()


def weights(scene: Scene) -> list[int]:
    """Of those in service, in the order of their launches."""
    return [int(one["WeightedCapacity"]) for one in scene.group["Instances"] if one["LifecycleState"] == "InService"]


def is_at_rest(scene: Scene) -> bool:
    """Whether further looks change nothing."""
    before = scene.group, scene.activities
    for _ in range(3):
        scene.loop.step()
    with scene.database.read() as tx:
        (group,) = tx.find(ScalingGroup)
    return not group.scaling and (scene.group, scene.activities) == before


def no_more(scene: Scene, *names: str) -> None:
    with scene.database.write() as tx:
        for name in names:
            for zone in ("us-east-1a", "us-east-1b"):
                tx.add(Capacity(name, zone, "any", 0))


def test_a_group_launches_until_its_units_are_there(scene: Scene) -> None:
    create(scene, 0, 20, 10, policy(scene, {LARGE: 4, SMALL: 1}))
    assert weights(scene) == [4, 4, 4], "the last one leads above the desired capacity, as on AWS"
    assert is_at_rest(scene)
    shown = scene.call("DescribeAutoScalingInstances", InstanceIds=scene.ids)["AutoScalingInstances"]
    assert {one["WeightedCapacity"] for one in shown} == {"4"}
    overrides = scene.group["MixedInstancesPolicy"]["LaunchTemplate"]["Overrides"]
    assert [one["WeightedCapacity"] for one in overrides] == ["4", "1"]
    assert "increasing the capacity from 0 to 10" in scene.activities[0]["Cause"]


def test_the_cheapest_is_the_unit_and_not_the_instance(scene: Scene) -> None:
    mixed = policy(scene, {SMALL: 1, LARGE: 4}, OnDemandAllocationStrategy="lowest-price")
    create(scene, 0, 20, 8, mixed)
    assert weights(scene) == [4, 4], "twice the price, and four units"


def test_only_the_last_launch_leads_above_the_most(scene: Scene) -> None:
    create(scene, 0, 10, 10, policy(scene, {LARGE: 4}))
    assert sum(weights(scene)) == 12
    assert is_at_rest(scene)


def test_more_units_end_no_instance_that_runs(scene: Scene) -> None:
    create(scene, 0, 40, 8, policy(scene, {SMALL: 4, LARGE: 12}))
    before = scene.ids
    no_more(scene, SMALL)
    scene.on("SetDesiredCapacity", DesiredCapacity=10)
    settle(scene)
    assert weights(scene) == [4, 4, 12] and scene.ids[:2] == before
    assert is_at_rest(scene)


def test_fewer_units_end_what_is_whole_beyond_them(scene: Scene) -> None:
    create(scene, 0, 40, 12, policy(scene, {LARGE: 4}))
    scene.on("SetDesiredCapacity", DesiredCapacity=9)
    settle(scene)
    assert weights(scene) == [4, 4, 4], "two of them are less than is wanted"
    assert is_at_rest(scene)
    scene.on("SetDesiredCapacity", DesiredCapacity=8)
    settle(scene)
    assert weights(scene) == [4, 4]
    assert "shrinking the capacity from 12 to 8" in scene.activities[0]["Cause"]
    scene.on("SetDesiredCapacity", DesiredCapacity=0)
    settle(scene)
    assert weights(scene) == []


def test_the_smaller_one_goes_where_the_larger_is_too_much(scene: Scene) -> None:
    create(scene, 0, 40, 12, policy(scene, {LARGE: 12, SMALL: 2}), TerminationPolicies=["OldestInstance"])
    no_more(scene, LARGE)
    scene.on("SetDesiredCapacity", DesiredCapacity=16)
    settle(scene)
    assert weights(scene) == [12, 2, 2]
    scene.on("SetDesiredCapacity", DesiredCapacity=13)
    settle(scene)
    assert weights(scene) == [12, 2]


def test_base_and_share_on_demand_are_units(scene: Scene) -> None:
    mixed = policy(scene, {LARGE: 4}, OnDemandBaseCapacity=4, OnDemandPercentageAboveBaseCapacity=50)
    create(scene, 0, 40, 20, mixed)
    found = [scene.cloud.instance(one).get("InstanceLifecycle", "on-demand") for one in scene.ids]
    assert sorted(found) == ["on-demand"] * 3 + ["spot"] * 2
    scene.on("SetDesiredCapacity", DesiredCapacity=4)
    settle(scene)
    assert "InstanceLifecycle" not in scene.cloud.instance(scene.ids[0]) and weights(scene) == [4]


def test_a_dead_instance_is_replaced_by_as_many_units(scene: Scene) -> None:
    create(scene, 0, 40, 12, policy(scene, {LARGE: 12, SMALL: 4}))
    no_more(scene, LARGE)
    scene.cloud.clock.forward(seconds=100)
    scene.die(scene.ids[0])
    settle(scene)
    assert weights(scene) == [4, 4, 4]
    assert is_at_rest(scene)


def test_policies_adjust_units(scene: Scene) -> None:
    create(scene, 0, 40, 8, policy(scene, {LARGE: 4}))
    put = {"PolicyName": "half", "AdjustmentType": "PercentChangeInCapacity", "ScalingAdjustment": 50}
    scene.on("PutScalingPolicy", **put)
    scene.on("ExecutePolicy", PolicyName="half")
    settle(scene)
    assert scene.group["DesiredCapacity"] == 12 and weights(scene) == [4, 4, 4]
    refused = scene.refusal("ExecutePolicy", AutoScalingGroupName="web", PolicyName="half", HonorCooldown=True)
    assert refused.code == "ScalingActivityInProgress"
    scene.cloud.clock.forward(seconds=301)
    scene.on("ExecutePolicy", PolicyName="half", HonorCooldown=True)
    settle(scene)
    assert scene.group["DesiredCapacity"] == 18 and weights(scene) == [4] * 5


def test_a_cooldown_ends_also_above_the_desired_capacity(scene: Scene) -> None:
    create(scene, 0, 40, 10, policy(scene, {LARGE: 4}))
    put = {"PolicyName": "one", "AdjustmentType": "ChangeInCapacity", "ScalingAdjustment": 1}
    scene.on("PutScalingPolicy", **put)
    scene.cloud.clock.forward(seconds=301)
    scene.on("ExecutePolicy", PolicyName="one", HonorCooldown=True)
    assert scene.group["DesiredCapacity"] == 11


def test_step_policies_count_the_units_that_warm_up(scene: Scene) -> None:
    create(scene, 0, 40, 8, policy(scene, {LARGE: 4}))
    scene.cloud.clock.forward(seconds=301)
    step = {"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": 4}
    put = {"PolicyName": "step", "PolicyType": "StepScaling", "AdjustmentType": "ChangeInCapacity"}
    scene.on("PutScalingPolicy", **put, StepAdjustments=[step], EstimatedInstanceWarmup=300)
    for _ in range(2):
        scene.on("ExecutePolicy", PolicyName="step", MetricValue=1.0, BreachThreshold=1.0)
        settle(scene)
        assert scene.group["DesiredCapacity"] == 12, "the four that are warming up count as being there"
    scene.cloud.clock.forward(seconds=301)
    scene.on("ExecutePolicy", PolicyName="step", MetricValue=1.0, BreachThreshold=1.0)
    assert scene.group["DesiredCapacity"] == 16


def test_what_is_taken_out_of_a_group_takes_its_units_along(scene: Scene) -> None:
    create(scene, 4, 20, 16, policy(scene, {LARGE: 4}))
    ended, aside, detached, _ = scene.ids
    scene.call("TerminateInstanceInAutoScalingGroup", InstanceId=ended, ShouldDecrementDesiredCapacity=True)
    scene.on("EnterStandby", InstanceIds=[aside], ShouldDecrementDesiredCapacity=True)
    scene.on("DetachInstances", InstanceIds=[detached], ShouldDecrementDesiredCapacity=True)
    settle(scene)
    assert scene.group["DesiredCapacity"] == 4 and weights(scene) == [4]
    last = scene.ids[0]
    shrinking = {"InstanceIds": [last], "ShouldDecrementDesiredCapacity": True}
    for name in ("EnterStandby", "DetachInstances"):
        refused = scene.refusal(name, AutoScalingGroupName="web", **shrinking)
        assert "have 1 instance(s)" in refused.message and "min-size=4" in refused.message
    end = {"InstanceId": last, "ShouldDecrementDesiredCapacity": True}
    assert "minSize" in scene.refusal("TerminateInstanceInAutoScalingGroup", **end).message
    scene.on("ExitStandby", InstanceIds=[aside])
    scene.on("AttachInstances", InstanceIds=[detached])
    settle(scene)
    assert scene.group["DesiredCapacity"] == 12 and weights(scene) == [4, 4, 4]
    assert is_at_rest(scene)


@pytest.mark.parametrize("way", ["TerminateInstanceInAutoScalingGroup", "EnterStandby", "DetachInstances"])
def test_an_instance_that_is_more_than_the_desired_capacity_can_be_taken_out(scene: Scene, way: str) -> None:
    create(scene, 0, 10, 3, policy(scene, {LARGE: 8}))
    assert weights(scene) == [8]
    take_out(scene, way, scene.ids[0])
    settle(scene)
    assert scene.group["DesiredCapacity"] == 0 and weights(scene) == []
    assert any("shrinking the capacity from 3 to 0" in one["Cause"] for one in scene.activities)
    assert is_at_rest(scene)


@pytest.mark.parametrize("way", ["TerminateInstanceInAutoScalingGroup", "EnterStandby", "DetachInstances"])
def test_what_is_left_is_compared_with_the_least(scene: Scene, way: str) -> None:
    create(scene, 8, 20, 10, policy(scene, {LARGE: 4}))
    assert weights(scene) == [4, 4, 4]
    take_out(scene, way, scene.ids[0])
    settle(scene)
    assert scene.group["DesiredCapacity"] == 8 and weights(scene) == [4, 4]
    scene.on("UpdateAutoScalingGroup", MinSize=7)
    of_group = {} if way.startswith("Terminate") else {"AutoScalingGroupName": "web"}
    refused = scene.refusal(way, **of_group, **taken(way, weighing(scene)[0]))
    if way.startswith("Terminate"):
        assert "the group has 8, the instance is 4 of it, and minSize is 7." in refused.message
    else:
        assert "min-size=7, max-size=20, and desired-size=8." in refused.message


def weighing(scene: Scene) -> list[str]:
    return [one["InstanceId"] for one in scene.group["Instances"] if one["LifecycleState"] == "InService"]


def taken(way: str, instance: str) -> dict[str, Any]:
    which = {"InstanceId": instance} if way.startswith("Terminate") else {"InstanceIds": [instance]}
    return {**which, "ShouldDecrementDesiredCapacity": True}


def take_out(scene: Scene, way: str, instance: str) -> None:
    (scene.call if way.startswith("Terminate") else scene.on)(way, **taken(way, instance))


def test_what_is_attached_must_have_room_with_its_weight(scene: Scene) -> None:
    create(scene, 0, 10, 8, policy(scene, {LARGE: 4}))
    launched = scene.cloud.call(
        "RunInstances", ImageId=scene.cloud.image_id, InstanceType=LARGE, MinCount=1, MaxCount=1,
        SubnetId=scene.subnets[0],
    )["Instances"][0]["InstanceId"]  # fmt: skip
    scene.cloud.observe(launched, "running")
    refused = scene.refusal("AttachInstances", AutoScalingGroupName="web", InstanceIds=[launched])
    assert "attach 1 instance(s)" in refused.message
    scene.on("UpdateAutoScalingGroup", MaxSize=12)
    scene.on("AttachInstances", InstanceIds=[launched])
    settle(scene)
    assert scene.group["DesiredCapacity"] == 12 and launched in scene.ids and weights(scene) == [4, 4, 4]


def test_new_weights_count_for_those_that_are_there(scene: Scene) -> None:
    create(scene, 0, 40, 8, policy(scene, {LARGE: 4}))
    scene.on("UpdateAutoScalingGroup", MixedInstancesPolicy=policy(scene, {LARGE: 2}))
    settle(scene)
    assert weights(scene) == [2] * 4
    scene.on("UpdateAutoScalingGroup", MixedInstancesPolicy=policy(scene, {LARGE: 8}))
    settle(scene)
    assert weights(scene) == [8]
    assert "changed the weights of instances" in scene.activities[0]["Cause"]
    assert is_at_rest(scene)


def test_a_type_that_leaves_the_policy_keeps_its_last_weight(scene: Scene) -> None:
    create(scene, 0, 40, 8, policy(scene, {LARGE: 4}))
    scene.on("UpdateAutoScalingGroup", MixedInstancesPolicy=policy(scene, {SMALL: 1}), DesiredCapacity=10)
    settle(scene)
    assert weights(scene) == [4, 4, 1, 1]


def test_without_weights_each_is_one_again(scene: Scene) -> None:
    create(scene, 0, 40, 8, policy(scene, {LARGE: 4}))
    scene.on("UpdateAutoScalingGroup", MixedInstancesPolicy=policy(scene, {LARGE: None}), DesiredCapacity=2)
    settle(scene)
    assert [one.get("WeightedCapacity") for one in scene.group["Instances"]] == [None, None]
    assert is_at_rest(scene)


@pytest.mark.parametrize("most", [8, 40])
def test_at_a_notice_the_successors_are_as_many_units(scene: Scene, most: int) -> None:
    mixed = policy(scene, {LARGE: 8, SMALL: 2}, OnDemandPercentageAboveBaseCapacity=0, SpotInstancePools=1)
    create(scene, 0, most, 8, mixed, CapacityRebalance=True)
    (risky,) = scene.ids
    no_more(scene, LARGE)
    with scene.database.write() as tx:
        tx.add(SpotNotice(risky, rebalance=tx.now, noticed=tx.now, due=tx.now + timedelta(seconds=120)))
    scene.loop.step()
    scene.check()
    if most == 40:
        assert "Terminating" not in scene.states, "there is room for the successors beside it"
    for _ in range(3):
        settle(scene)
    assert risky not in scene.ids and sum(weights(scene)) == 8
    assert is_at_rest(scene)


@pytest.mark.parametrize("heavy", [4, 12])
def test_zones_are_balanced_by_instances_and_come_to_rest(scene: Scene, heavy: int) -> None:
    """The successor is at least as much as the one that it takes the place of: else that one could not go."""
    mixed = policy(scene, {SMALL: 4, LARGE: heavy})
    create(scene, 0, 60, 12, mixed, VPCZoneIdentifier=scene.subnets[0])
    no_more(scene, *([SMALL] if heavy > 4 else []))
    scene.on("UpdateAutoScalingGroup", VPCZoneIdentifier=",".join(scene.subnets[:2]))
    for _ in range(6):
        settle(scene)
    zones = [one["AvailabilityZone"] for one in scene.group["Instances"]]
    assert max(zones.count(zone) for zone in set(zones)) - min(zones.count(zone) for zone in set(zones)) <= 1
    assert sum(weights(scene)) >= 12
    assert is_at_rest(scene)


def test_a_larger_one_stays_where_only_smaller_ones_can_take_its_place(scene: Scene) -> None:
    create(scene, 0, 60, 24, policy(scene, {LARGE: 12, SMALL: 1}), VPCZoneIdentifier=scene.subnets[0])
    before = scene.ids
    no_more(scene, LARGE)
    scene.on("UpdateAutoScalingGroup", VPCZoneIdentifier=",".join(scene.subnets[:2]))
    for _ in range(3):
        settle(scene)
    assert scene.ids == before, "one unit in the other zone would let none of twelve go"


def test_metrics_of_capacity_are_units(scene: Scene) -> None:
    create(scene, 0, 40, 10, policy(scene, {LARGE: 4}))
    scene.on("EnableMetricsCollection", Granularity="1Minute")
    scene.on("EnterStandby", InstanceIds=scene.ids[:1], ShouldDecrementDesiredCapacity=True)
    settle(scene)
    with scene.database.read() as tx:
        (group,) = tx.find(ScalingGroup)
        found = group_metrics(group, tx.find(ScalingMember))
    assert set(found) == set(METRICS)
    assert (found["GroupInServiceInstances"], found["GroupInServiceCapacity"]) == (2, 8)
    assert (found["GroupStandbyInstances"], found["GroupStandbyCapacity"]) == (1, 4)
    assert (found["GroupTotalInstances"], found["GroupTotalCapacity"]) == (3, 12)
    assert found["GroupDesiredCapacity"] == 6 and found["GroupAndWarmPoolTotalCapacity"] == 12


def test_a_schedule_sets_units(scene: Scene) -> None:
    create(scene, 0, 40, 4, policy(scene, {LARGE: 4}))
    scene.on(
        "PutScheduledUpdateGroupAction",
        ScheduledActionName="day",
        StartTime=scene.cloud.clock() + timedelta(seconds=60),
        DesiredCapacity=16,
    )
    scene.cloud.clock.forward(seconds=61)
    settle(scene)
    assert weights(scene) == [4] * 4


@pytest.mark.parametrize("weight", ["0", "1000", "-1", "1.5", "01", "٣", "1e2", "four"])
def test_a_weight_is_a_number_between_1_and_999(scene: Scene, weight: str) -> None:
    mixed = policy(scene, {LARGE: 4})
    mixed["LaunchTemplate"]["Overrides"][0]["WeightedCapacity"] = weight
    refused = scene.refusal(
        "CreateAutoScalingGroup",
        AutoScalingGroupName="bad",
        MinSize=0,
        MaxSize=1,
        AvailabilityZones=["us-east-1a"],
        MixedInstancesPolicy=mixed,
    )
    assert refused.code == "ValidationError" and "between 1 and 999" in refused.message


def test_all_types_have_weights_or_none(scene: Scene) -> None:
    of_group: dict[str, Any] = {
        "AutoScalingGroupName": "bad",
        "MinSize": 0,
        "MaxSize": 1,
        "AvailabilityZones": ["us-east-1a"],
    }
    mixed = policy(scene, {LARGE: 4, SMALL: None})
    assert "each of them" in scene.refusal("CreateAutoScalingGroup", **of_group, MixedInstancesPolicy=mixed).message
    mixed = policy(scene, {LARGE: 4})
    del mixed["LaunchTemplate"]["Overrides"][0]["InstanceType"]
    assert "InstanceType" in scene.refusal("CreateAutoScalingGroup", **of_group, MixedInstancesPolicy=mixed).message
