"""Spot instances by RunInstances and by RequestSpotInstances: bought, refused, interrupted, back again."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from ec2_fixtures import Clock, Cloud, filters, tagged
from market_scene import SPOT, STOPS, Scene

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.services.ec2.instance import forget_terminated
from skylift.cloud.store.market import forget_requests


@pytest.fixture
def scene(cloud: Cloud) -> Scene:
    return Scene(cloud)


def test_a_spot_instance_says_what_it_is(scene: Scene) -> None:
    shown = scene.cloud.run(
        InstanceMarketOptions={"MarketType": "spot", "SpotOptions": {"MaxPrice": "0.008"}},
        TagSpecifications=[*tagged("instance", Name="a"), *tagged("spot-instances-request", Name="b")],
    )
    assert shown["InstanceLifecycle"] == "spot"
    request = scene.of(shown["InstanceId"])
    assert (request["State"], request["Status"]["Code"], request["Type"]) == ("active", "fulfilled", "one-time")
    assert (request["SpotPrice"], request["InstanceId"]) == ("0.008000", shown["InstanceId"])
    assert request["LaunchedAvailabilityZone"] == shown["Placement"]["AvailabilityZone"]
    assert request["Tags"] == [{"Key": "Name", "Value": "b"}]
    found = scene.cloud.call("DescribeInstances", Filters=filters(instance_lifecycle="spot"))
    assert found["Reservations"][0]["Instances"][0]["Tags"] == [{"Key": "Name", "Value": "a"}]
    assert "InstanceLifecycle" not in scene.cloud.run()


def test_a_request_shows_the_zone_that_it_is_for(scene: Scene) -> None:
    """Recorded on AWS with a subnet: test_ec2_propagate_spot_tags in cloud-custodian's tests/data/placebo."""
    subnet = scene.cloud.call("DescribeSubnets")["Subnets"][1]
    (request,) = scene.ask(launch={"SubnetId": subnet["SubnetId"]})
    shown = scene.request(request)["LaunchSpecification"]
    assert (shown["SubnetId"], shown["Placement"]) == (
        subnet["SubnetId"],
        {"AvailabilityZone": subnet["AvailabilityZone"]},
    )
    (anywhere,) = scene.ask()
    assert "Placement" not in scene.request(anywhere)["LaunchSpecification"]
    scene.settle()
    chosen = scene.request(anywhere)
    assert chosen["LaunchSpecification"]["Placement"] == {"AvailabilityZone": chosen["LaunchedAvailabilityZone"]}


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ({"SpotOptions": {}}, "MissingParameter", "MarketType"),
        ({"MarketType": "capacity-block"}, "UnsupportedOperation", "no market 'capacity-block'"),
        ({**SPOT, "SpotOptions": {"MaxPrice": "much"}}, "InvalidParameterValue", "'much'"),
        ({**SPOT, "SpotOptions": {"MaxPrice": "0.0001"}}, "InvalidParameterValue", "at least 0.001"),
        ({**SPOT, "SpotOptions": {"MaxPrice": "0.002"}}, "SpotMaxPriceTooLow", "Your Spot request price of 0.002 is"),
        ({**SPOT, "SpotOptions": {"SpotInstanceType": "persistent"}}, "InvalidParameterCombination", "stop"),
        (
            {**SPOT, "SpotOptions": {"InstanceInterruptionBehavior": "stop"}},
            "InvalidParameterCombination",
            "The request with type 'one-time' is not supported",
        ),
        (
            {**SPOT, "SpotOptions": {"InstanceInterruptionBehavior": "hibernate"}},
            "UnsupportedOperation",
            "InstanceInterruptionBehavior=hibernate",
        ),
    ],
)
def test_what_a_launch_cannot_ask_of_the_market(scene: Scene, options: dict[str, Any], code: str, said: str) -> None:
    refused = scene.cloud.refusal(
        "RunInstances",
        ImageId=scene.cloud.image_id,
        InstanceType="t3.micro",
        MinCount=1,
        MaxCount=1,
        InstanceMarketOptions=options,
    )
    assert refused.code == code
    assert said in refused.message
    assert scene.live() == []
    assert scene.cloud.call("DescribeSpotInstanceRequests") == {"SpotInstanceRequests": []}


@pytest.mark.parametrize(
    ("more", "market", "code"),
    [
        ({"DisableApiTermination": True}, SPOT, "UnsupportedOperation"),
        ({"InstanceInitiatedShutdownBehavior": "stop"}, SPOT, "InvalidParameterCombination"),
        ({"Placement": {"GroupName": "g"}}, STOPS, "InvalidParameterCombination"),
    ],
)
def test_what_a_spot_instance_cannot_be(scene: Scene, more: dict[str, Any], market: dict[str, Any], code: str) -> None:
    wanted = {"ImageId": scene.cloud.image_id, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
    assert scene.cloud.code("RunInstances", **wanted, **more, InstanceMarketOptions=market) == code


def test_what_a_spot_instance_cannot_become(scene: Scene) -> None:
    cloud, instance = scene.cloud, scene.launch()
    protected = cloud.refusal("ModifyInstanceAttribute", InstanceId=instance, DisableApiTermination={"Value": True})
    assert "Termination protection" in protected.message
    stopping = {"InstanceId": instance, "InstanceInitiatedShutdownBehavior": {"Value": "stop"}}
    assert cloud.code("ModifyInstanceAttribute", **stopping) == "InvalidParameterCombination"


def test_the_subnet_that_is_asked_about_is_the_one_that_is_used(scene: Scene) -> None:
    cloud = scene.cloud
    wanted = {"ImageId": cloud.image_id, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
    for zone in ("us-east-1a", "us-east-1b"):
        cloud.control("PutCapacity", InstanceType="t3.micro", AvailabilityZone=zone, InstanceCount=0)
    asked = [one.resource for one in cloud.checks("RunInstances", **wanted) if ":subnet/" in one.resource]
    used = cloud.run()["SubnetId"]
    assert [resource.rpartition("/")[2] for resource in asked] == [used]


def test_a_launch_gets_what_there_is(scene: Scene) -> None:
    cloud = scene.cloud
    wanted = {"ImageId": cloud.image_id, "InstanceType": "t3.micro"}
    cloud.control("PutCapacity", InstanceType="t3.micro", InstanceCount=2)
    assert len(cloud.call("RunInstances", **wanted, MinCount=1, MaxCount=9)["Instances"]) == 2
    # Left to EC2, the next one goes to another zone.
    assert cloud.run()["Placement"]["AvailabilityZone"] == "us-east-1b"
    refused = cloud.refusal(
        "RunInstances", **wanted, MinCount=1, MaxCount=1, Placement={"AvailabilityZone": "us-east-1a"}
    )
    assert (refused.code, refused.status) == ("InsufficientInstanceCapacity", 500)
    assert "choosing us-east-1b, us-east-1c" in refused.message
    cloud.control("PutQuota", InstanceClass="standard", MarketType="on-demand", VCpus=6)
    assert cloud.code("RunInstances", **wanted, MinCount=1, MaxCount=1) == "VcpuLimitExceeded"
    assert scene.launch()


def test_the_cheapest_zone_is_taken_first(scene: Scene) -> None:
    scene.price("0.001", AvailabilityZone="us-east-1c")
    assert scene.cloud.run(InstanceMarketOptions=SPOT)["Placement"]["AvailabilityZone"] == "us-east-1c"


def test_a_price_above_the_maximum_ends_an_instance_two_minutes_later(scene: Scene) -> None:
    instance = scene.launch()
    scene.price("1.5")
    scene.settle()
    assert (scene.of(instance)["State"], scene.of(instance)["Status"]["Code"]) == ("active", "marked-for-termination")
    (told,) = scene.cloud.control("DescribeInterruptions")["Interruptions"]
    assert (told["InstanceAction"], told["Time"] - told["NoticeTime"]) == ("terminate", timedelta(minutes=2))
    assert scene.woken == [pytest.approx(120.05)]
    scene.cloud.clock.forward(seconds=119)
    scene.settle()
    assert scene.cloud.instance(instance)["State"]["Name"] == "running"
    scene.cloud.clock.forward(seconds=1)
    scene.settle()
    ending = scene.cloud.instance(instance)
    assert ending["State"]["Name"] == "shutting-down"
    assert ending["StateReason"] == {
        "Code": "Server.SpotInstanceTermination",
        "Message": "Server.SpotInstanceTermination: Spot instance termination",
    }
    assert ending["StateTransitionReason"] == "Service initiated (2026-11-25 12:02:00 GMT)"
    scene.cloud.observe(instance, "terminated")
    scene.settle()
    assert (scene.of(instance)["State"], scene.of(instance)["Status"]["Code"]) == (
        "closed",
        "instance-terminated-by-price",
    )
    assert scene.live() == []


def test_one_who_pays_enough_stays(scene: Scene) -> None:
    rich = scene.cloud.run(InstanceMarketOptions={**SPOT, "SpotOptions": {"MaxPrice": "2"}})["InstanceId"]
    scene.price("1.5")
    scene.settle()
    assert scene.cloud.control("DescribeInterruptions") == {"Interruptions": []}
    assert scene.of(rich)["Status"]["Code"] == "fulfilled"


def test_an_instance_that_stops_is_started_again_when_it_is_cheap_enough(scene: Scene) -> None:
    cloud = scene.cloud
    instance = cloud.run(InstanceMarketOptions=STOPS)["InstanceId"]
    cloud.observe(instance, "running")
    scene.price("1.5")
    scene.settle()
    assert scene.of(instance)["Status"]["Code"] == "marked-for-stop"
    cloud.clock.forward(minutes=2)
    scene.settle()
    assert cloud.instance(instance)["State"]["Name"] == "stopping"
    cloud.observe(instance, "stopped")
    scene.settle()
    assert cloud.instance(instance)["StateReason"]["Code"] == "Server.SpotInstanceShutdown"
    assert scene.of(instance)["Status"]["Code"] == "instance-stopped-by-price"
    assert cloud.code("StartInstances", InstanceIds=[instance]) == "IncorrectSpotRequestState"
    cloud.control("ResetSpotPrice", InstanceType="t3.micro")
    scene.settle()
    assert cloud.instance(instance)["State"]["Name"] == "pending"
    assert scene.of(instance)["Status"]["Code"] == "fulfilled"
    assert cloud.control("DescribeInterruptions") == {"Interruptions": []}


def test_a_request_stays_as_open_as_it_was_to_the_zone(scene: Scene) -> None:
    cloud = scene.cloud
    first = cloud.run(InstanceMarketOptions=STOPS)
    assert first["Placement"]["AvailabilityZone"] == "us-east-1a"
    cloud.control("PutCapacity", InstanceType="t3.micro", AvailabilityZone="us-east-1a", InstanceCount=0)
    cloud.call("TerminateInstances", InstanceIds=[first["InstanceId"]])
    cloud.observe(first["InstanceId"], "terminated")
    scene.settle()
    (second,) = scene.live()
    assert cloud.instance(second)["Placement"]["AvailabilityZone"] == "us-east-1b"


def test_only_a_persistent_request_lets_its_instance_be_stopped(scene: Scene) -> None:
    cloud = scene.cloud
    once = scene.launch()
    assert "one-time" in cloud.refusal("StopInstances", InstanceIds=[once]).message
    assert cloud.row(once).shutdown_behavior == "terminate"
    again = cloud.run(InstanceMarketOptions=STOPS)["InstanceId"]
    cloud.observe(again, "running")
    cloud.call("StopInstances", InstanceIds=[again])
    cloud.observe(again, "stopped")
    scene.settle()
    assert scene.of(again)["Status"]["Code"] == "instance-stopped-by-user"
    assert cloud.instance(again)["State"]["Name"] == "stopped"
    cloud.call("StartInstances", InstanceIds=[again])
    scene.settle()
    assert scene.of(again)["State"] == "active"


def test_a_stopped_instance_ends_with_its_request(scene: Scene) -> None:
    cloud = scene.cloud
    instance = cloud.run(InstanceMarketOptions=STOPS)["InstanceId"]
    cloud.observe(instance, "running")
    request = cloud.instance(instance)["SpotInstanceRequestId"]
    cloud.call("StopInstances", InstanceIds=[instance])
    cloud.observe(instance, "stopped")
    scene.settle()
    cloud.call("CancelSpotInstanceRequests", SpotInstanceRequestIds=[request])
    scene.settle()
    assert cloud.instance(instance)["State"]["Name"] == "shutting-down"
    assert scene.state(request) == ("cancelled", "instance-terminated-by-service")


def test_a_notice_by_hand_can_be_taken_back(scene: Scene) -> None:
    cloud, instance = scene.cloud, scene.launch()
    cloud.control("RecommendRebalance", InstanceId=instance)
    cloud.clock.forward(seconds=5)
    told = cloud.control("InterruptInstance", InstanceId=instance, Seconds=30)["Interruption"]
    assert told["Time"] - told["NoticeTime"] == timedelta(seconds=30)
    assert told["RebalanceTime"] == told["NoticeTime"] - timedelta(seconds=5)
    cloud.control("WithdrawInterruption", InstanceId=instance)
    cloud.clock.forward(seconds=30)
    scene.settle()
    assert cloud.instance(instance)["State"]["Name"] == "running"
    assert scene.of(instance)["Status"]["Code"] == "fulfilled"
    cloud.control("InterruptInstance", InstanceId=instance, Seconds=0)
    scene.settle()
    assert cloud.instance(instance)["State"]["Name"] == "shutting-down"
    cloud.observe(instance, "terminated")
    scene.settle()
    assert scene.of(instance)["Status"]["Code"] == "instance-terminated-no-capacity"


def test_requests_are_fulfilled_as_soon_as_the_market_allows(scene: Scene) -> None:
    cloud = scene.cloud
    cloud.control("PutCapacity", InstanceType="t3.micro", InstanceCount=0)
    scene.price("0.02")
    first, second = scene.ask(2, SpotPrice="0.01")
    assert scene.state(first) == ("open", "pending-evaluation")
    scene.settle()
    assert scene.state(first) == ("open", "price-too-low")
    assert "0.01 is lower than the minimum" in scene.request(first)["Status"]["Message"]
    scene.price("0.005")
    scene.settle()
    assert scene.state(first) == ("open", "capacity-not-available")
    cloud.control("PutCapacity", InstanceType="t3.micro", AvailabilityZone="us-east-1b", InstanceCount=1)
    scene.settle()
    assert (scene.state(first), scene.state(second)) == (("active", "fulfilled"), ("open", "capacity-not-available"))
    (running,) = scene.live()
    assert cloud.instance(running)["SpotInstanceRequestId"] == first
    cloud.call("CancelSpotInstanceRequests", SpotInstanceRequestIds=[first, second])
    assert scene.state(first) == ("cancelled", "request-canceled-and-instance-running")
    assert scene.state(second) == ("cancelled", "canceled-before-fulfillment")
    cloud.call("TerminateInstances", InstanceIds=[running])
    cloud.observe(running, "terminated")
    scene.settle()
    assert scene.state(first) == ("cancelled", "instance-terminated-by-user")
    assert scene.live() == []


def test_a_persistent_request_brings_another_instance_each_time(scene: Scene) -> None:
    cloud = scene.cloud
    (request,) = scene.ask(Type="persistent")
    scene.settle()
    seen = set()
    for _ in range(3):
        (instance,) = scene.live()
        seen.add(instance)
        cloud.observe(instance, "running")
        cloud.control("InterruptInstance", InstanceId=instance, Seconds=0)
        scene.settle()
        assert scene.live() == []
        cloud.observe(instance, "terminated")
        scene.settle()
        assert scene.state(request) == ("active", "fulfilled")
    assert len(seen | set(scene.live())) == 4


def test_a_request_that_cannot_be_launched_waits_longer_each_time(scene: Scene) -> None:
    cloud = scene.cloud
    (request,) = scene.ask(Type="persistent")
    waits = []
    for _ in range(3):
        scene.settle()
        (instance,) = scene.live()
        fail(cloud, instance)
        scene.settle()
        assert scene.state(request) == ("open", "system-error")
        waits.append(round(scene.woken[0]))
        cloud.clock.forward(seconds=scene.woken[0])
    assert waits == [20, 40, 80]


def fail(cloud: Cloud, instance: str) -> None:
    """As the loop of instances writes down that one could not be made."""
    from dataclasses import replace

    cloud.observe(instance, "terminated")
    with cloud.database.write() as tx:
        tx.save(replace(cloud.row(instance), desired="terminated", state_reason_code="Server.InternalError"))


def test_a_request_has_its_time(scene: Scene) -> None:
    cloud = scene.cloud
    start, end = cloud.clock.now + timedelta(minutes=5), cloud.clock.now + timedelta(minutes=10)
    cloud.control("PutCapacity", InstanceType="t3.micro", InstanceCount=0)
    (request,) = scene.ask(ValidFrom=start, ValidUntil=end)
    scene.settle()
    assert scene.state(request) == ("open", "not-scheduled-yet")
    cloud.clock.forward(minutes=5)
    scene.settle()
    assert scene.state(request) == ("open", "capacity-not-available")
    cloud.clock.forward(minutes=5)
    scene.settle()
    assert scene.state(request) == ("cancelled", "schedule-expired")
    cloud.control("ResetCapacity", InstanceType="t3.micro")
    scene.settle()
    assert scene.live() == []


def test_a_request_that_nothing_can_come_of_fails(scene: Scene) -> None:
    cloud = scene.cloud
    cloud.control("PutCapacity", InstanceType="t3.micro", InstanceCount=0)
    vpc = cloud.default("vpc")["VpcId"]
    group = cloud.call("CreateSecurityGroup", GroupName="mine", Description="d", VpcId=vpc)["GroupId"]
    (request,) = scene.ask(launch={"SecurityGroupIds": [group]})
    assert scene.request(request)["LaunchSpecification"]["SecurityGroups"] == [{"GroupId": group, "GroupName": "mine"}]
    cloud.call("DeleteSecurityGroup", GroupId=group)
    scene.settle()
    assert scene.state(request) == ("failed", "bad-parameters")
    assert "InvalidGroup.NotFound" in scene.request(request)["Fault"]["Message"]
    assert cloud.code("RequestSpotInstances", LaunchSpecification={"InstanceType": "t3.micro"}) == "MissingParameter"
    asked = {"ImageId": "ami-0123456789abcdef0", "InstanceType": "t3.micro"}
    assert cloud.code("RequestSpotInstances", LaunchSpecification=asked) == "InvalidAMIID.NotFound"
    assert cloud.code("DescribeSpotInstanceRequests", SpotInstanceRequestIds=["sir-01234567"]) == (
        "InvalidSpotInstanceRequestID.NotFound"
    )


def test_a_request_shows_its_launch_as_it_was_asked_for_and_is_launched_so(scene: Scene) -> None:
    cloud = scene.cloud
    subnet = cloud.default("subnet")
    address = subnet["CidrBlock"].replace(".0/20", ".77")
    asked = {
        "KeyName": cloud.call("CreateKeyPair", KeyName="mine")["KeyName"],
        "BlockDeviceMappings": [
            {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 9, "VolumeType": "gp3", "DeleteOnTermination": False}}
        ],
        "NetworkInterfaces": [
            {
                "DeviceIndex": 0,
                "SubnetId": subnet["SubnetId"],
                "PrivateIpAddresses": [
                    {"PrivateIpAddress": subnet["CidrBlock"].replace(".0/20", ".77"), "Primary": True}
                ],
                "SecondaryPrivateIpAddressCount": 0,
                "AssociatePublicIpAddress": False,
                "Description": "the only one",
                "DeleteOnTermination": True,
            }
        ],
        "Placement": {"AvailabilityZone": subnet["AvailabilityZone"]},
    }
    (request,) = scene.ask(launch=asked)
    shown = scene.request(request)["LaunchSpecification"]
    assert {name: shown[name] for name in asked} == asked
    scene.settle()
    instance = cloud.instance(scene.request(request)["InstanceId"])
    assert (instance["KeyName"], instance["PrivateIpAddress"]) == ("mine", address)
    assert "PublicIpAddress" not in instance
    assert 9 in [volume["Size"] for volume in cloud.call("DescribeVolumes")["Volumes"]]


def test_what_stops_is_in_no_placement_group(scene: Scene) -> None:
    """Nobody looks whether there is room in it when the market starts the instance again."""
    scene.cloud.call("CreatePlacementGroup", GroupName="apart", Strategy="spread")
    refusal = scene.cloud.refusal(
        "RequestSpotInstances",
        Type="persistent",
        InstanceInterruptionBehavior="stop",
        LaunchSpecification={
            "ImageId": scene.cloud.image_id,
            "InstanceType": "t3.micro",
            "Placement": {"GroupName": "apart"},
        },
    )
    assert (refusal.code, "GroupName" in refusal.message) == ("InvalidParameterCombination", True)


def test_what_would_be_ignored_is_refused(scene: Scene) -> None:
    """Groups whose instances start and end together there are none here."""
    asked = {"ImageId": scene.cloud.image_id, "InstanceType": "t3.micro"}
    for name in ("LaunchGroup", "AvailabilityZoneGroup"):
        refusal = scene.cloud.refusal("RequestSpotInstances", LaunchSpecification=asked, **{name: "together"})
        assert (refusal.code, name in refusal.message) == ("UnsupportedOperation", True)


def test_requests_beyond_the_quota_are_refused(scene: Scene) -> None:
    cloud = scene.cloud
    cloud.control("PutQuota", InstanceClass="standard", MarketType="spot", VCpus=4)
    scene.ask(2)
    scene.settle()
    wanted = {"ImageId": cloud.image_id, "InstanceType": "t3.micro"}
    assert cloud.code("RequestSpotInstances", LaunchSpecification=wanted) == "MaxSpotInstanceCountExceeded"
    (quota,) = cloud.control("DescribeQuotas")["Quotas"]
    assert (quota["VCpus"], quota["InUse"]) == (4, 4)
    cloud.control("PutCapacity", InstanceType="*", AvailabilityZone="us-east-1a", InstanceCount=9)
    (room,) = cloud.control("DescribeCapacity")["Capacities"]
    assert (room["InstanceCount"], room["InUse"]) == (9, 2)


def test_the_same_request_again_makes_nothing_new(scene: Scene) -> None:
    before = scene.ask(2, ClientToken="t")
    with scene.cloud.database.write() as tx:
        forget_terminated(tx)
    assert scene.ask(2, ClientToken="t") == before
    assert (
        scene.cloud.code(
            "RequestSpotInstances",
            LaunchSpecification={"ImageId": scene.cloud.image_id, "InstanceType": "t3.micro"},
            ClientToken="t",
        )
        == "IdempotentParameterMismatch"
    )


def test_the_same_request_again_is_not_answered_with_nothing(scene: Scene) -> None:
    """Once what came of it is forgotten."""
    made = scene.ask(ClientToken="t")
    scene.cloud.call("CancelSpotInstanceRequests", SpotInstanceRequestIds=made)
    scene.cloud.clock.forward(hours=2)
    with scene.cloud.database.write() as tx:
        forget_requests(tx)
    with pytest.raises(ServiceError, match="InvalidSpotInstanceRequestID"):
        scene.ask(ClientToken="t")


def test_a_launch_template_may_say_that_it_is_spot(scene: Scene) -> None:
    cloud = scene.cloud
    cloud.call(
        "CreateLaunchTemplate",
        LaunchTemplateName="cheap",
        LaunchTemplateData={
            "ImageId": cloud.image_id,
            "InstanceType": "t3.micro",
            "InstanceMarketOptions": {"MarketType": "spot", "SpotOptions": {"MaxPrice": "0.009"}},
        },
    )
    (instance,) = cloud.call("RunInstances", LaunchTemplate={"LaunchTemplateName": "cheap"}, MinCount=1, MaxCount=1)[
        "Instances"
    ]
    assert scene.of(instance["InstanceId"])["SpotPrice"] == "0.009000"
    until = cloud.clock.now + timedelta(hours=1)
    again = {"SpotInstanceType": "persistent", "InstanceInterruptionBehavior": "stop", "ValidUntil": until}
    cloud.call(
        "CreateLaunchTemplateVersion",
        LaunchTemplateName="cheap",
        SourceVersion="1",
        LaunchTemplateData={"InstanceMarketOptions": {"MarketType": "spot", "SpotOptions": again}},
    )
    (version,) = cloud.call("DescribeLaunchTemplateVersions", LaunchTemplateName="cheap", Versions=["2"])[
        "LaunchTemplateVersions"
    ]
    assert version["LaunchTemplateData"]["InstanceMarketOptions"]["SpotOptions"] == again
    template = {"LaunchTemplateName": "cheap", "Version": "2"}
    (instance,) = cloud.call("RunInstances", LaunchTemplate=template, MinCount=1, MaxCount=1)["Instances"]
    assert scene.of(instance["InstanceId"])["ValidUntil"] == until


def test_what_it_takes_to_launch_one_like_it(scene: Scene) -> None:
    cloud = scene.cloud
    instance = cloud.run(InstanceMarketOptions={**SPOT, "SpotOptions": {"MaxPrice": "0.007"}})["InstanceId"]
    data = cloud.call("GetLaunchTemplateData", InstanceId=instance)["LaunchTemplateData"]
    assert data["InstanceMarketOptions"] == {
        "MarketType": "spot",
        "SpotOptions": {
            "SpotInstanceType": "one-time",
            "InstanceInterruptionBehavior": "terminate",
            "MaxPrice": "0.007",
        },
    }
    assert (
        "InstanceMarketOptions"
        not in cloud.call("GetLaunchTemplateData", InstanceId=cloud.run()["InstanceId"])["LaunchTemplateData"]
    )


def test_history_is_newest_first_and_comes_in_pages(scene: Scene) -> None:
    cloud = scene.cloud
    for number in range(4):
        scene.price(f"0.00{number + 2}", AvailabilityZone="us-east-1a")
        cloud.clock.forward(minutes=1)
    scene.price("0.5", EffectiveFrom=cloud.clock.now + timedelta(hours=1))
    asked: dict[str, Any] = {"InstanceTypes": ["t3.micro"], "AvailabilityZone": "us-east-1a"}
    whole = cloud.call("DescribeSpotPriceHistory", **asked)["SpotPriceHistory"]
    assert [one["SpotPrice"] for one in whole[:4]] == ["0.005000", "0.004000", "0.003000", "0.002000"]
    start = cloud.clock.now - timedelta(seconds=90)
    since = cloud.call("DescribeSpotPriceHistory", StartTime=start, **asked)["SpotPriceHistory"]
    # The price that held at the start is older than it.
    assert [one["SpotPrice"] for one in since] == ["0.005000", "0.004000"]
    first = cloud.call("DescribeSpotPriceHistory", MaxResults=3, **asked)
    second = cloud.call("DescribeSpotPriceHistory", MaxResults=3, NextToken=first["NextToken"], **asked)
    assert [*first["SpotPriceHistory"], *second["SpotPriceHistory"]] == whole
    assert len(cloud.call("DescribeSpotPriceHistory")["SpotPriceHistory"]) == 1000
    nothing = cloud.call("DescribeSpotPriceHistory", ProductDescriptions=["Windows"])
    assert nothing["SpotPriceHistory"] == []


def test_prices_of_one_second_come_in_pages_too(scene: Scene) -> None:
    cloud = scene.cloud
    for number in range(4):
        scene.price(f"0.00{number + 2}", AvailabilityZone="us-east-1a")
        cloud.clock.forward(milliseconds=200)
    asked: dict[str, Any] = {"InstanceTypes": ["t3.micro"], "AvailabilityZone": "us-east-1a"}
    whole = cloud.call("DescribeSpotPriceHistory", **asked)["SpotPriceHistory"]
    assert [one["SpotPrice"] for one in whole[:4]] == ["0.005000", "0.004000", "0.003000", "0.002000"]
    first = cloud.call("DescribeSpotPriceHistory", MaxResults=1, **asked)
    rest = cloud.call("DescribeSpotPriceHistory", NextToken=first["NextToken"], **asked)
    assert [*first["SpotPriceHistory"], *rest["SpotPriceHistory"]] == whole


def test_asking_on_the_spot_takes_a_permission_of_its_own(scene: Scene) -> None:
    cloud = scene.cloud
    launch = {"ImageId": cloud.image_id, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
    plain = {check.resource.rpartition(":")[2] for check in cloud.checks("RunInstances", **launch)}
    spot = cloud.checks("RunInstances", **launch, InstanceMarketOptions=SPOT)
    assert {check.resource.rpartition(":")[2] for check in spot} - plain == {"spot-instances-request/*"}
    (instance,) = [check for check in spot if check.resource.endswith(":instance/*")]
    assert instance.context is not None and instance.context["ec2:InstanceMarketType"] == "spot"
    asked = cloud.checks("RequestSpotInstances", LaunchSpecification={"ImageId": cloud.image_id})
    assert {check.action for check in asked} == {"ec2:RequestSpotInstances"}


def test_requests_that_are_over_are_forgotten(scene: Scene) -> None:
    cloud = scene.cloud
    (request,) = scene.ask()
    cloud.call("CancelSpotInstanceRequests", SpotInstanceRequestIds=[request])
    cloud.clock.forward(hours=1)
    with cloud.database.write() as tx:
        forget_requests(tx)
    assert cloud.call("DescribeSpotInstanceRequests") == {"SpotInstanceRequests": []}


def test_an_end_whose_time_comes_during_a_look_is_not_missed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    instance_id, clock = scene.launch(), scene.cloud.clock
    scene.cloud.control("InterruptInstance", InstanceId=instance_id, Seconds=60)
    clock.forward(seconds=59.9)

    def look(_: Clock) -> datetime:
        clock.forward(seconds=0.06)
        return clock.now

    monkeypatch.setattr(Clock, "__call__", look)
    scene.woken.clear()
    scene.step()
    assert scene.cloud.row(instance_id).state == "running"
    assert scene.woken
    assert scene.woken[-1] <= 0.1
