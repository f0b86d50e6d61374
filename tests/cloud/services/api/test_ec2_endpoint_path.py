"""How AWS sees a server's request: through an endpoint, at a public address, or not at all."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import pytest
from ec2_fixtures import Cloud

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.network import SERVICES
from skylift.cloud.services.api.authorize import authorize, caller_context
from skylift.cloud.services.api.endpoint_path import by_endpoint_path
from skylift.cloud.services.api.operation import Check

SERVICE = "com.amazonaws.us-east-1.s3"
READ = Check("s3:GetObject", "arn:aws:s3:::reports/a")
WRITE = Check("s3:PutObject", "arn:aws:s3:::reports/a")


@dataclass
class Site:
    """A VPC with a public and a private subnet, and one server in each."""

    cloud: Cloud
    vpc: str
    tables: dict[str, str]
    subnets: dict[str, str]
    servers: dict[str, dict[str, Any]]

    def seen(self, server: str, service: str = "s3") -> Caller:
        sender = replace(self.cloud.caller, source_ip=self.servers[server]["PrivateIpAddress"])
        with self.cloud.database.read() as tx:
            return by_endpoint_path(tx, sender, self.vpc, service)

    def nowhere(self, server: str, service: str = "s3") -> str:
        with pytest.raises(ServiceError) as caught:
            self.seen(server, service)
        assert (caught.value.code, caught.value.status) == ("NoWayToService", 403)
        return caught.value.message

    def endpoint(self, **params: Any) -> str:
        asked = {"VpcId": self.vpc, "ServiceName": SERVICE, "RouteTableIds": [self.tables["private"]], **params}
        return str(self.cloud.call("CreateVpcEndpoint", **asked)["VpcEndpoint"]["VpcEndpointId"])

    def let_forward(self, server: str) -> None:
        off = {"SourceDestCheck": {"Value": False}}
        self.cloud.call("ModifyInstanceAttribute", InstanceId=self.servers[server]["InstanceId"], **off)

    def lead(self, table: str, **target: str) -> None:
        route = {"RouteTableId": self.tables[table], "DestinationCidrBlock": "0.0.0.0/0"}
        self.cloud.call("CreateRoute", **route, **target)


@pytest.fixture
def site(cloud: Cloud) -> Site:
    vpc = cloud.call("CreateVpc", CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    gateway = cloud.call("CreateInternetGateway")["InternetGateway"]["InternetGatewayId"]
    cloud.call("AttachInternetGateway", InternetGatewayId=gateway, VpcId=vpc)
    made = Site(cloud, vpc, {}, {}, {})
    for number, name in enumerate(("public", "private")):
        subnet = cloud.call("CreateSubnet", VpcId=vpc, CidrBlock=f"10.0.{number}.0/24")["Subnet"]["SubnetId"]
        table = cloud.call("CreateRouteTable", VpcId=vpc)["RouteTable"]["RouteTableId"]
        cloud.call("AssociateRouteTable", RouteTableId=table, SubnetId=subnet)
        made.tables[name], made.subnets[name] = table, subnet
        card = {"DeviceIndex": 0, "SubnetId": subnet, "AssociatePublicIpAddress": name == "public"}
        instance = cloud.run(NetworkInterfaces=[card])["InstanceId"]
        cloud.observe(instance, "running")
        made.servers[name] = cloud.instance(instance)
    made.lead("public", GatewayId=gateway)
    return made


def test_by_a_public_address(site: Site) -> None:
    assert site.seen("public").source_ip == site.servers["public"]["PublicIpAddress"]
    assert site.seen("public", "ec2").vpc_endpoint_id == ""
    gateway = site.cloud.call("DescribeInternetGateways")["InternetGateways"][-1]["InternetGatewayId"]
    site.lead("private", GatewayId=gateway)
    assert "a public address of its own" in site.nowhere("private")


def test_by_a_nat_gateway(site: Site) -> None:
    site.nowhere("private")
    address = site.cloud.call("AllocateAddress")
    made = site.cloud.call("CreateNatGateway", SubnetId=site.subnets["public"], AllocationId=address["AllocationId"])
    gateway = made["NatGateway"]["NatGatewayId"]
    site.lead("private", NatGatewayId=gateway)
    for service in ("s3", "sts"):
        assert site.seen("private", service).source_ip == address["PublicIp"]
    # A NAT gateway sends nothing through an endpoint, an instance does.
    endpoint = site.endpoint(RouteTableIds=[site.tables["public"]])
    assert site.seen("private").source_ip == address["PublicIp"]
    site.cloud.call("DeleteVpcEndpoints", VpcEndpointIds=[endpoint])
    site.cloud.call("DeleteNatGateway", NatGatewayId=gateway)
    site.nowhere("private")


def test_by_a_nat_instance(site: Site) -> None:
    server = site.servers["public"]
    site.lead("private", InstanceId=server["InstanceId"])
    # Its interface is checked as yet, and gets nothing that is not for it.
    site.nowhere("private")
    site.let_forward("public")
    assert site.seen("private").source_ip == server["PublicIpAddress"]
    endpoint = site.endpoint(RouteTableIds=[site.tables["public"]])
    through = site.seen("private")
    assert (through.vpc_endpoint_id, through.source_ip) == (endpoint, server["PrivateIpAddress"])
    site.cloud.observe(server["InstanceId"], "stopped")
    site.nowhere("private")


def test_two_that_lead_to_each_other_lead_nowhere(site: Site) -> None:
    public = {"RouteTableId": site.tables["public"], "DestinationCidrBlock": "0.0.0.0/0"}
    site.cloud.call("ReplaceRoute", **public, InstanceId=site.servers["private"]["InstanceId"])
    site.lead("private", InstanceId=site.servers["public"]["InstanceId"])
    for server in ("public", "private"):
        site.let_forward(server)
    site.nowhere("private")


def test_of_two_lists_the_route_that_came_first_leads(site: Site) -> None:
    """As the kernel's routes are made; whatever the ids of their targets are."""
    gateway = site.cloud.call("DescribeInternetGateways")["InternetGateways"][-1]["InternetGatewayId"]
    interface = site.servers["private"]["NetworkInterfaces"][0]["NetworkInterfaceId"]
    lists = []
    for name in ("first", "second"):
        asked = {"PrefixListName": name, "AddressFamily": "IPv4", "MaxEntries": 1}
        made = site.cloud.call("CreateManagedPrefixList", **asked, Entries=[{"Cidr": f"{SERVICES}/32"}])
        lists.append(made["PrefixList"]["PrefixListId"])
    table = site.tables["public"]
    site.cloud.call("CreateRoute", RouteTableId=table, DestinationPrefixListId=lists[0], NetworkInterfaceId=interface)
    site.cloud.call("CreateRoute", RouteTableId=table, DestinationPrefixListId=lists[1], GatewayId=gateway)
    site.nowhere("public")
    site.cloud.call("DeleteRoute", RouteTableId=table, DestinationPrefixListId=lists[0])
    assert site.seen("public").source_ip == site.servers["public"]["PublicIpAddress"]


def test_by_an_endpoint_to_s3_alone(site: Site) -> None:
    endpoint = site.endpoint()
    seen = site.seen("private")
    assert (seen.vpc_id, seen.vpc_endpoint_id) == (site.vpc, endpoint)
    site.nowhere("private", "ec2")
    assert site.seen("public").vpc_endpoint_id == ""
    site.cloud.call("ModifyVpcEndpoint", VpcEndpointId=endpoint, AddRouteTableIds=[site.tables["public"]])
    assert site.seen("public").vpc_endpoint_id == endpoint
    assert site.seen("public", "ec2").source_ip == site.servers["public"]["PublicIpAddress"]
    site.cloud.call("DeleteVpcEndpoints", VpcEndpointIds=[endpoint])
    site.nowhere("private")
    assert site.seen("public").vpc_endpoint_id == ""


def test_an_address_that_nobody_has_by_now(site: Site) -> None:
    site.servers["gone"] = {"PrivateIpAddress": "10.0.1.250"}
    assert "no interface with that address" in site.nowhere("gone")


def test_policies_ask_where_it_came_through(site: Site) -> None:
    endpoint, private = site.endpoint(), site.servers["private"]["PrivateIpAddress"]
    private_caller, public_caller = site.seen("private"), site.seen("public")
    with site.cloud.database.read() as tx:
        through = caller_context(tx, private_caller, tx.now)
        past = caller_context(tx, public_caller, tx.now)
    keys = ("aws:SourceVpc", "aws:SourceVpce", "aws:VpcSourceIp")
    assert [through[key] for key in keys] == [site.vpc, endpoint, private]
    assert "aws:SourceIp" not in through
    assert past["aws:SourceIp"] == site.servers["public"]["PublicIpAddress"]
    assert not set(keys) & set(past)


def ask(site: Site, check: Check) -> None:
    caller = site.seen("private")
    with site.cloud.database.read() as tx:
        authorize(tx, caller, [check], service="s3")


def test_its_policy_holds_for_everybody_root_too(site: Site) -> None:
    reading = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::reports/*"}
    endpoint = site.endpoint(PolicyDocument=json.dumps({"Statement": [reading]}))
    ask(site, READ)
    with pytest.raises(ServiceError, match="because no VPC endpoint policy allows the s3:PutObject action"):
        ask(site, WRITE)
    denying = {**reading, "Effect": "Deny", "Condition": {"StringEquals": {"aws:SourceVpce": endpoint}}}
    change = json.dumps({"Statement": [{**reading, "Action": "*", "Resource": "*"}, denying]})
    site.cloud.call("ModifyVpcEndpoint", VpcEndpointId=endpoint, PolicyDocument=change)
    ask(site, WRITE)
    with pytest.raises(ServiceError, match="with an explicit deny in a VPC endpoint policy"):
        ask(site, READ)


def test_its_policy_grants_nothing(site: Site) -> None:
    site.endpoint()
    nobody = replace(site.seen("private"), kind="anonymous", arn="anonymous")
    with site.cloud.database.read() as tx, pytest.raises(ServiceError, match="Access Denied"):
        authorize(tx, nobody, [READ], service="s3")


def test_one_that_is_deleted_meanwhile_lets_nothing_pass(site: Site) -> None:
    endpoint = site.endpoint()
    caller = site.seen("private")
    site.cloud.call("DeleteVpcEndpoints", VpcEndpointIds=[endpoint])
    with site.cloud.database.read() as tx, pytest.raises(ServiceError, match="no VPC endpoint policy allows"):
        authorize(tx, caller, [READ], service="s3")
