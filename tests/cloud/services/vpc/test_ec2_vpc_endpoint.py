"""Gateway endpoints: their routes, their policy, and what stands in their way."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from ec2_fixtures import ACCOUNT, Cloud, filters, tagged

from skylift.cloud.domain.network import SERVICES
from skylift.cloud.loops.vpc.network import vpc_plans

SERVICE = "com.amazonaws.us-east-1.s3"
NOBODY = "vpce-00000000000000000"


def make(cloud: Cloud, **params: Any) -> dict[str, Any]:
    asked = {"VpcId": cloud.default("vpc")["VpcId"], "ServiceName": SERVICE, **params}
    made: dict[str, Any] = cloud.call("CreateVpcEndpoint", **asked)["VpcEndpoint"]
    return made


def shown(cloud: Cloud, endpoint: str) -> dict[str, Any]:
    (found,) = cloud.call("DescribeVpcEndpoints", VpcEndpointIds=[endpoint])["VpcEndpoints"]
    return dict(found)


def routes(cloud: Cloud, table: str) -> list[dict[str, Any]]:
    (found,) = cloud.call("DescribeRouteTables", RouteTableIds=[table])["RouteTables"]
    return [route for route in found["Routes"] if "DestinationPrefixListId" in route]


@pytest.fixture
def table(cloud: Cloud) -> str:
    return str(cloud.default("table")["RouteTableId"])


def test_as_it_was_made(cloud: Cloud, table: str) -> None:
    made = make(cloud, RouteTableIds=[table], TagSpecifications=tagged("vpc-endpoint", Name="s3"))
    assert shown(cloud, made["VpcEndpointId"]) == made
    assert (made["State"], made["VpcEndpointType"], made["OwnerId"]) == ("available", "Gateway", ACCOUNT)
    assert made["ServiceRegion"] == "us-east-1"
    # As recorded on AWS: test_vpc_endpoint_service_details_filter of cloud-custodian's tests/data/placebo.
    assert made["DnsOptions"] == {"DnsRecordIpType": "service-defined"}
    assert (made["RouteTableIds"], made["Tags"]) == ([table], [{"Key": "Name", "Value": "s3"}])
    (statement,) = json.loads(made["PolicyDocument"])["Statement"]
    assert statement == {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}
    for given in (filters(service_name=SERVICE), filters(vpc_endpoint_type="Gateway"), filters(vpc_id=made["VpcId"])):
        assert cloud.call("DescribeVpcEndpoints", Filters=given)["VpcEndpoints"] == [made]
    assert cloud.call("DescribeVpcEndpoints", Filters=filters(vpc_id="vpc-0"))["VpcEndpoints"] == []


def test_its_routes_come_and_go_with_it(cloud: Cloud, table: str) -> None:
    (listed,) = cloud.call("DescribePrefixLists")["PrefixLists"]
    endpoint = make(cloud)["VpcEndpointId"]
    assert routes(cloud, table) == []
    cloud.call("ModifyVpcEndpoint", VpcEndpointId=endpoint, AddRouteTableIds=[table])
    assert routes(cloud, table) == [
        {
            "DestinationPrefixListId": listed["PrefixListId"],
            "GatewayId": endpoint,
            "Origin": "CreateRoute",
            "State": "active",
        }
    ]
    by_hand = {"RouteTableId": table, "DestinationPrefixListId": listed["PrefixListId"]}
    assert "cannot remove VPC endpoint route" in cloud.refusal("DeleteRoute", **by_hand).message
    gateway = cloud.call("DescribeInternetGateways")["InternetGateways"][0]["InternetGatewayId"]
    assert cloud.code("ReplaceRoute", **by_hand, GatewayId=gateway) == "InvalidParameterValue"
    again = {"VpcEndpointId": endpoint, "AddRouteTableIds": [table]}
    assert cloud.code("ModifyVpcEndpoint", **again) == "RouteAlreadyExists"
    cloud.call("ModifyVpcEndpoint", VpcEndpointId=endpoint, RemoveRouteTableIds=[table])
    assert (routes(cloud, table), shown(cloud, endpoint)["RouteTableIds"]) == ([], [])
    away = {"VpcEndpointId": endpoint, "RemoveRouteTableIds": [table]}
    assert cloud.code("ModifyVpcEndpoint", **away) == "InvalidParameterValue"
    cloud.call("ModifyVpcEndpoint", **again)
    assert cloud.call("DeleteVpcEndpoints", VpcEndpointIds=[endpoint]) == {"Unsuccessful": []}
    assert routes(cloud, table) == []


def test_the_kernel_needs_no_route_to_it(cloud: Cloud, table: str) -> None:
    make(cloud, RouteTableIds=[table])
    with cloud.database.read() as tx:
        (plan,) = vpc_plans(tx)
    assert not [route for known in plan.route_tables for route in known.routes if SERVICES in route.cidr]


def test_a_table_of_a_gateway_has_no_route_to_it(cloud: Cloud) -> None:
    vpc = cloud.default("vpc")["VpcId"]
    gateway = cloud.call("DescribeInternetGateways")["InternetGateways"][0]["InternetGatewayId"]
    own = cloud.call("CreateRouteTable", VpcId=vpc)["RouteTable"]["RouteTableId"]
    endpoint = make(cloud, RouteTableIds=[own])["VpcEndpointId"]
    assert cloud.code("AssociateRouteTable", RouteTableId=own, GatewayId=gateway) == "InvalidParameterValue"
    cloud.call("ModifyVpcEndpoint", VpcEndpointId=endpoint, RemoveRouteTableIds=[own])
    cloud.call("AssociateRouteTable", RouteTableId=own, GatewayId=gateway)
    add = {"VpcEndpointId": endpoint, "AddRouteTableIds": [own]}
    assert cloud.code("ModifyVpcEndpoint", **add) == "InvalidParameterValue"


def test_its_policy(cloud: Cloud) -> None:
    reading = json.dumps(
        {"Statement": {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*"}}
    )
    endpoint = make(cloud, PolicyDocument=reading)["VpcEndpointId"]
    assert shown(cloud, endpoint)["PolicyDocument"] == reading
    assert cloud.call("ModifyVpcEndpoint", VpcEndpointId=endpoint, ResetPolicy=True) == {"Return": True}
    assert '"Action":"*"' in shown(cloud, endpoint)["PolicyDocument"]
    both = {"VpcEndpointId": endpoint, "ResetPolicy": True, "PolicyDocument": reading}
    assert cloud.code("ModifyVpcEndpoint", **both) == "InvalidParameterCombination"
    for wrong in ("{", '{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}'):
        change = {"VpcEndpointId": endpoint, "PolicyDocument": wrong}
        assert cloud.code("ModifyVpcEndpoint", **change) == "InvalidPolicyDocument"


def test_what_cannot_be_made(cloud: Cloud, table: str) -> None:
    vpc = cloud.default("vpc")["VpcId"]
    s3 = {"VpcId": vpc, "ServiceName": SERVICE}
    assert cloud.code("CreateVpcEndpoint", **s3, VpcEndpointType="Interface") == "UnsupportedOperation"
    assert cloud.code("CreateVpcEndpoint", **s3, DryRun=True) == "DryRunOperation"
    other = {"VpcId": vpc, "ServiceName": "com.amazonaws.us-east-1.dynamodb"}
    assert cloud.code("CreateVpcEndpoint", **other) == "InvalidServiceName"
    elsewhere = cloud.call("CreateVpc", CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    foreign = {"VpcId": elsewhere, "ServiceName": SERVICE, "RouteTableIds": [table]}
    assert cloud.code("CreateVpcEndpoint", **foreign) == "InvalidParameterValue"
    assert cloud.call("DescribeVpcEndpoints")["VpcEndpoints"] == []
    assert cloud.code("ModifyVpcEndpoint", VpcEndpointId=NOBODY, ResetPolicy=True) == "InvalidVpcEndpointId.NotFound"
    assert cloud.code("DescribeVpcEndpoints", VpcEndpointIds=["vpce-x"]) == "InvalidVpcEndpointId.Malformed"


def test_each_is_deleted_by_itself(cloud: Cloud) -> None:
    endpoint = make(cloud)["VpcEndpointId"]
    (failed,) = cloud.call("DeleteVpcEndpoints", VpcEndpointIds=[NOBODY, endpoint])["Unsuccessful"]
    assert (failed["ResourceId"], failed["Error"]["Code"]) == (NOBODY, "InvalidVpcEndpointId.NotFound")
    assert cloud.call("DescribeVpcEndpoints")["VpcEndpoints"] == []


def test_a_vpc_with_one_stays(cloud: Cloud) -> None:
    vpc = cloud.call("CreateVpc", CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    endpoint = make(cloud, VpcId=vpc)["VpcEndpointId"]
    assert cloud.code("DeleteVpc", VpcId=vpc) == "DependencyViolation"
    cloud.call("DeleteVpcEndpoints", VpcEndpointIds=[endpoint])
    cloud.call("DeleteVpc", VpcId=vpc)


def test_a_repeat_makes_nothing_new(cloud: Cloud, table: str) -> None:
    first = make(cloud, ClientToken="once", RouteTableIds=[table])
    assert make(cloud, ClientToken="once", RouteTableIds=[table]) == first
    assert cloud.code("CreateVpcEndpoint", VpcId=first["VpcId"], ServiceName=SERVICE, ClientToken="once") == (
        "IdempotentParameterMismatch"
    )


def test_the_services(cloud: Cloud) -> None:
    found = cloud.call("DescribeVpcEndpointServices", Filters=filters(service_type="Gateway"))
    assert found["ServiceNames"] == [SERVICE]
    assert found["ServiceDetails"][0]["ServiceType"] == [{"ServiceType": "Gateway"}]
    assert found["ServiceDetails"][0]["AvailabilityZoneIds"][0] == "use1-az1"
    assert re.fullmatch("vpce-svc-[0-9a-f]{17}", found["ServiceDetails"][0]["ServiceId"])
    assert cloud.call("DescribeVpcEndpointServices", Filters=filters(service_type="Interface"))["ServiceNames"] == []
    assert cloud.code("DescribeVpcEndpointServices", ServiceNames=["s3"]) == "InvalidServiceName"


def test_what_one_must_be_allowed(cloud: Cloud, table: str) -> None:
    vpc = cloud.default("vpc")["VpcId"]
    asked = {"VpcId": vpc, "ServiceName": SERVICE, "RouteTableIds": [table]}
    checks = cloud.checks("CreateVpcEndpoint", **asked)
    assert [check.resource.rpartition(":")[2] for check in checks] == [
        "vpc-endpoint/*",
        f"vpc/{vpc}",
        f"route-table/{table}",
    ]
    assert (checks[0].context or {})["ec2:VpceServiceName"] == SERVICE
