from __future__ import annotations

from typing import Any

import pytest
from ec2_fixtures import Cloud, filters, tagged


@pytest.fixture
def vpc_id(cloud: Cloud) -> str:
    made: str = cloud.call("CreateVpc", CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    return made


def test_subnet_lives_and_ends(cloud: Cloud, vpc_id: str) -> None:
    made = cloud.call(
        "CreateSubnet",
        VpcId=vpc_id,
        CidrBlock="10.0.1.0/24",
        AvailabilityZoneId="use1-az2",
        TagSpecifications=tagged("subnet", Name="mine"),
    )["Subnet"]
    assert (made["AvailabilityZone"], made["AvailableIpAddressCount"]) == ("us-east-1b", 251)
    assert made["MapPublicIpOnLaunch"] is False
    cloud.call("ModifySubnetAttribute", SubnetId=made["SubnetId"], MapPublicIpOnLaunch={"Value": True})
    (shown,) = cloud.call("DescribeSubnets", SubnetIds=[made["SubnetId"]])["Subnets"]
    assert shown["MapPublicIpOnLaunch"] is True
    assert shown["Tags"] == [{"Key": "Name", "Value": "mine"}]
    cloud.call("DeleteSubnet", SubnetId=made["SubnetId"])
    assert cloud.code("DescribeSubnets", SubnetIds=[made["SubnetId"]]) == "InvalidSubnetID.NotFound"


@pytest.mark.parametrize(
    ("cidr", "code"),
    [
        ("10.1.0.0/24", "InvalidSubnet.Range"),
        ("10.0.0.0/29", "InvalidSubnet.Range"),
        ("10.0.1.128/25", "InvalidSubnet.Conflict"),
        ("10.0.1", "InvalidParameterValue"),
    ],
)
def test_block_has_to_fit(cloud: Cloud, vpc_id: str, cidr: str, code: str) -> None:
    cloud.call("CreateSubnet", VpcId=vpc_id, CidrBlock="10.0.1.0/24")
    assert cloud.code("CreateSubnet", VpcId=vpc_id, CidrBlock=cidr) == code


def test_unknown_zone(cloud: Cloud, vpc_id: str) -> None:
    refusal = cloud.refusal("CreateSubnet", VpcId=vpc_id, CidrBlock="10.0.1.0/24", AvailabilityZone="us-east-1x")
    assert refusal.code == "InvalidParameterValue"
    assert "us-east-1a, us-east-1b, us-east-1c" in refusal.message


def test_a_subnet_in_use_stays(cloud: Cloud) -> None:
    instance = cloud.run()
    assert cloud.code("DeleteSubnet", SubnetId=instance["SubnetId"]) == "DependencyViolation"
    (shown,) = cloud.call("DescribeSubnets", SubnetIds=[instance["SubnetId"]])["Subnets"]
    assert shown["AvailableIpAddressCount"] == 4090
    cloud.call("TerminateInstances", InstanceIds=[instance["InstanceId"]])
    cloud.observe(instance["InstanceId"], "terminated")
    cloud.call("DeleteSubnet", SubnetId=instance["SubnetId"])


def test_its_route_table_association_goes_with_it(cloud: Cloud, vpc_id: str) -> None:
    subnet_id = cloud.call("CreateSubnet", VpcId=vpc_id, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
    table_id = cloud.call("CreateRouteTable", VpcId=vpc_id)["RouteTable"]["RouteTableId"]
    cloud.call("AssociateRouteTable", RouteTableId=table_id, SubnetId=subnet_id)
    cloud.call("DeleteSubnet", SubnetId=subnet_id)
    (table,) = cloud.call("DescribeRouteTables", RouteTableIds=[table_id])["RouteTables"]
    assert table["Associations"] == []


def test_filters(cloud: Cloud, vpc_id: str) -> None:
    cloud.call("CreateSubnet", VpcId=vpc_id, CidrBlock="10.0.1.0/24", AvailabilityZone="us-east-1c")
    for chosen, blocks in (
        (filters(vpc_id=vpc_id), {"10.0.1.0/24"}),
        (filters(availability_zone="us-east-1c"), {"10.0.1.0/24", "172.31.32.0/20"}),
        (filters(cidr_block="172.31.?.0/*,10.*"), {"172.31.0.0/20", "10.0.1.0/24"}),
        (filters(default_for_az="true", availability_zone_id="use1-az1"), {"172.31.0.0/20"}),
        (filters(map_public_ip_on_launch="false"), {"10.0.1.0/24"}),
    ):
        found = cloud.call("DescribeSubnets", Filters=chosen)["Subnets"]
        assert {one["CidrBlock"] for one in found} == blocks


def test_a_default_subnet_comes_back(cloud: Cloud) -> None:
    assert cloud.code("CreateDefaultSubnet", AvailabilityZone="us-east-1b") == (
        "DefaultSubnetAlreadyExistsInAvailabilityZone"
    )
    assert cloud.code("CreateDefaultSubnet") == "MissingParameter"
    (old,) = cloud.call("DescribeSubnets", Filters=filters(availability_zone="us-east-1b"))["Subnets"]
    cloud.call("DeleteSubnet", SubnetId=old["SubnetId"])
    cloud.call("CreateSubnet", VpcId=old["VpcId"], CidrBlock="172.31.17.0/24")
    made = cloud.call("CreateDefaultSubnet", AvailabilityZone="us-east-1b")["Subnet"]
    # Its own range is in use by now: the next one that is free.
    assert made["CidrBlock"] == "172.31.48.0/20"
    assert made["DefaultForAz"] is made["MapPublicIpOnLaunch"] is True
    (acl,) = cloud.call("DescribeNetworkAcls", Filters=filters(**{"association.subnet_id": made["SubnetId"]}))[
        "NetworkAcls"
    ]
    assert acl["IsDefault"] is True
    placed = cloud.run(Placement={"AvailabilityZone": "us-east-1b"})
    assert placed["SubnetId"] == made["SubnetId"]


def test_one_attribute_at_a_time_and_none_that_would_be_ignored(cloud: Cloud) -> None:
    subnet = cloud.default("subnet")["SubnetId"]

    def code(**change: Any) -> str:
        return cloud.code("ModifySubnetAttribute", SubnetId=subnet, **change)

    cloud.call("ModifySubnetAttribute", SubnetId=subnet, AssignIpv6AddressOnCreation={"Value": False})
    assert cloud.default("subnet")["MapPublicIpOnLaunch"] is True
    assert code(AssignIpv6AddressOnCreation={"Value": True}) == "UnsupportedOperation"
    assert code(PrivateDnsHostnameTypeOnLaunch="resource-name") == "UnsupportedOperation"
    both = {"MapPublicIpOnLaunch": {"Value": False}, "EnableDns64": {"Value": False}}
    assert code(**both) == "InvalidParameterCombination"
    assert code() == "MissingParameter"
