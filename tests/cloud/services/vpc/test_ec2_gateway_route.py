"""Route tables of internet gateways: what comes in is led through a server first."""

from __future__ import annotations

from typing import Any

import pytest
from ec2_fixtures import Cloud

from skylift.cloud.compute.network.firewall import vpc_ruleset
from skylift.cloud.compute.network.router import planned_routes
from skylift.cloud.compute.network.traffic import GATEWAY_MARK
from skylift.cloud.loops.vpc.network import vpc_plans


class Site:
    """The default VPC with a table for its gateway, and an interface to lead through."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        (gateway,) = cloud.call("DescribeInternetGateways")["InternetGateways"]
        self.gateway = gateway["InternetGatewayId"]
        self.vpc, self.subnet = cloud.default("vpc")["VpcId"], cloud.default("subnet")
        self.table = cloud.call("CreateRouteTable", VpcId=self.vpc)["RouteTable"]["RouteTableId"]
        made = cloud.call("CreateNetworkInterface", SubnetId=self.subnet["SubnetId"])["NetworkInterface"]
        self.interface = made["NetworkInterfaceId"]

    def associate(self, **params: Any) -> str:
        asked = {"RouteTableId": self.table, "GatewayId": self.gateway, **params}
        return str(self.cloud.call("AssociateRouteTable", **asked)["AssociationId"])

    def lead(self, cidr: str, **target: str) -> str | None:
        """The code of the refusal, if there is one."""
        params = {"RouteTableId": self.table, "DestinationCidrBlock": cidr, **target, "DryRun": True}
        code = self.cloud.code("CreateRoute", **params)
        if code == "DryRunOperation":
            self.cloud.call("CreateRoute", **{**params, "DryRun": False})
            return None
        return code


@pytest.fixture
def site(cloud: Cloud) -> Site:
    return Site(cloud)


def test_a_gateway_has_one_table(cloud: Cloud, site: Site) -> None:
    association = site.associate()
    assert site.associate() == association
    (table,) = cloud.call("DescribeRouteTables", RouteTableIds=[site.table])["RouteTables"]
    (shown,) = table["Associations"]
    assert (shown["GatewayId"], shown["Main"], "SubnetId" in shown) == (site.gateway, False, False)
    other = cloud.call("CreateRouteTable", VpcId=site.vpc)["RouteTable"]["RouteTableId"]
    taken = {"RouteTableId": other, "GatewayId": site.gateway}
    assert cloud.code("AssociateRouteTable", **taken) == "Resource.AlreadyAssociated"
    moved = cloud.call("ReplaceRouteTableAssociation", AssociationId=association, RouteTableId=other)
    assert cloud.call("DescribeRouteTables", RouteTableIds=[site.table])["RouteTables"][0]["Associations"] == []
    detach = {"InternetGatewayId": site.gateway, "VpcId": site.vpc}
    assert cloud.code("DetachInternetGateway", **detach) == "DependencyViolation"
    cloud.call("DisassociateRouteTable", AssociationId=moved["NewAssociationId"])
    cloud.call("DetachInternetGateway", **detach)


def test_what_cannot_be_associated(cloud: Cloud, site: Site) -> None:
    both = {"RouteTableId": site.table, "GatewayId": site.gateway, "SubnetId": site.subnet["SubnetId"]}
    assert cloud.code("AssociateRouteTable", **both) == "InvalidParameterCombination"
    assert cloud.code("AssociateRouteTable", RouteTableId=site.table) == "MissingParameter"
    absent = {"RouteTableId": site.table, "GatewayId": "igw-0123456789abcdef0"}
    assert cloud.code("AssociateRouteTable", **absent) == "InvalidGatewayID.NotFound"
    main = {"RouteTableId": cloud.default("table")["RouteTableId"], "GatewayId": site.gateway}
    assert cloud.code("AssociateRouteTable", **main) == "InvalidParameterValue"


def test_its_routes_stay_in_the_vpc(site: Site) -> None:
    site.associate()
    through = {"NetworkInterfaceId": site.interface}
    assert site.lead("0.0.0.0/0", **through) == "InvalidParameterValue"
    assert site.lead("0.0.0.0/0", GatewayId=site.gateway) == "InvalidParameterValue"
    assert site.lead(site.subnet["CidrBlock"], **through) is None


def test_the_kernel_is_told(cloud: Cloud, site: Site) -> None:
    site.lead(site.subnet["CidrBlock"], NetworkInterfaceId=site.interface)

    def told() -> tuple[set[tuple[str, str, str | None]], list[str]]:
        with cloud.database.read() as tx:
            (plan,) = vpc_plans(tx)
        routes = {(one.target, one.kind, one.through) for one in planned_routes(plan) if one.table == GATEWAY_MARK}
        return routes, [rule for rule in vpc_ruleset(plan, connections=1 << 15).chains["guard"] if "0x00000001" in rule]

    assert told() == (set(), [])
    site.associate()
    routes, marks = told()
    subnet = site.subnet["CidrBlock"]
    assert routes == {
        ("0.0.0.0/0", "throw", None),
        (cloud.default("vpc")["CidrBlock"], "throw", None),
        (subnet, "blackhole", None),
        (subnet, "unicast", site.interface),
    }
    assert marks == ['meta nfproto ipv4 iifname "up" meta mark set 0x00000001']
    address = cloud.call("AllocateAddress")
    asked = {"SubnetId": site.subnet["SubnetId"], "AllocationId": address["AllocationId"]}
    cloud.call("CreateNatGateway", **asked)
    assert f"ip daddr != {{ {address['PublicIp']}/32 }} meta mark set" in told()[1][0]


def test_policies_see_the_gateway(cloud: Cloud, site: Site) -> None:
    checks = cloud.checks("AssociateRouteTable", RouteTableId=site.table, GatewayId=site.gateway)
    assert [check.resource.rpartition(":")[2] for check in checks] == [
        f"route-table/{site.table}",
        f"internet-gateway/{site.gateway}",
    ]
