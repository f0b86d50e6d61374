"""Two peered VPCs: who reaches whom by private address, as routes, security groups and the connection say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from support.real_cloud import RealCloud
from support.real_server import Server, until

pytestmark = pytest.mark.real

ENOUGH = 1
"""Seconds after which a connection that nobody answers counts as dropped."""


@dataclass(frozen=True)
class Side:
    vpc: str
    cidr: str
    subnet: str
    gateway: str
    table: str
    group: str
    server: Server


def side(cloud: RealCloud, name: str, cidr: str, peer: str) -> Side:
    """A VPC with a server that takes SSH from the host and from the peer's range."""
    ec2, host = cloud.ec2, f"{cloud.endpoint.loopback}/32"
    vpc = ec2.create_vpc(CidrBlock=cidr)["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock=cidr.replace(".0.0/16", ".1.0/24"))["Subnet"]["SubnetId"]
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    tables = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["RouteTables"]
    table = tables[0]["RouteTableId"]
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    group = cloud.security_group(f"peer-{name}", vpc, (22, host), (22, peer))
    interface = {"DeviceIndex": 0, "SubnetId": subnet, "Groups": [group], "AssociatePublicIpAddress": True}
    server = cloud.start(NetworkInterfaces=[interface])
    return Side(vpc, cidr, subnet, gateway, table, group, server)


@pytest.fixture(scope="module")
def sides(cloud: RealCloud) -> Iterator[tuple[Side, Side]]:
    ec2, one, two = cloud.ec2, "10.77.0.0/16", "10.78.0.0/16"
    made = (side(cloud, "one", one, two), side(cloud, "two", two, one))
    for each in made:
        each.server.await_ssh()
    yield made
    for each in made:
        each.server.terminate()
        ec2.delete_security_group(GroupId=each.group)
        ec2.detach_internet_gateway(InternetGatewayId=each.gateway, VpcId=each.vpc)
        ec2.delete_internet_gateway(InternetGatewayId=each.gateway)
        ec2.delete_subnet(SubnetId=each.subnet)
        ec2.delete_vpc(VpcId=each.vpc)


def reaches(source: Server, target: Server) -> bool:
    """By private address, to where sshd listens."""
    knock = f"timeout {ENOUGH} bash -c 'exec 3<>/dev/tcp/{target.private_ip}/22; head -c4 <&3'"
    return source.ssh(knock, check=False).stdout == "SSH-"


def test_peers_reach_each_other_as_long_as_all_says_so(cloud: RealCloud, sides: tuple[Side, Side]) -> None:
    ec2, (one, two) = cloud.ec2, sides
    assert not reaches(one.server, two.server)
    made = ec2.create_vpc_peering_connection(VpcId=one.vpc, PeerVpcId=two.vpc)["VpcPeeringConnection"]
    peering = made["VpcPeeringConnectionId"]
    ec2.accept_vpc_peering_connection(VpcPeeringConnectionId=peering)
    ec2.create_route(RouteTableId=one.table, DestinationCidrBlock=two.cidr, VpcPeeringConnectionId=peering)
    # Without a route back nothing comes back.
    assert not reaches(one.server, two.server)
    ec2.create_route(RouteTableId=two.table, DestinationCidrBlock=one.cidr, VpcPeeringConnectionId=peering)
    until(lambda: reaches(one.server, two.server), "the route back")
    until(lambda: reaches(two.server, one.server), "the other way round")
    (shown,) = ec2.describe_vpc_peering_connections(VpcPeeringConnectionIds=[peering])["VpcPeeringConnections"]
    assert shown["Status"]["Code"] == "active"
    # The group of the target decides, and nothing of the other VPC is a way out of this one.
    permission = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": one.cidr}]}
    ec2.revoke_security_group_ingress(GroupId=two.group, IpPermissions=[permission])
    until(lambda: not reaches(one.server, two.server), "the group without the peer")
    until(lambda: reaches(two.server, one.server), "the other way round")
    named = {**permission, "IpRanges": [], "UserIdGroupPairs": [{"GroupId": one.group}]}
    ec2.authorize_security_group_ingress(GroupId=two.group, IpPermissions=[named])
    until(lambda: reaches(one.server, two.server), "the peer's group")
    elsewhere = {"RouteTableId": one.table, "DestinationCidrBlock": "169.254.0.0/16"}
    ec2.create_route(**elsewhere, VpcPeeringConnectionId=peering)
    assert one.server.says("curl -so /dev/null -w '%{http_code}' -m 60 http://169.254.169.254/latest/") == "401"
    ec2.delete_route(**elsewhere)
    ec2.delete_vpc_peering_connection(VpcPeeringConnectionId=peering)
    until(lambda: not reaches(two.server, one.server), "the end of the connection")
    routes = ec2.describe_route_tables(RouteTableIds=[one.table])["RouteTables"][0]["Routes"]
    assert [route["State"] for route in routes if "VpcPeeringConnectionId" in route] == ["blackhole"]
    for each, other in ((one, two), (two, one)):
        ec2.delete_route(RouteTableId=each.table, DestinationCidrBlock=other.cidr)


def test_a_peer_sees_a_private_nat_gateway(cloud: RealCloud, sides: tuple[Side, Side]) -> None:
    """Its address is all that the peer's group lets in."""
    ec2, (one, two) = cloud.ec2, sides
    peering = ec2.create_vpc_peering_connection(VpcId=one.vpc, PeerVpcId=two.vpc)["VpcPeeringConnection"][
        "VpcPeeringConnectionId"
    ]
    ec2.accept_vpc_peering_connection(VpcPeeringConnectionId=peering)
    subnet = ec2.create_subnet(VpcId=one.vpc, CidrBlock="10.77.9.0/24")["Subnet"]["SubnetId"]
    table = ec2.create_route_table(VpcId=one.vpc)["RouteTable"]["RouteTableId"]
    tied = ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)["AssociationId"]
    made = ec2.create_nat_gateway(SubnetId=subnet, ConnectivityType="private", PrivateIpAddress="10.77.9.9")
    gateway = made["NatGateway"]["NatGatewayId"]
    ec2.get_waiter("nat_gateway_available").wait(NatGatewayIds=[gateway], WaiterConfig={"Delay": 1, "MaxAttempts": 120})
    group = cloud.security_group("nat-only", two.vpc, (22, "10.77.9.9/32"), (22, f"{cloud.endpoint.loopback}/32"))
    card = two.server.describe()["NetworkInterfaces"][0]["NetworkInterfaceId"]
    ec2.modify_network_interface_attribute(NetworkInterfaceId=card, Groups=[group])
    back = {"RouteTableId": two.table, "DestinationCidrBlock": one.cidr}
    ec2.create_route(**back, VpcPeeringConnectionId=peering)
    there = {"RouteTableId": one.table, "DestinationCidrBlock": two.cidr}
    ec2.create_route(**there, VpcPeeringConnectionId=peering)
    assert not reaches(one.server, two.server)
    ec2.create_route(RouteTableId=table, DestinationCidrBlock=two.cidr, VpcPeeringConnectionId=peering)
    ec2.replace_route(**there, NatGatewayId=gateway)
    until(lambda: reaches(one.server, two.server), "the way through the gateway")
    ec2.delete_nat_gateway(NatGatewayId=gateway)
    until(lambda: not reaches(one.server, two.server), "the end of the gateway")
    ec2.delete_vpc_peering_connection(VpcPeeringConnectionId=peering)
    for route in (there, back):
        ec2.delete_route(**route)
    ec2.modify_network_interface_attribute(NetworkInterfaceId=card, Groups=[two.group])
    ec2.delete_security_group(GroupId=group)
    ec2.disassociate_route_table(AssociationId=tied)
    ec2.delete_route_table(RouteTableId=table)
    ec2.get_waiter("nat_gateway_deleted").wait(NatGatewayIds=[gateway], WaiterConfig={"Delay": 1, "MaxAttempts": 120})
    ec2.delete_subnet(SubnetId=subnet)
