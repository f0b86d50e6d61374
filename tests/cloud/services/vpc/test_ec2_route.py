from __future__ import annotations

from typing import Any

import pytest
from ec2_fixtures import ACCOUNT, Cloud, filters, tagged


class Site:
    """A VPC with a subnet, a gateway attached and a route table of its own."""

    def __init__(self, cloud: Cloud) -> None:
        self.vpc = cloud.call("CreateVpc", CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        self.subnet = cloud.call("CreateSubnet", VpcId=self.vpc, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
        self.gateway = cloud.call("CreateInternetGateway")["InternetGateway"]["InternetGatewayId"]
        cloud.call("AttachInternetGateway", InternetGatewayId=self.gateway, VpcId=self.vpc)
        self.table = cloud.call("CreateRouteTable", VpcId=self.vpc)["RouteTable"]["RouteTableId"]


@pytest.fixture
def site(cloud: Cloud) -> Site:
    return Site(cloud)


def table(cloud: Cloud, table_id: str) -> Any:
    return cloud.call("DescribeRouteTables", RouteTableIds=[table_id])["RouteTables"][0]


def test_gateway_lives_and_ends(cloud: Cloud, site: Site) -> None:
    made = cloud.call("CreateInternetGateway", TagSpecifications=tagged("internet-gateway", Name="mine"))
    gateway_id = made["InternetGateway"]["InternetGatewayId"]
    assert made["InternetGateway"]["Attachments"] == []
    assert cloud.code("AttachInternetGateway", InternetGatewayId=gateway_id, VpcId=site.vpc) == "InvalidParameterValue"
    other = cloud.call("CreateVpc", CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
    assert cloud.code("AttachInternetGateway", InternetGatewayId=site.gateway, VpcId=other) == (
        "Resource.AlreadyAssociated"
    )
    assert cloud.code("DetachInternetGateway", InternetGatewayId=gateway_id, VpcId=site.vpc) == "Gateway.NotAttached"
    assert cloud.code("DeleteInternetGateway", InternetGatewayId=site.gateway) == "DependencyViolation"
    cloud.call("DeleteInternetGateway", InternetGatewayId=gateway_id)
    assert cloud.code("DeleteInternetGateway", InternetGatewayId=gateway_id) == "InvalidInternetGatewayID.NotFound"


def test_a_gateway_stays_while_public_addresses_are_mapped(cloud: Cloud) -> None:
    instance = cloud.run()
    (gateway,) = cloud.call("DescribeInternetGateways")["InternetGateways"]
    asked = {"InternetGatewayId": gateway["InternetGatewayId"], "VpcId": instance["VpcId"]}
    assert cloud.code("DetachInternetGateway", **asked) == "DependencyViolation"
    cloud.observe(instance["InstanceId"], "terminated")
    cloud.call("DetachInternetGateway", **asked)


def test_routes_are_made_replaced_and_deleted(cloud: Cloud, site: Site) -> None:
    route = {"RouteTableId": site.table, "DestinationCidrBlock": "0.0.0.0/0"}
    assert cloud.code("ReplaceRoute", **route, GatewayId=site.gateway) == "InvalidParameterValue"
    assert cloud.code("DeleteRoute", **route) == "InvalidRoute.NotFound"
    assert cloud.call("CreateRoute", **route, GatewayId=site.gateway) == {"Return": True}
    assert cloud.code("CreateRoute", **route, GatewayId=site.gateway) == "RouteAlreadyExists"
    assert table(cloud, site.table)["Routes"][1] == {
        "DestinationCidrBlock": "0.0.0.0/0",
        "GatewayId": site.gateway,
        "Origin": "CreateRoute",
        "State": "active",
    }
    cloud.call("ReplaceRoute", **route, GatewayId=site.gateway)
    cloud.call("DetachInternetGateway", InternetGatewayId=site.gateway, VpcId=site.vpc)
    assert table(cloud, site.table)["Routes"][1]["State"] == "blackhole"
    cloud.call("DeleteRoute", **route)
    assert [one["GatewayId"] for one in table(cloud, site.table)["Routes"]] == ["local"]


def test_routes_that_cannot_be(cloud: Cloud, site: Site) -> None:
    def code(operation: str, destination: str, **more: str) -> str:
        return cloud.code(operation, RouteTableId=site.table, DestinationCidrBlock=destination, **more)

    foreign = cloud.call("CreateInternetGateway")["InternetGateway"]["InternetGatewayId"]
    assert code("CreateRoute", "0.0.0.0/0", GatewayId=foreign) == "InvalidParameterValue"
    assert code("CreateRoute", "0.0.0.0/0", GatewayId="igw-00000000000000000") == "InvalidGatewayID.NotFound"
    assert code("CreateRoute", "0.0.0.0/0") == "MissingParameter"
    assert code("CreateRoute", "0.0.0.0/0", NatGatewayId="nat-1") == "InvalidNatGatewayID.NotFound"
    assert code("CreateRoute", "10.0.1.0/24", GatewayId=site.gateway) == "InvalidParameterValue"
    assert code("CreateRoute", "10.0.0.0/16", GatewayId=site.gateway) == "RouteAlreadyExists"
    assert code("CreateRoute", "everywhere", GatewayId=site.gateway) == "InvalidParameterValue"
    assert code("DeleteRoute", "10.0.0.0/16") == "InvalidParameterValue"
    assert code("ReplaceRoute", "10.0.0.0/16", GatewayId=site.gateway) == "InvalidParameterValue"


def test_associations(cloud: Cloud, site: Site) -> None:
    made = cloud.call("AssociateRouteTable", RouteTableId=site.table, SubnetId=site.subnet)
    again = cloud.call("AssociateRouteTable", RouteTableId=site.table, SubnetId=site.subnet)
    assert again == made
    other = cloud.call("CreateRouteTable", VpcId=site.vpc)["RouteTable"]["RouteTableId"]
    assert cloud.code("AssociateRouteTable", RouteTableId=other, SubnetId=site.subnet) == "Resource.AlreadyAssociated"
    assert cloud.code("DeleteRouteTable", RouteTableId=site.table) == "DependencyViolation"
    moved = cloud.call("ReplaceRouteTableAssociation", AssociationId=made["AssociationId"], RouteTableId=other)
    assert moved["NewAssociationId"] != made["AssociationId"]
    assert table(cloud, other)["Associations"][0]["SubnetId"] == site.subnet
    cloud.call("DeleteRouteTable", RouteTableId=site.table)
    cloud.call("DisassociateRouteTable", AssociationId=moved["NewAssociationId"])
    assert cloud.code("DisassociateRouteTable", AssociationId=moved["NewAssociationId"]) == (
        "InvalidAssociationID.NotFound"
    )
    cloud.call("DeleteRouteTable", RouteTableId=other)


def test_another_table_becomes_the_main_one(cloud: Cloud, site: Site) -> None:
    main = cloud.call("DescribeRouteTables", Filters=filters(vpc_id=site.vpc, **{"association.main": "true"}))
    (association,) = main["RouteTables"][0]["Associations"]
    asked = association["RouteTableAssociationId"]
    assert cloud.code("DisassociateRouteTable", AssociationId=asked) == "InvalidParameterValue"
    cloud.call("ReplaceRouteTableAssociation", AssociationId=asked, RouteTableId=site.table)
    assert table(cloud, site.table)["Associations"][0]["Main"] is True
    cloud.call("DeleteRouteTable", RouteTableId=association["RouteTableId"])


def test_networks_are_not_mixed(cloud: Cloud, site: Site) -> None:
    subnet_id = cloud.default("subnet")["SubnetId"]
    assert cloud.code("AssociateRouteTable", RouteTableId=site.table, SubnetId=subnet_id) == "InvalidParameterValue"


def test_client_token_makes_one_table(cloud: Cloud, site: Site) -> None:
    first = cloud.call("CreateRouteTable", VpcId=site.vpc, ClientToken="t")
    assert cloud.call("CreateRouteTable", VpcId=site.vpc, ClientToken="t") == first
    other = cloud.default("vpc")["VpcId"]
    assert cloud.code("CreateRouteTable", VpcId=other, ClientToken="t") == "IdempotentParameterMismatch"


def test_a_route_to_a_server_works_while_it_runs(cloud: Cloud, site: Site) -> None:
    """By its interface or by itself; what is told is both."""
    server = cloud.run(SubnetId=site.subnet)
    instance, interface = server["InstanceId"], server["NetworkInterfaces"][0]["NetworkInterfaceId"]
    cloud.observe(instance, "running")
    cloud.call("CreateRoute", RouteTableId=site.table, DestinationCidrBlock="0.0.0.0/0", InstanceId=instance)
    shown = table(cloud, site.table)["Routes"][1]
    assert shown == {
        "DestinationCidrBlock": "0.0.0.0/0",
        "Origin": "CreateRoute",
        "NetworkInterfaceId": interface,
        "InstanceId": instance,
        "InstanceOwnerId": ACCOUNT,
        "State": "active",
    }
    route = {"RouteTableId": site.table, "DestinationCidrBlock": "192.0.2.0/24", "NetworkInterfaceId": interface}
    cloud.call("CreateRoute", **route)
    found = cloud.call("DescribeRouteTables", Filters=filters(**{"route.instance_id": instance}))["RouteTables"]
    assert [one["RouteTableId"] for one in found] == [site.table]
    cloud.observe(instance, "stopped")
    assert [one["State"] for one in table(cloud, site.table)["Routes"]] == ["active", "blackhole", "blackhole"]
    cloud.observe(instance, "terminated")
    shown = table(cloud, site.table)["Routes"][1]
    assert (shown["NetworkInterfaceId"], shown["State"], "InstanceId" in shown) == (interface, "blackhole", False)


def test_within_a_vpc_traffic_to_a_subnet_can_be_led_through_a_server(cloud: Cloud, site: Site) -> None:
    interface = cloud.call("CreateNetworkInterface", SubnetId=site.subnet)["NetworkInterface"]["NetworkInterfaceId"]
    route = {"RouteTableId": site.table, "NetworkInterfaceId": interface}
    assert cloud.code("CreateRoute", **route, DestinationCidrBlock="10.0.1.0/25") == "InvalidParameterValue"
    cloud.call("CreateRoute", **route, DestinationCidrBlock="10.0.1.0/24")
    both = {**route, "DestinationCidrBlock": "10.0.0.0/16"}
    assert cloud.code("ReplaceRoute", **both, LocalTarget=True) == "InvalidParameterCombination"
    cloud.call("ReplaceRoute", **both)
    assert table(cloud, site.table)["Routes"][0]["NetworkInterfaceId"] == interface
    local = {"RouteTableId": site.table, "DestinationCidrBlock": "10.0.0.0/16"}
    assert cloud.code("DeleteRoute", **local) == "InvalidParameterValue"
    cloud.call("ReplaceRoute", **local, LocalTarget=True)
    assert table(cloud, site.table)["Routes"][0]["GatewayId"] == "local"
    other = {"RouteTableId": site.table, "DestinationCidrBlock": "10.0.1.0/24", "LocalTarget": True}
    assert cloud.code("ReplaceRoute", **other) == "InvalidParameterValue"


def test_servers_that_routes_cannot_lead_to(cloud: Cloud, site: Site) -> None:
    route = {"RouteTableId": site.table, "DestinationCidrBlock": "0.0.0.0/0"}
    abroad = cloud.run()
    interface = abroad["NetworkInterfaces"][0]["NetworkInterfaceId"]
    assert cloud.code("CreateRoute", **route, InstanceId=abroad["InstanceId"]) == "InvalidParameterValue"
    assert cloud.code("CreateRoute", **route, NetworkInterfaceId=interface) == "InvalidParameterValue"
    two = {"NetworkInterfaceId": interface, "GatewayId": site.gateway}
    assert cloud.code("CreateRoute", **route, **two) == "InvalidParameterCombination"
    nobody = "eni-00000000000000000"
    assert cloud.code("CreateRoute", **route, NetworkInterfaceId=nobody) == "InvalidNetworkInterfaceID.NotFound"
    wide = cloud.run(NetworkInterfaces=[{"DeviceIndex": one, "SubnetId": site.subnet} for one in (0, 1)])
    assert cloud.code("CreateRoute", **route, InstanceId=wide["InstanceId"]) == "InvalidInstanceID"
