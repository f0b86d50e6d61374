from __future__ import annotations

import pytest
from ec2_fixtures import Cloud, filters, tagged


def test_default_vpc_has_what_aws_gives_it(cloud: Cloud) -> None:
    vpc = cloud.default("vpc")
    assert vpc["CidrBlock"] == "172.31.0.0/16"
    mine = filters(vpc_id=vpc["VpcId"])
    subnets = cloud.call("DescribeSubnets", Filters=mine)["Subnets"]
    assert [(one["CidrBlock"], one["AvailabilityZone"]) for one in subnets] == [
        ("172.31.0.0/20", "us-east-1a"),
        ("172.31.16.0/20", "us-east-1b"),
        ("172.31.32.0/20", "us-east-1c"),
    ]
    assert all(one["MapPublicIpOnLaunch"] and one["DefaultForAz"] for one in subnets)
    assert subnets[0]["AvailableIpAddressCount"] == 4091
    (table,) = cloud.call("DescribeRouteTables", Filters=mine)["RouteTables"]
    (gateway,) = cloud.call("DescribeInternetGateways", Filters=filters(**{"attachment.vpc-id": vpc["VpcId"]}))[
        "InternetGateways"
    ]
    assert [(one["DestinationCidrBlock"], one["GatewayId"], one["State"]) for one in table["Routes"]] == [
        ("172.31.0.0/16", "local", "active"),
        ("0.0.0.0/0", gateway["InternetGatewayId"], "active"),
    ]
    (group,) = cloud.call("DescribeSecurityGroups", Filters=mine)["SecurityGroups"]
    assert group["GroupName"] == "default"
    assert group["IpPermissions"][0]["UserIdGroupPairs"][0]["GroupId"] == group["GroupId"]
    for attribute in ("enableDnsSupport", "enableDnsHostnames"):
        answer = cloud.call("DescribeVpcAttribute", VpcId=vpc["VpcId"], Attribute=attribute)
        assert answer[attribute[0].upper() + attribute[1:]] == {"Value": True}


def test_there_is_one_default_vpc_at_most(cloud: Cloud) -> None:
    assert cloud.code("CreateDefaultVpc") == "DefaultVpcAlreadyExists"


def test_default_vpc_can_be_made_again(cloud: Cloud) -> None:
    vpc_id = cloud.default("vpc")["VpcId"]
    (gateway,) = cloud.call("DescribeInternetGateways")["InternetGateways"]
    for subnet in cloud.call("DescribeSubnets")["Subnets"]:
        cloud.call("DeleteSubnet", SubnetId=subnet["SubnetId"])
    assert cloud.code("DeleteVpc", VpcId=vpc_id) == "DependencyViolation"
    cloud.call("DetachInternetGateway", InternetGatewayId=gateway["InternetGatewayId"], VpcId=vpc_id)
    cloud.call("DeleteVpc", VpcId=vpc_id)
    assert cloud.call("DescribeVpcs")["Vpcs"] == []
    assert cloud.code("RunInstances", ImageId=cloud.image_id, InstanceType="t3.micro", MinCount=1, MaxCount=1) == (
        "VPCIdNotSpecified"
    )
    assert cloud.call("CreateDefaultVpc")["Vpc"]["IsDefault"] is True


def test_vpc_lives_and_ends(cloud: Cloud) -> None:
    made = cloud.call("CreateVpc", CidrBlock="10.0.0.18/16", TagSpecifications=tagged("vpc", Name="mine"))["Vpc"]
    assert made["CidrBlock"] == "10.0.0.0/16"
    assert made["State"] == "pending"
    # LocalStack's test_get_security_groups_for_vpc, recorded on AWS ("create_vpc_response").
    assert made["Ipv6CidrBlockAssociationSet"] == []
    (shown,) = cloud.call("DescribeVpcs", VpcIds=[made["VpcId"]])["Vpcs"]
    assert shown["State"] == "available"
    assert shown["Tags"] == [{"Key": "Name", "Value": "mine"}]
    assert shown["CidrBlockAssociationSet"][0]["CidrBlock"] == "10.0.0.0/16"
    (table,) = cloud.call("DescribeRouteTables", Filters=filters(vpc_id=made["VpcId"]))["RouteTables"]
    assert table["Associations"][0]["Main"] is True
    cloud.call("DeleteVpc", VpcId=made["VpcId"])
    assert cloud.code("DescribeVpcs", VpcIds=[made["VpcId"]]) == "InvalidVpcID.NotFound"
    assert cloud.call("DescribeRouteTables", Filters=filters(vpc_id=made["VpcId"]))["RouteTables"] == []


@pytest.mark.parametrize(
    ("cidr", "code"),
    [
        ("10.0.0.0/8", "InvalidVpc.Range"),
        ("10.0.0.0/29", "InvalidVpc.Range"),
        ("127.5.0.0/16", "InvalidVpc.Range"),
        ("169.254.0.0/20", "InvalidVpc.Range"),
        ("10.0.0.0", "InvalidParameterValue"),
        ("10.0.0.300/16", "InvalidParameterValue"),
        ("nonsense", "InvalidParameterValue"),
    ],
)
def test_vpc_block_has_to_be_usable(cloud: Cloud, cidr: str, code: str) -> None:
    assert cloud.code("CreateVpc", CidrBlock=cidr) == code
    assert len(cloud.call("DescribeVpcs")["Vpcs"]) == 1


def test_values_that_would_be_ignored_are_refused_by_name(cloud: Cloud) -> None:
    refusal = cloud.refusal("CreateVpc", CidrBlock="10.0.0.0/16", AmazonProvidedIpv6CidrBlock=True)
    assert refusal.code == "UnsupportedOperation"
    assert "AmazonProvidedIpv6CidrBlock=true" in refusal.message
    assert "Ipv6Pool" in cloud.refusal("CreateVpc", CidrBlock="10.0.0.0/16", Ipv6Pool="p").message


def test_dry_run_changes_nothing(cloud: Cloud) -> None:
    refusal = cloud.refusal("CreateVpc", CidrBlock="10.0.0.0/16", DryRun=True)
    assert (refusal.code, refusal.status) == ("DryRunOperation", 412)
    assert len(cloud.call("DescribeVpcs")["Vpcs"]) == 1
    assert cloud.code("CreateVpc", CidrBlock="10.0.0.0/8", DryRun=True) == "InvalidVpc.Range"
    assert cloud.code("DescribeVpcs", DryRun=True) == "DryRunOperation"


def test_attributes_are_modified_one_at_a_time(cloud: Cloud) -> None:
    vpc_id = cloud.call("CreateVpc", CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    cloud.call("ModifyVpcAttribute", VpcId=vpc_id, EnableDnsHostnames={"Value": True})
    shown = cloud.call("DescribeVpcAttribute", VpcId=vpc_id, Attribute="enableDnsHostnames")
    assert shown["EnableDnsHostnames"] == {"Value": True}
    both = {"EnableDnsHostnames": {"Value": True}, "EnableDnsSupport": {"Value": True}}
    assert cloud.code("ModifyVpcAttribute", VpcId=vpc_id, **both) == "InvalidParameterCombination"
    assert cloud.code("ModifyVpcAttribute", VpcId=vpc_id) == "MissingParameter"
    cloud.call("ModifyVpcAttribute", VpcId=vpc_id, EnableDnsHostnames={"Value": False})
    cloud.call("ModifyVpcAttribute", VpcId=vpc_id, EnableDnsSupport={"Value": False})
    assert cloud.code("ModifyVpcAttribute", VpcId=vpc_id, EnableDnsHostnames={"Value": True}) == (
        "InvalidParameterCombination"
    )
    assert cloud.code("DescribeVpcAttribute", VpcId=vpc_id, Attribute="nonsense") == "InvalidParameterValue"


def test_what_stands_in_the_way_of_deleting(cloud: Cloud) -> None:
    vpc_id = cloud.call("CreateVpc", CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    for make, undo in (
        (
            lambda: cloud.call("CreateSubnet", VpcId=vpc_id, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"],
            lambda made: cloud.call("DeleteSubnet", SubnetId=made),
        ),
        (
            lambda: cloud.call("CreateRouteTable", VpcId=vpc_id)["RouteTable"]["RouteTableId"],
            lambda made: cloud.call("DeleteRouteTable", RouteTableId=made),
        ),
        (
            lambda: cloud.call("CreateSecurityGroup", VpcId=vpc_id, GroupName="g", Description="d")["GroupId"],
            lambda made: cloud.call("DeleteSecurityGroup", GroupId=made),
        ),
    ):
        made = make()
        assert cloud.code("DeleteVpc", VpcId=vpc_id) == "DependencyViolation"
        undo(made)
    cloud.call("DeleteVpc", VpcId=vpc_id)
