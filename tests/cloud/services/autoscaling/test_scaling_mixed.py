"""Groups of several types, partly on the spot market."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from ec2_fixtures import Cloud
from scaling_scene import Scene

from skylift.cloud.domain.market import Capacity
from skylift.cloud.domain.spot import SpotNotice
from skylift.cloud.services.ssm import parameter_put
from skylift.cloud.services.table import TABLE


@pytest.fixture
def scene(cloud: Cloud) -> Scene:
    return Scene(cloud)


def policy(scene: Scene, *types: str, **distribution: Any) -> dict[str, Any]:
    return {
        "LaunchTemplate": {
            "LaunchTemplateSpecification": {"LaunchTemplateId": scene.template, "Version": "$Latest"},
            "Overrides": [{"InstanceType": name} for name in types],
        },
        "InstancesDistribution": distribution,
    }


def create(scene: Scene, least: int, most: int, mixed: dict[str, Any], **more: Any) -> None:
    scene.create(least, most, LaunchTemplate=None, MixedInstancesPolicy=mixed, **more)


def markets(scene: Scene) -> list[str]:
    found = [scene.cloud.instance(one).get("InstanceLifecycle", "on-demand") for one in scene.ids]
    return sorted(found)


def types(scene: Scene) -> list[str]:
    return sorted(one["InstanceType"] for one in scene.group["Instances"])


@pytest.mark.parametrize(
    ("base", "percentage", "expected"), [(0, 100, 5), (0, 0, 0), (2, 0, 2), (1, 50, 3), (1, 25, 2), (9, 0, 5)]
)
def test_the_base_and_the_share_on_demand(scene: Scene, base: int, percentage: int, expected: int) -> None:
    mixed = policy(scene, "t3.micro", OnDemandBaseCapacity=base, OnDemandPercentageAboveBaseCapacity=percentage)
    create(scene, 0, 5, mixed, DesiredCapacity=5)
    scene.settle()
    assert markets(scene) == ["on-demand"] * expected + ["spot"] * (5 - expected)


def test_the_share_is_kept_when_the_group_shrinks(scene: Scene) -> None:
    mixed = policy(scene, "t3.micro", OnDemandBaseCapacity=1, OnDemandPercentageAboveBaseCapacity=0)
    create(scene, 0, 4, mixed, DesiredCapacity=4)
    scene.settle()
    scene.on("SetDesiredCapacity", DesiredCapacity=2)
    scene.settle()
    assert markets(scene) == ["on-demand", "spot"]
    scene.on("SetDesiredCapacity", DesiredCapacity=1)
    scene.settle()
    assert markets(scene) == ["on-demand"]


def test_types_are_taken_by_priority_or_by_price_and_where_there_is_room(scene: Scene) -> None:
    create(scene, 2, 2, policy(scene, "t3.small", "t3.micro"))
    scene.settle()
    assert types(scene) == ["t3.small"] * 2
    scene.on(
        "UpdateAutoScalingGroup",
        MixedInstancesPolicy={"InstancesDistribution": {"OnDemandAllocationStrategy": "lowest-price"}},
        MinSize=0,
        DesiredCapacity=0,
    )
    scene.settle()
    scene.on("SetDesiredCapacity", DesiredCapacity=2)
    scene.settle()
    assert types(scene) == ["t3.micro"] * 2
    with scene.database.write() as tx:
        for zone in ("us-east-1a", "us-east-1b"):
            tx.add(Capacity("t3.micro", zone, "any", 0))
    for one in scene.ids:
        scene.call("TerminateInstanceInAutoScalingGroup", InstanceId=one, ShouldDecrementDesiredCapacity=False)
    scene.settle()
    assert types(scene) == ["t3.small"] * 2


def test_no_capacity_anywhere_is_told(scene: Scene) -> None:
    with scene.database.write() as tx:
        for name in ("t3.small", "t3.micro"):
            for zone in ("us-east-1a", "us-east-1b"):
                tx.add(Capacity(name, zone, "any", 0))
    create(scene, 1, 1, policy(scene, "t3.small", "t3.micro"))
    scene.settle()
    (failed,) = scene.activities
    assert failed["StatusCode"] == "Failed"
    assert "sufficient" in failed["StatusMessage"]
    with scene.database.write() as tx:
        for row in tx.find(Capacity):
            tx.remove(row)
    scene.cloud.clock.forward(seconds=6)
    scene.settle()
    assert len(scene.ids) == 1


def warn(scene: Scene, instance_id: str) -> None:
    with scene.database.write() as tx:
        tx.add(SpotNotice(instance_id, rebalance=tx.now, noticed=tx.now, due=tx.now + timedelta(seconds=120)))


@pytest.mark.parametrize(
    ("most", "first"), [(3, ["InService", "InService", "Pending"]), (2, ["InService", "Pending", "Terminating"])]
)
def test_at_the_notice_the_successor_comes_first_where_there_is_room(scene: Scene, most: int, first: list[str]) -> None:
    mixed = policy(scene, "t3.micro", OnDemandPercentageAboveBaseCapacity=0)
    create(scene, 2, most, mixed, CapacityRebalance=True)
    scene.settle()
    risky, other = scene.ids
    warn(scene, risky)
    scene.loop.step()
    assert scene.states == first
    scene.settle()
    scene.check()
    assert len(scene.ids) == 2 and other in scene.ids and risky not in scene.ids
    ended = next(one for one in scene.activities if one["Description"] == f"Terminating EC2 instance: {risky}")
    assert "in response to an EC2 instance rebalance recommendation" in ended["Cause"]


def test_a_successor_leaves_the_zones_balanced(scene: Scene) -> None:
    mixed = policy(scene, "t3.micro", OnDemandPercentageAboveBaseCapacity=0)
    create(scene, 2, 4, mixed, CapacityRebalance=True)
    scene.settle()
    before = {one["InstanceId"]: one["AvailabilityZone"] for one in scene.group["Instances"]}
    for risky in scene.ids:
        warn(scene, risky)
        for _ in range(3):
            scene.settle()
    assert sorted(one["AvailabilityZone"] for one in scene.group["Instances"]) == sorted(before.values())
    launched = [one for one in scene.activities if one["Description"].startswith("Launching")]
    assert len(launched) == 4 and not before.keys() & set(scene.ids)


def test_what_comes_back_does_not_make_more_than_the_most_beside_a_successor(scene: Scene) -> None:
    create(scene, 1, 3, policy(scene, "t3.micro", OnDemandPercentageAboveBaseCapacity=0), CapacityRebalance=True)
    scene.on("SetDesiredCapacity", DesiredCapacity=3)
    scene.settle()
    aside, risky, _ = scene.ids
    scene.on("EnterStandby", InstanceIds=[aside], ShouldDecrementDesiredCapacity=True)
    scene.settle()
    scene.on("DetachInstances", InstanceIds=[aside], ShouldDecrementDesiredCapacity=True)
    scene.settle()
    warn(scene, risky)
    scene.loop.step()
    assert scene.states == ["InService", "InService", "Pending"]
    refused = scene.refusal("AttachInstances", AutoScalingGroupName="web", InstanceIds=[aside])
    assert refused.code == "ResourceContention"
    scene.check()
    scene.settle()
    scene.on("AttachInstances", InstanceIds=[aside])
    scene.settle()
    assert aside in scene.ids and len(scene.ids) == 3


def template(scene: Scene, name: str, **data: Any) -> dict[str, Any]:
    whole = {"ImageId": scene.cloud.image_id, "InstanceType": "t3.micro", **data}
    made = scene.cloud.call("CreateLaunchTemplate", LaunchTemplateName=name, LaunchTemplateData=whole)
    return {"LaunchTemplateId": made["LaunchTemplate"]["LaunchTemplateId"], "Version": "$Latest"}


def test_an_override_names_an_image_and_no_parameter(scene: Scene) -> None:
    """Whoever may make groups could otherwise read every parameter."""
    with scene.database.write() as tx:
        asked = {"Name": "/db/password", "Value": "hunter2", "Type": "String"}
        parameter_put.put(tx, scene.cloud.caller, asked)
    mixed = policy(scene, "t3.micro")
    mixed["LaunchTemplate"]["Overrides"][0]["ImageId"] = "resolve:ssm:/db/password"
    wanted = {"MinSize": 0, "MaxSize": 1, "VPCZoneIdentifier": scene.subnets[0], "MixedInstancesPolicy": mixed}
    refusal = scene.refusal("CreateAutoScalingGroup", AutoScalingGroupName="web", **wanted)
    assert refusal.code == "ValidationError"
    assert "resolve:ssm:/db/password" in refusal.message and "hunter2" not in refusal.message


def test_a_template_may_ask_for_spot_by_itself(scene: Scene) -> None:
    spot = template(scene, "spot", InstanceMarketOptions={"MarketType": "spot"})
    scene.create(1, 2, LaunchTemplate=spot, CapacityRebalance=True)
    scene.settle()
    (risky,) = scene.ids
    warn(scene, risky)
    scene.settle()
    assert len(scene.ids) == 1 and risky not in scene.ids
    for mixed in (
        {"LaunchTemplate": {"LaunchTemplateSpecification": spot}},
        {**policy(scene), "LaunchTemplate": {**policy(scene)["LaunchTemplate"], "Overrides": [_with(spot)]}},
    ):
        refused = scene.refusal("UpdateAutoScalingGroup", AutoScalingGroupName="web", MixedInstancesPolicy=mixed)
        assert "requests Spot Instances" in refused.message


def _with(spec: dict[str, Any]) -> dict[str, Any]:
    return {"InstanceType": "t3.nano", "LaunchTemplateSpecification": spec}


def test_whoever_names_a_template_in_an_override_must_be_allowed_to_launch_it(scene: Scene) -> None:
    other = template(scene, "other")
    mixed = policy(scene)
    mixed["LaunchTemplate"]["Overrides"] = [_with(other)]
    sizes = {"AutoScalingGroupName": "web", "MinSize": 0, "MaxSize": 1}
    params = {**sizes, "VPCZoneIdentifier": scene.subnets[0], "MixedInstancesPolicy": mixed}
    operation = TABLE["autoscaling", "CreateAutoScalingGroup"]
    with scene.database.read() as tx:
        asked = {check.resource for check in operation.checks(tx, scene.cloud.caller, params)}
    assert any(resource.endswith(f"launch-template/{other['LaunchTemplateId']}") for resource in asked)


def test_without_rebalancing_a_notice_changes_nothing(scene: Scene) -> None:
    create(scene, 1, 2, policy(scene, "t3.micro", OnDemandPercentageAboveBaseCapacity=0))
    scene.settle()
    ids = scene.ids
    warn(scene, ids[0])
    scene.settle()
    assert scene.ids == ids


def test_the_policy_is_described_with_what_it_did_not_say(scene: Scene) -> None:
    create(scene, 0, 1, policy(scene, "t3.micro", OnDemandBaseCapacity=1))
    shown = scene.group
    assert "LaunchTemplate" not in shown
    assert shown["MixedInstancesPolicy"]["InstancesDistribution"] == {
        "OnDemandAllocationStrategy": "prioritized",
        "OnDemandBaseCapacity": 1,
        "OnDemandPercentageAboveBaseCapacity": 100,
        "SpotAllocationStrategy": "lowest-price",
        "SpotInstancePools": 2,
    }
    spec = shown["MixedInstancesPolicy"]["LaunchTemplate"]["LaunchTemplateSpecification"]
    assert spec == {"LaunchTemplateId": scene.template, "LaunchTemplateName": "web", "Version": "$Latest"}


@pytest.mark.parametrize(
    ("types", "distribution", "message"),
    [
        (("t3.micro",), {"SpotAllocationStrategy": "dearest"}, "SpotAllocationStrategy has to be"),
        (("t3.micro",), {"OnDemandPercentageAboveBaseCapacity": 101}, "between 0 and 100"),
        (("t3.micro",), {"SpotMaxPrice": "much"}, "SpotMaxPrice"),
        (("t3.micro", "t3.micro"), {}, "in one override only"),
        (("t9.mega",), {}, "You must use a valid fully-formed launch template"),
        (("t4g.micro",), {}, "architecture"),
    ],
)
def test_what_cannot_be_is_refused(
    scene: Scene, types: tuple[str, ...], distribution: dict[str, Any], message: str
) -> None:
    refused = scene.refusal(
        "CreateAutoScalingGroup",
        AutoScalingGroupName="web",
        MinSize=0,
        MaxSize=1,
        VPCZoneIdentifier=scene.subnets[0],
        MixedInstancesPolicy=policy(scene, *types, **distribution),
    )
    assert refused.code == "ValidationError" and message in refused.message


def test_the_pools_of_the_cheapest_strategy_are_shown(scene: Scene) -> None:
    """`SpotInstancePools ... Valid only when the SpotAllocationStrategy is lowest-price ... Default: 2`
    (API_InstancesDistribution)"""
    create(scene, 0, 2, policy(scene, "t3.micro"))

    def distribution() -> dict[str, Any]:
        found: dict[str, Any] = scene.group["MixedInstancesPolicy"]["InstancesDistribution"]
        return found

    assert distribution() == {
        "OnDemandAllocationStrategy": "prioritized",
        "OnDemandBaseCapacity": 0,
        "OnDemandPercentageAboveBaseCapacity": 100,
        "SpotAllocationStrategy": "lowest-price",
        "SpotInstancePools": 2,
    }
    other = policy(scene, "t3.micro", SpotAllocationStrategy="capacity-optimized")
    scene.on("UpdateAutoScalingGroup", MixedInstancesPolicy=other)
    assert "SpotInstancePools" not in distribution()
    back = policy(scene, "t3.micro", SpotAllocationStrategy="lowest-price", SpotInstancePools=3)
    scene.on("UpdateAutoScalingGroup", MixedInstancesPolicy=back)
    assert distribution()["SpotInstancePools"] == 3
