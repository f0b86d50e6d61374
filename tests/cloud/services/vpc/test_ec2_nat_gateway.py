from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from ec2_fixtures import Cloud, filters, tagged

from skylift.cloud.compute.network.plan import VpcPlan
from skylift.cloud.loops.vpc.network import NetworkLoop
from skylift.cloud.services.vpc.nat_gateway import forget_deleted


class Networks:
    """Takes plans as compute does, and keeps the last ones; told to, it fails."""

    def __init__(self) -> None:
        self.plans: Sequence[VpcPlan] = ()
        self.broken = False
        self.behind: dict[str, Exception] = {}

    def apply(self, plans: list[VpcPlan]) -> dict[str, Exception]:
        if self.broken:
            raise OSError("the kernel says no")
        self.plans = plans
        return dict(self.behind)


@dataclass
class Site:
    cloud: Cloud
    vpc: str
    subnet: str
    allocation: str
    public_ip: str
    networks: Networks
    loop: NetworkLoop

    def create(self, **params: Any) -> dict[str, Any]:
        asked = {"SubnetId": self.subnet, "AllocationId": self.allocation, **params}
        made: dict[str, Any] = self.cloud.call("CreateNatGateway", **asked)["NatGateway"]
        return made

    def shown(self, gateway: str) -> dict[str, Any]:
        found: dict[str, Any] = self.cloud.call("DescribeNatGateways", NatGatewayIds=[gateway])["NatGateways"][0]
        return found


@pytest.fixture
def site(cloud: Cloud) -> Site:
    made = cloud.call("AllocateAddress")
    networks = Networks()
    loop = NetworkLoop(cloud.database, networks, lambda _: {}, lambda _: None)
    subnet = cloud.default("subnet")
    return Site(cloud, subnet["VpcId"], subnet["SubnetId"], made["AllocationId"], made["PublicIp"], networks, loop)


def test_its_life(cloud: Cloud, site: Site) -> None:
    made = site.create(TagSpecifications=tagged("natgateway", Name="way-out"))
    gateway = made["NatGatewayId"]
    assert (made["State"], made["ConnectivityType"], made["VpcId"]) == ("pending", "public", site.vpc)
    site.loop.step()
    shown = site.shown(gateway)
    assert (shown["State"], shown["Tags"]) == ("available", [{"Key": "Name", "Value": "way-out"}])
    (address,) = shown["NatGatewayAddresses"]
    assert (address["PublicIp"], address["AllocationId"]) == (site.public_ip, site.allocation)
    (plan,) = site.networks.plans
    assert [nat.id for nat in plan.nat_gateways] == [gateway]
    assert plan.interfaces == ()
    assert cloud.call("DeleteNatGateway", NatGatewayId=gateway) == {"NatGatewayId": gateway}
    assert site.shown(gateway)["State"] == "deleting"
    assert cloud.code("ReleaseAddress", AllocationId=site.allocation) == "AuthFailure"
    site.loop.step()
    assert site.shown(gateway)["State"] == "deleted"
    assert site.networks.plans[0].nat_gateways == ()
    cloud.call("ReleaseAddress", AllocationId=site.allocation)
    with cloud.database.write() as tx:
        forget_deleted(tx)
    assert "DeleteTime" in site.shown(gateway)
    cloud.clock.forward(hours=1)
    with cloud.database.write() as tx:
        forget_deleted(tx)
    assert cloud.code("DescribeNatGateways", NatGatewayIds=[gateway]) == "NatGatewayNotFound"


def test_it_is_not_available_before_the_kernel_has_it(cloud: Cloud, site: Site) -> None:
    gateway = site.create()["NatGatewayId"]
    site.networks.broken = True
    with pytest.raises(OSError, match="the kernel says no"):
        site.loop.step()
    assert site.shown(gateway)["State"] == "pending"


def test_it_neither_comes_nor_goes_while_its_vpcs_router_is_behind(cloud: Cloud, site: Site) -> None:
    gateway = site.create()["NatGatewayId"]
    site.networks.behind[site.vpc] = OSError("the kernel says no")
    with pytest.raises(OSError, match="the kernel says no"):
        site.loop.step()
    assert site.shown(gateway)["State"] == "pending"
    site.networks.behind.clear()
    site.loop.step()
    assert site.shown(gateway)["State"] == "available"
    site.networks.behind[site.vpc] = OSError("the kernel says no")
    cloud.call("DeleteNatGateway", NatGatewayId=gateway)
    site.loop.sync()
    assert site.shown(gateway)["State"] == "deleting"
    assert cloud.code("ReleaseAddress", AllocationId=site.allocation) == "AuthFailure"
    site.networks.behind.clear()
    site.loop.step()
    assert site.shown(gateway)["State"] == "deleted"


def test_one_that_is_deleted_before_it_was_there_goes_as_well(cloud: Cloud, site: Site) -> None:
    site.loop.step()
    gateway = site.create()["NatGatewayId"]
    cloud.call("DeleteNatGateway", NatGatewayId=gateway)
    site.loop.step()
    assert site.shown(gateway)["State"] == "deleted"


def test_its_interface_holds_a_place_in_the_subnet(cloud: Cloud, site: Site) -> None:
    made = site.create(PrivateIpAddress="172.31.0.77")
    (interface,) = cloud.call("DescribeNetworkInterfaces", Filters=filters(interface_type="nat_gateway"))[
        "NetworkInterfaces"
    ]
    assert interface["PrivateIpAddress"] == "172.31.0.77"
    assert interface["Association"]["AllocationId"] == site.allocation
    assert interface["Description"] == f"Interface for NAT Gateway {made['NatGatewayId']}"
    assert (interface["Status"], interface["RequesterManaged"]) == ("in-use", True)
    assert cloud.code("DeleteSubnet", SubnetId=site.subnet) == "DependencyViolation"
    cloud.call("DeleteNatGateway", NatGatewayId=made["NatGatewayId"])
    site.loop.step()
    assert cloud.call("DescribeNetworkInterfaces")["NetworkInterfaces"] == []


def test_its_address_cannot_be_taken_from_it(cloud: Cloud, site: Site) -> None:
    (address,) = site.create()["NatGatewayAddresses"]
    instance = str(cloud.run()["InstanceId"])
    cloud.observe(instance, "running")
    assert cloud.code("DisassociateAddress", AssociationId=address["AssociationId"]) == "AuthFailure"
    assert cloud.code("AssociateAddress", AllocationId=site.allocation, InstanceId=instance) == "AuthFailure"
    other = cloud.call("AllocateAddress")["AllocationId"]
    theirs = {"AllocationId": other, "NetworkInterfaceId": address["NetworkInterfaceId"]}
    assert cloud.code("AssociateAddress", **theirs) == "AuthFailure"
    assert cloud.code("CreateNatGateway", SubnetId=site.subnet, AllocationId=site.allocation) == (
        "Resource.AlreadyAssociated"
    )


def test_a_route_to_it(cloud: Cloud, site: Site) -> None:
    gateway = site.create()["NatGatewayId"]
    table = cloud.call("CreateRouteTable", VpcId=site.vpc)["RouteTable"]["RouteTableId"]
    route = {"RouteTableId": table, "DestinationCidrBlock": "0.0.0.0/0"}
    cloud.call("CreateRoute", NatGatewayId=gateway, **route)

    def shown() -> dict[str, Any]:
        (found,) = cloud.call("DescribeRouteTables", Filters=filters(**{"route.nat_gateway_id": gateway}))[
            "RouteTables"
        ]
        return next(one for one in found["Routes"] if "NatGatewayId" in one)

    assert (shown()["NatGatewayId"], shown()["State"]) == (gateway, "active")
    assert "GatewayId" not in shown()
    cloud.call("DeleteNatGateway", NatGatewayId=gateway)
    assert shown()["State"] == "blackhole"
    assert cloud.code("ReplaceRoute", NatGatewayId=gateway, **route) == "InvalidNatGatewayID.NotFound"
    assert cloud.code("ReplaceRoute", NatGatewayId=gateway, GatewayId="igw-1", **route) == "InvalidParameterCombination"


def test_a_repeat_makes_nothing_new(cloud: Cloud, site: Site) -> None:
    first = site.create(ClientToken="once")
    assert site.create(ClientToken="once")["NatGatewayId"] == first["NatGatewayId"]
    repeat = {"SubnetId": site.subnet, "AllocationId": site.allocation, "ClientToken": "once"}
    assert cloud.code("CreateNatGateway", **repeat, PrivateIpAddress="172.31.0.77") == "IdempotentParameterMismatch"


def test_what_cannot_be_made(cloud: Cloud, site: Site) -> None:
    asked = {"SubnetId": site.subnet, "AllocationId": site.allocation}
    assert cloud.code("CreateNatGateway", **asked, ConnectivityType="private") == "InvalidParameterCombination"
    assert cloud.code("CreateNatGateway", **asked, ConnectivityType="both") == "UnsupportedOperation"
    assert cloud.code("CreateNatGateway", SubnetId=site.subnet) == "MissingParameter"
    assert cloud.code("CreateNatGateway", AllocationId=site.allocation) == "MissingParameter"
    vpc = cloud.call("CreateVpc", CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = cloud.call("CreateSubnet", VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
    assert cloud.code("CreateNatGateway", **asked | {"SubnetId": subnet}) == "Gateway.NotAttached"
    assert cloud.code("CreateNatGateway", **asked, DryRun=True) == "DryRunOperation"
    assert cloud.call("DescribeNatGateways")["NatGateways"] == []
    assert cloud.code("DeleteNatGateway", NatGatewayId="nat-00000000000000000") == "NatGatewayNotFound"


def test_filters(cloud: Cloud, site: Site) -> None:
    gateway = site.create()["NatGatewayId"]
    for given in (filters(state="pending"), filters(vpc_id=site.vpc), filters(subnet_id=site.subnet)):
        (found,) = cloud.call("DescribeNatGateways", Filter=given)["NatGateways"]
        assert found["NatGatewayId"] == gateway
    assert cloud.call("DescribeNatGateways", Filter=filters(state="deleted"))["NatGateways"] == []
