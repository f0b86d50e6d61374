from __future__ import annotations

from typing import Any

import pytest
from ec2_fixtures import Cloud, filters


@pytest.fixture
def vpc(cloud: Cloud) -> str:
    made: str = cloud.call("CreateVpc", CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    return made


def associate(cloud: Cloud, vpc: str, cidr: str = "10.1.0.0/16") -> str:
    made = cloud.call("AssociateVpcCidrBlock", VpcId=vpc, CidrBlock=cidr)["CidrBlockAssociation"]
    assert made["CidrBlockState"] == {"State": "associating"}
    return str(made["AssociationId"])


def local(cloud: Cloud, vpc: str) -> list[list[str]]:
    tables = cloud.call("DescribeRouteTables", Filters=filters(vpc_id=vpc))["RouteTables"]
    return [[one["DestinationCidrBlock"] for one in table["Routes"] if one["GatewayId"] == "local"] for table in tables]


def test_a_further_range_has_subnets_and_local_routes(cloud: Cloud, vpc: str) -> None:
    cloud.call("CreateRouteTable", VpcId=vpc)
    association = associate(cloud, vpc)
    cloud.call("CreateRouteTable", VpcId=vpc)
    assert local(cloud, vpc) == [["10.0.0.0/16", "10.1.0.0/16"]] * 3
    (shown,) = cloud.call("DescribeVpcs", Filters=filters(**{"cidr-block-association.cidr-block": "10.1.0.0/16"}))[
        "Vpcs"
    ]
    assert [one["CidrBlock"] for one in shown["CidrBlockAssociationSet"]] == ["10.0.0.0/16", "10.1.0.0/16"]
    assert shown["CidrBlock"] == "10.0.0.0/16"
    subnet = cloud.call("CreateSubnet", VpcId=vpc, CidrBlock="10.1.2.0/24")["Subnet"]["SubnetId"]
    assert cloud.run(SubnetId=subnet)["PrivateIpAddress"] == "10.1.2.4"
    table = cloud.call("DescribeRouteTables", Filters=filters(vpc_id=vpc))["RouteTables"][0]["RouteTableId"]
    more = {"RouteTableId": table, "GatewayId": "igw-00000000000000000"}
    assert cloud.code("CreateRoute", DestinationCidrBlock="10.1.0.0/16", **more) == "RouteAlreadyExists"
    assert cloud.code("CreateRoute", DestinationCidrBlock="10.1.2.0/24", **more) == "InvalidParameterValue"
    assert cloud.code("DisassociateVpcCidrBlock", AssociationId=association) == "DependencyViolation"


def test_it_goes_with_its_routes(cloud: Cloud, vpc: str) -> None:
    association = associate(cloud, vpc)
    gone = cloud.call("DisassociateVpcCidrBlock", AssociationId=association)
    assert (gone["VpcId"], gone["CidrBlockAssociation"]["CidrBlock"]) == (vpc, "10.1.0.0/16")
    assert local(cloud, vpc) == [["10.0.0.0/16"]]
    assert cloud.code("CreateSubnet", VpcId=vpc, CidrBlock="10.1.2.0/24") == "InvalidSubnet.Range"
    code = cloud.code("DisassociateVpcCidrBlock", AssociationId=association)
    assert code == "InvalidVpcCidrBlockAssociationID.NotFound"


def test_the_first_range_stays(cloud: Cloud, vpc: str) -> None:
    (shown,) = cloud.call("DescribeVpcs", VpcIds=[vpc])["Vpcs"]
    (first,) = shown["CidrBlockAssociationSet"]
    assert cloud.code("DisassociateVpcCidrBlock", AssociationId=first["AssociationId"]) == "OperationNotPermitted"
    (check,) = cloud.checks("DisassociateVpcCidrBlock", AssociationId=first["AssociationId"])
    assert check.resource.endswith(f":vpc/{vpc}")


def test_ranges_that_cannot_be(cloud: Cloud, vpc: str) -> None:
    def code(**params: Any) -> str:
        return cloud.code("AssociateVpcCidrBlock", VpcId=vpc, **params)

    assert code() == "MissingParameter"
    assert code(CidrBlock="10.0.128.0/20") == code(CidrBlock="10.0.0.0/16") == "InvalidVpc.Range"
    assert code(CidrBlock="10.2.0.0/15") == code(CidrBlock="127.0.0.0/16") == "InvalidVpc.Range"
    for number in range(1, 5):
        associate(cloud, vpc, f"10.{number}.0.0/16")
    assert code(CidrBlock="10.9.0.0/16") == "CidrLimitExceeded"
    default = cloud.default("vpc")["VpcId"]
    table = cloud.default("table")
    gateway = table["Routes"][1]["GatewayId"]
    route = {"RouteTableId": table["RouteTableId"], "DestinationCidrBlock": "10.7.7.0/24", "GatewayId": gateway}
    cloud.call("CreateRoute", **route)
    assert cloud.code("AssociateVpcCidrBlock", VpcId=default, CidrBlock="10.7.0.0/16") == "InvalidVpc.Range"
