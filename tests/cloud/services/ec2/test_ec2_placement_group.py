"""Placement groups: what each strategy asks of the instances in a group."""

from __future__ import annotations

from typing import Any

import pytest
from ec2_fixtures import ACCOUNT, Cloud, filters, tagged


def make(cloud: Cloud, strategy: str, **params: Any) -> dict[str, Any]:
    asked = {"GroupName": strategy, "Strategy": strategy, **params}
    made: dict[str, Any] = cloud.call("CreatePlacementGroup", **asked)["PlacementGroup"]
    return made


def launch(cloud: Cloud, placement: dict[str, Any], count: int = 1, **params: Any) -> list[dict[str, Any]]:
    """Instances in this placement, running."""
    asked = {"ImageId": cloud.image_id, "InstanceType": "m7i.large", "MinCount": 1, "MaxCount": count, **params}
    made = cloud.call("RunInstances", **asked, Placement=placement)["Instances"]
    for instance in made:
        cloud.observe(instance["InstanceId"], "running")
    return list(made)


def zones(cloud: Cloud) -> list[str]:
    return [one["ZoneName"] for one in cloud.call("DescribeAvailabilityZones")["AvailabilityZones"]]


def test_its_life(cloud: Cloud) -> None:
    made = make(cloud, "spread", TagSpecifications=tagged("placement-group", team="net"))
    assert made == {
        "GroupId": made["GroupId"],
        "GroupName": "spread",
        "GroupArn": f"arn:aws:ec2:us-east-1:{ACCOUNT}:placement-group/spread",
        "State": "available",
        "Strategy": "spread",
        "SpreadLevel": "rack",
        "Tags": [{"Key": "team", "Value": "net"}],
    }
    for asked in (
        {"GroupNames": ["spread"]},
        {"GroupIds": [made["GroupId"]]},
        {"Filters": filters(strategy="spread", state="available")},
        {"Filters": [{"Name": "tag:team", "Values": ["net"]}]},
    ):
        assert cloud.call("DescribePlacementGroups", **asked)["PlacementGroups"] == [made]
    assert cloud.code("CreatePlacementGroup", GroupName="spread", Strategy="cluster") == (
        "InvalidPlacementGroup.Duplicate"
    )
    cloud.call("CreateTags", Resources=[made["GroupId"]], Tags=[{"Key": "team", "Value": "web"}])
    (instance,) = launch(cloud, {"GroupName": "spread"})
    assert cloud.code("DeletePlacementGroup", GroupName="spread") == "InvalidPlacementGroup.InUse"
    cloud.observe(instance["InstanceId"], "terminated")
    assert cloud.call("DeletePlacementGroup", GroupName="spread") == {}
    assert cloud.code("DescribePlacementGroups", GroupNames=["spread"]) == "InvalidPlacementGroup.Unknown"
    assert cloud.code("DeletePlacementGroup", GroupName="spread") == "InvalidPlacementGroup.Unknown"
    assert cloud.instance(instance["InstanceId"])["Placement"]["GroupName"] == "spread"


def test_a_cluster_is_in_one_zone_and_of_types_that_can_be(cloud: Cloud) -> None:
    group = make(cloud, "cluster")
    first, second = zones(cloud)[:2]
    (instance,) = launch(cloud, {"GroupId": group["GroupId"], "AvailabilityZone": first})
    placed = cloud.instance(instance["InstanceId"])["Placement"]
    assert (placed["GroupName"], placed["GroupId"]) == ("cluster", group["GroupId"])
    (found,) = cloud.call("DescribeInstances", Filters=filters(placement_group_name="cluster"))["Reservations"]
    assert found["Instances"][0]["InstanceId"] == instance["InstanceId"]
    with pytest.raises(Exception, match="is in use in another availability zone"):
        launch(cloud, {"GroupName": "cluster", "AvailabilityZone": second})
    with pytest.raises(Exception, match="not supported by the 't3\\.micro' instance type"):
        launch(cloud, {"GroupName": "cluster"}, InstanceType="t3.micro")


def test_a_spread_group_has_seven_running_in_each_zone(cloud: Cloud) -> None:
    make(cloud, "spread")
    first, second = zones(cloud)[:2]
    here = {"GroupName": "spread", "AvailabilityZone": first}
    made = launch(cloud, here, count=9)
    assert len(made) == 7
    full = {"ImageId": cloud.image_id, "InstanceType": "m7i.large", "MinCount": 1, "MaxCount": 1, "Placement": here}
    assert cloud.code("RunInstances", **full) == "InsufficientInstanceCapacity"
    assert len(launch(cloud, {**here, "AvailabilityZone": second})) == 1
    stopped = made[0]["InstanceId"]
    cloud.observe(stopped, "stopped")
    assert len(launch(cloud, here)) == 1
    assert cloud.code("StartInstances", InstanceIds=[stopped]) == "InsufficientInstanceCapacity"


def test_partitions_are_filled_evenly_or_as_asked(cloud: Cloud) -> None:
    make(cloud, "partition", PartitionCount=3)
    made = launch(cloud, {"GroupName": "partition"}, count=4)
    assert [one["Placement"]["PartitionNumber"] for one in made] == [1, 2, 3, 1]
    (own,) = launch(cloud, {"GroupName": "partition", "PartitionNumber": 3})
    assert own["Placement"]["PartitionNumber"] == 3
    (next_one,) = launch(cloud, {"GroupName": "partition"})
    assert next_one["Placement"]["PartitionNumber"] == 2
    found = cloud.call("DescribeInstances", Filters=filters(placement_partition_number="3"))["Reservations"]
    assert len(found) == 2
    wrong = {"GroupName": "partition", "PartitionNumber": 4}
    with pytest.raises(Exception, match="between 1 and 3"):
        launch(cloud, wrong)


@pytest.mark.parametrize("asked", [{"PartitionNumber": 2}, {}])
def test_as_many_as_there_is_room_for_in_a_subnet(cloud: Cloud, asked: dict[str, int]) -> None:
    make(cloud, "partition")
    vpc = cloud.call("CreateVpc", CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = cloud.call("CreateSubnet", VpcId=vpc, CidrBlock="10.0.0.0/28")["Subnet"]["SubnetId"]
    made = launch(cloud, {"GroupName": "partition", **asked}, count=10**18, SubnetId=subnet)
    expected = [asked.get("PartitionNumber", 1 + number % 2) for number in range(11)]
    assert [one["Placement"]["PartitionNumber"] for one in made] == expected


def test_a_stopped_instance_is_placed_anew(cloud: Cloud) -> None:
    make(cloud, "partition")
    (instance,) = launch(cloud, {})
    move = {"InstanceId": instance["InstanceId"], "GroupName": "partition", "PartitionNumber": 2}
    assert cloud.code("ModifyInstancePlacement", **move) == "IncorrectInstanceState"
    cloud.observe(instance["InstanceId"], "stopped")
    assert cloud.call("ModifyInstancePlacement", **move) == {"Return": True}
    assert cloud.instance(instance["InstanceId"])["Placement"]["PartitionNumber"] == 2
    cloud.call("ModifyInstancePlacement", InstanceId=instance["InstanceId"], PartitionNumber=1)
    placed = cloud.instance(instance["InstanceId"])["Placement"]
    assert (placed["GroupName"], placed["PartitionNumber"]) == ("partition", 1)
    cloud.call("ModifyInstancePlacement", InstanceId=instance["InstanceId"], GroupName="")
    assert cloud.instance(instance["InstanceId"])["Placement"]["GroupName"] == ""
    assert cloud.code("ModifyInstancePlacement", InstanceId=instance["InstanceId"]) == "MissingParameter"


def test_what_does_not_go_together(cloud: Cloud) -> None:
    for asked, code in (
        ({"GroupName": "x", "Strategy": "near"}, "InvalidParameterValue"),
        ({"Strategy": "cluster"}, "MissingParameter"),
        ({"GroupName": "x", "Strategy": "cluster", "PartitionCount": 2}, "InvalidParameterCombination"),
        ({"GroupName": "x", "Strategy": "partition", "PartitionCount": 8}, "InvalidParameterValue"),
        ({"GroupName": "x", "Strategy": "spread", "SpreadLevel": "host"}, "UnsupportedOperation"),
        ({"GroupName": "x", "Strategy": "cluster", "SpreadLevel": "rack"}, "InvalidParameterCombination"),
        ({"GroupName": "x", "Strategy": "cluster", "DryRun": True}, "DryRunOperation"),
    ):
        assert cloud.code("CreatePlacementGroup", **asked) == code
    assert cloud.call("DescribePlacementGroups")["PlacementGroups"] == []
    group = make(cloud, "cluster")
    run = {"ImageId": cloud.image_id, "InstanceType": "m7i.large", "MinCount": 1, "MaxCount": 1}
    for placement, code in (
        ({"GroupName": "nobody"}, "InvalidPlacementGroup.Unknown"),
        ({"GroupName": "cluster", "GroupId": group["GroupId"]}, "InvalidParameterCombination"),
        ({"GroupName": "cluster", "PartitionNumber": 1}, "InvalidParameterCombination"),
        ({"PartitionNumber": 1}, "InvalidParameterCombination"),
    ):
        assert cloud.code("RunInstances", **run, Placement=placement) == code


def test_who_runs_in_one_must_be_allowed_that(cloud: Cloud) -> None:
    make(cloud, "cluster")
    run = {"ImageId": cloud.image_id, "InstanceType": "m7i.large", "MinCount": 1, "MaxCount": 1}
    checks = cloud.checks("RunInstances", **run, Placement={"GroupName": "cluster"})
    (check,) = [one for one in checks if ":placement-group/" in one.resource]
    assert check.resource.endswith(":placement-group/cluster")
    assert (check.context or {})["ec2:PlacementGroupStrategy"] == "cluster"


def test_a_launch_template_names_one(cloud: Cloud) -> None:
    make(cloud, "cluster")
    data = {"ImageId": cloud.image_id, "InstanceType": "m7i.large", "Placement": {"GroupName": "cluster"}}
    cloud.call("CreateLaunchTemplate", LaunchTemplateName="near", LaunchTemplateData=data)
    template = {"LaunchTemplate": {"LaunchTemplateName": "near"}, "MinCount": 1, "MaxCount": 1}
    (instance,) = cloud.call("RunInstances", **template)["Instances"]
    assert instance["Placement"]["GroupName"] == "cluster"
    shown = cloud.call("GetLaunchTemplateData", InstanceId=instance["InstanceId"])["LaunchTemplateData"]
    assert shown["Placement"]["GroupName"] == "cluster"
