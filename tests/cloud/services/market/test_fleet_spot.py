"""Fleets on the market: which pools they take, what they do when there is no room, and when an instance is to go."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from ec2_fixtures import Cloud
from fleet_scene import active, alive, described, history, make, make_template, resize, step
from market_scene import Scene

from skylift.cloud.services.ec2.pool import Pool, PoolOffer, ranked

A, B = "us-east-1a", "us-east-1b"
SPOT = {"DefaultTargetCapacityType": "spot"}
MICRO_A = {"InstanceType": "t3.micro", "AvailabilityZone": A}
SMALL_B = {"InstanceType": "t3.small", "AvailabilityZone": B}


@pytest.fixture
def market(cloud: Cloud) -> Scene:
    make_template(cloud)
    return Scene(cloud)


def spot_fleet(cloud: Cloud, total: int, *overrides: dict[str, Any], **params: Any) -> str:
    return make(cloud, total, *overrides, TargetCapacitySpecification={"TotalTargetCapacity": total, **SPOT}, **params)


def instant(cloud: Cloud, total: int, *overrides: dict[str, Any], **options: Any) -> dict[str, Any]:
    fleet_id = spot_fleet(cloud, total, *overrides, Type="instant", SpotOptions=options)
    return described(cloud, fleet_id)


def room(cloud: Cloud, kind: str, zone: str, count: int) -> None:
    cloud.control("PutCapacity", InstanceType=kind, AvailabilityZone=zone, MarketType="spot", InstanceCount=count)


def run(cloud: Cloud, fleet_id: str) -> list[str]:
    """Its loop steps, and what is launched runs."""
    step(cloud)
    for instance_id in alive(cloud):
        if cloud.row(instance_id).state == "pending":
            cloud.observe(instance_id, "running")
    return active(cloud, fleet_id)


def pool(kind: str, zone: str = A, weight: float = 1, priority: float = math.inf) -> Pool:
    return Pool(kind, zone, weight, priority, None, {}, {})


@pytest.mark.parametrize(
    ("strategy", "options", "order"),
    [
        ("lowest-price", {}, "bcda"),
        ("lowest-price", {"InstancePoolsToUseCount": 2}, "cbda"),
        ("diversified", {}, "cdab"),
        ("capacity-optimized", {}, "adcb"),
        ("capacity-optimized-prioritized", {}, "adcb"),
        ("price-capacity-optimized", {}, "cdab"),
    ],
)
def test_the_order_of_the_pools(strategy: str, options: dict[str, Any], order: str) -> None:
    offers = {
        "a": PoolOffer(pool("a"), room=math.inf, price=None, units=0),
        "b": PoolOffer(pool("b"), room=1, price=0.01, units=2),
        "c": PoolOffer(pool("c"), room=5, price=0.02, units=0),
        "d": PoolOffer(pool("d", priority=1), room=9, price=0.03, units=0),
    }
    found = ranked("spot", {"AllocationStrategy": strategy, **options}, offers.values(), needed=3)
    assert "".join(offer.pool.type for offer in found) == order


def test_the_order_on_demand() -> None:
    offers = [
        PoolOffer(pool("dear", priority=0), math.inf, 2.0, 0),
        PoolOffer(pool("cheap"), math.inf, 1.0, 0),
        PoolOffer(pool("heavy", weight=4, priority=1), math.inf, 3.0, 0),
    ]

    def order(strategy: str, needed: float) -> list[str]:
        found = ranked("on-demand", {"AllocationStrategy": strategy}, offers, needed)
        return [offer.pool.type for offer in found]

    assert order("prioritized", 8) == ["dear", "heavy", "cheap"]
    assert order("lowest-price", 8) == ["heavy", "cheap", "dear"], "by the unit"
    assert order("lowest-price", 0.5) == ["cheap", "dear", "heavy"], "by the instance: one of any is enough"


def test_an_interrupted_instance_is_replaced_from_another_pool(market: Scene) -> None:
    cloud = market.cloud
    fleet_id = spot_fleet(cloud, 1, MICRO_A, SMALL_B)
    (first,) = run(cloud, fleet_id)
    assert (cloud.row(first).type, cloud.row(first).zone) == ("t3.micro", A), "the cheapest"
    (shown,) = cloud.call("DescribeFleetInstances", FleetId=fleet_id)["ActiveInstances"]
    assert market.request(shown["SpotInstanceRequestId"])["Type"] == "one-time"
    room(cloud, "t3.micro", A, 0)
    cloud.control("InterruptInstance", InstanceId=first, Seconds=120)
    market.settle()
    assert run(cloud, fleet_id) == [first], "it goes on until its time has come"
    cloud.clock.forward(seconds=120)
    market.settle()
    assert cloud.row(first).state == "shutting-down"
    assert run(cloud, fleet_id) == []
    cloud.observe(first, "terminated")
    (second,) = run(cloud, fleet_id)
    assert (cloud.row(second).type, cloud.row(second).zone) == ("t3.small", B)
    market.settle()
    assert alive(cloud) == [second], "its request asks for nothing any more"


def test_an_instance_that_heeds_its_notice_at_once_is_replaced_at_once(market: Scene) -> None:
    cloud = market.cloud
    fleet_id = spot_fleet(cloud, 1, MICRO_A)
    (first,) = run(cloud, fleet_id)
    cloud.control("InterruptInstance", InstanceId=first, Seconds=120)
    market.settle()
    cloud.clock.forward(seconds=5)
    with cloud.database.write() as tx:
        tx.save(replace(cloud.row(first), state_reason_code="Client.InstanceInitiatedShutdown"))
    cloud.observe(first, "terminated")
    assert len(run(cloud, fleet_id)) == 1


def test_without_room_it_says_so_and_tries_again(market: Scene) -> None:
    cloud = market.cloud
    for kind, zone in (("t3.micro", A), ("t3.small", B)):
        room(cloud, kind, zone, 0)
    fleet_id = spot_fleet(cloud, 2, MICRO_A, SMALL_B)
    (pause,) = step(cloud)
    assert round(pause) == 1
    assert described(cloud, fleet_id)["ActivityStatus"] == "error"
    cloud.clock.forward(seconds=1)
    (pause,) = step(cloud)
    assert round(pause) == 2
    assert history(cloud, fleet_id) == ["submitted", "active", "allLaunchSpecsTemporarilyBlacklisted"]
    room(cloud, "t3.small", B, 1)
    cloud.clock.forward(seconds=2)
    (got,) = run(cloud, fleet_id)
    assert cloud.row(got).type == "t3.small"
    assert described(cloud, fleet_id)["FulfilledCapacity"] == 1.0


def test_why_an_instant_fleet_has_less(market: Scene) -> None:
    cloud = market.cloud
    room(cloud, "t3.small", B, 1)
    fleet = instant(cloud, 3, {**MICRO_A, "MaxPrice": "0.002"}, SMALL_B)
    assert [(error["ErrorCode"], error["Lifecycle"]) for error in fleet["Errors"]] == [
        ("SpotMaxPriceTooLow", "spot"),
        ("InsufficientInstanceCapacity", "spot"),
    ]
    (group,) = fleet["Instances"]
    assert (group["InstanceType"], group["Lifecycle"], len(group["InstanceIds"])) == ("t3.small", "spot", 1)


def test_an_instant_fleet_of_dedicated_instances(market: Scene) -> None:
    cloud = market.cloud
    target = {"TotalTargetCapacity": 1, "DefaultTargetCapacityType": "on-demand"}
    override = {**MICRO_A, "InstanceType": "m5.large", "Placement": {"Tenancy": "dedicated"}}
    fleet_id = make(cloud, 1, override, Type="instant", TargetCapacitySpecification=target)
    (group,) = described(cloud, fleet_id)["Instances"]
    assert cloud.instance(group["InstanceIds"][0])["Placement"]["Tenancy"] == "dedicated"


def test_of_a_single_zone_there_is_all_or_nothing(market: Scene) -> None:
    cloud = market.cloud
    room(cloud, "t3.micro", A, 1)
    room(cloud, "t3.micro", B, 2)
    overrides = (MICRO_A, {**MICRO_A, "AvailabilityZone": B})
    fleet = instant(cloud, 3, *overrides, SingleAvailabilityZone=True, MinTargetCapacity=3)
    assert fleet["Instances"] == []
    assert alive(cloud) == []
    fleet = instant(cloud, 3, *overrides, SingleAvailabilityZone=True, MinTargetCapacity=2)
    (group,) = fleet["Instances"]
    assert len(group["InstanceIds"]) == 2
    assert {cloud.row(one).zone for one in group["InstanceIds"]} == {B}


def test_some_on_demand_the_rest_spot(market: Scene) -> None:
    cloud = market.cloud
    target = {"TotalTargetCapacity": 3, "OnDemandTargetCapacity": 1, **SPOT}
    fleet_id = make(cloud, 3, TargetCapacitySpecification=target)
    found = run(cloud, fleet_id)
    assert sorted(cloud.row(one).spot_request_id is not None for one in found) == [False, True, True]
    fleet = described(cloud, fleet_id)
    assert (fleet["FulfilledCapacity"], fleet["FulfilledOnDemandCapacity"]) == (3.0, 1.0)


def test_want_on_one_market_keeps_the_other_one_from_nothing(market: Scene) -> None:
    cloud = market.cloud
    cloud.control("PutQuota", InstanceClass="standard", MarketType="on-demand", VCpus=0)
    target = {"TotalTargetCapacity": 3, "OnDemandTargetCapacity": 1, **SPOT}
    fleet_id = make(cloud, 3, TargetCapacitySpecification=target)
    first, _ = run(cloud, fleet_id)
    fleet = described(cloud, fleet_id)
    assert (fleet["FulfilledCapacity"], fleet["FulfilledOnDemandCapacity"]) == (2.0, 0.0)
    assert fleet["ActivityStatus"] == "error"
    cloud.observe(first, "terminated")
    cloud.clock.forward(minutes=1)
    assert len(run(cloud, fleet_id)) == 2


def test_a_request_is_made_once_and_not_maintained(market: Scene) -> None:
    cloud = market.cloud
    room(cloud, "t3.micro", A, 1)
    fleet_id = spot_fleet(cloud, 2, MICRO_A, Type="request")
    (first,) = run(cloud, fleet_id)
    room(cloud, "t3.micro", A, 9)
    cloud.clock.forward(minutes=1)
    assert len(run(cloud, fleet_id)) == 2
    cloud.observe(first, "terminated")
    cloud.clock.forward(minutes=1)
    assert len(run(cloud, fleet_id)) == 1
    resized = {"TotalTargetCapacity": 3}
    assert cloud.code("ModifyFleet", FleetId=fleet_id, TargetCapacitySpecification=resized) == (
        "InvalidParameterCombination"
    )


def test_units_are_filled_up_to_the_next_whole_instance(market: Scene) -> None:
    cloud = market.cloud
    fleet_id = spot_fleet(cloud, 5, {**MICRO_A, "WeightedCapacity": 2})
    assert len(run(cloud, fleet_id)) == 3
    assert described(cloud, fleet_id)["FulfilledCapacity"] == 6.0
    resize(cloud, fleet_id, 3)
    run(cloud, fleet_id)
    cloud.clock.forward(minutes=2)
    market.settle()
    assert len(active(cloud, fleet_id)) == 2, "one more would be too few"


def test_what_is_too_much_is_told_two_minutes_before(market: Scene) -> None:
    cloud = market.cloud
    fleet_id = spot_fleet(cloud, 2)
    first, second = run(cloud, fleet_id)
    resize(cloud, fleet_id, 1)
    for _ in range(2):
        assert run(cloud, fleet_id) == [first, second]
    assert described(cloud, fleet_id)["ActivityStatus"] == "pending_termination"
    cloud.clock.forward(minutes=2)
    market.settle()
    assert cloud.row(second).state == "shutting-down"
    cloud.observe(second, "terminated")
    assert run(cloud, fleet_id) == [first]
    assert described(cloud, fleet_id)["FleetState"] == "active"


@pytest.mark.parametrize("delay", [None, 300])
def test_capacity_rebalancing_launches_before_the_end(market: Scene, delay: int | None) -> None:
    cloud = market.cloud
    strategy = (
        {"ReplacementStrategy": "launch-before-terminate", "TerminationDelay": delay}
        if delay
        else {"ReplacementStrategy": "launch"}
    )
    fleet_id = spot_fleet(cloud, 1, SpotOptions={"MaintenanceStrategies": {"CapacityRebalance": strategy}})
    (first,) = run(cloud, fleet_id)
    cloud.control("RecommendRebalance", InstanceId=first)
    _, second = run(cloud, fleet_id)
    assert run(cloud, fleet_id) == [first, second], "once only"
    cloud.clock.forward(seconds=300)
    run(cloud, fleet_id)
    assert cloud.row(first).state == ("shutting-down" if delay else "running")
    cloud.observe(first, "terminated")
    assert run(cloud, fleet_id) == [second]


def test_a_notice_that_is_withdrawn_leaves_nobody_uncounted(market: Scene) -> None:
    cloud = market.cloud
    fleet_id = spot_fleet(cloud, 2)
    first, second = run(cloud, fleet_id)
    resize(cloud, fleet_id, 1)
    run(cloud, fleet_id)
    # The fleet that is to be smaller gives its notice again.
    cloud.control("WithdrawInterruption", InstanceId=second)
    cloud.clock.forward(minutes=1)
    assert run(cloud, fleet_id) == [first, second]
    (again,) = cloud.control("DescribeInterruptions")["Interruptions"]
    assert (again["InstanceId"], again["Time"]) == (second, cloud.clock.now + timedelta(minutes=2))


def test_a_false_alarm_gives_the_place_back(market: Scene) -> None:
    cloud = market.cloud
    rebalance = {"MaintenanceStrategies": {"CapacityRebalance": {"ReplacementStrategy": "launch"}}}
    fleet_id = spot_fleet(cloud, 1, SpotOptions=rebalance)
    (first,) = run(cloud, fleet_id)
    cloud.control("RecommendRebalance", InstanceId=first)
    _, second = run(cloud, fleet_id)
    cloud.control("WithdrawInterruption", InstanceId=first)
    cloud.call("TerminateInstances", InstanceIds=[second])
    cloud.observe(second, "terminated")
    assert run(cloud, fleet_id) == [first], "there is one, and one was asked for"


def test_without_it_a_recommendation_changes_nothing(market: Scene) -> None:
    cloud = market.cloud
    fleet_id = spot_fleet(cloud, 1)
    (first,) = run(cloud, fleet_id)
    cloud.control("RecommendRebalance", InstanceId=first)
    assert run(cloud, fleet_id) == [first]


def test_a_market_in_the_template_is_refused(market: Scene) -> None:
    cloud = market.cloud
    data = {"ImageId": cloud.image_id, "InstanceMarketOptions": {"MarketType": "spot"}}
    cloud.call("CreateLaunchTemplate", LaunchTemplateName="spot", LaunchTemplateData=data)
    spec = {"LaunchTemplateName": "spot", "Version": "1"}
    refused = cloud.refusal(
        "CreateFleet",
        LaunchTemplateConfigs=[{"LaunchTemplateSpecification": spec}],
        TargetCapacitySpecification={"TotalTargetCapacity": 1, **SPOT},
    )
    assert refused.code == "InvalidParameterCombination"
