"""A gateway's route table leads what comes in through a server that forwards it."""

from __future__ import annotations

import socket

import pytest
from support.real_cloud import RealCloud
from support.real_server import until

pytestmark = pytest.mark.real

ENOUGH = 0.7
"""Seconds after which a connection that nobody answers counts as dropped."""


def answers(address: str) -> bool:
    try:
        with socket.create_connection((address, 22), ENOUGH) as link:
            link.settimeout(60)
            return link.recv(4) == b"SSH-"
    except OSError:
        return False


def test_what_comes_in_passes_the_server_that_the_table_names(cloud: RealCloud) -> None:
    ec2, host = cloud.ec2, f"{cloud.endpoint.loopback}/32"
    vpc = ec2.create_vpc(CidrBlock="10.79.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.79.{number}.0/24")["Subnet"]["SubnetId"] for number in (1, 2)
    ]
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    (main,) = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["RouteTables"]
    ec2.create_route(RouteTableId=main["RouteTableId"], DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    group = cloud.security_group("through", vpc, (22, host))
    wanted = [
        {"DeviceIndex": 0, "SubnetId": subnet, "Groups": [group], "AssociatePublicIpAddress": True}
        for subnet in subnets
    ]
    server, guard = (cloud.start(NetworkInterfaces=[interface]) for interface in wanted)
    server.await_ssh()
    guard.await_ssh()
    ec2.modify_instance_attribute(InstanceId=guard.id, SourceDestCheck={"Value": False})
    through = guard.describe()["NetworkInterfaces"][0]["NetworkInterfaceId"]
    incoming, outgoing = (
        ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"] for _ in ("of the gateway", "of the server")
    )
    ec2.create_route(RouteTableId=incoming, DestinationCidrBlock="10.79.1.0/24", NetworkInterfaceId=through)
    ec2.create_route(RouteTableId=outgoing, DestinationCidrBlock="0.0.0.0/0", NetworkInterfaceId=through)
    ties = [
        ec2.associate_route_table(RouteTableId=incoming, GatewayId=gateway)["AssociationId"],
        ec2.associate_route_table(RouteTableId=outgoing, SubnetId=subnets[0])["AssociationId"],
    ]
    address = server.public_ip
    until(lambda: not answers(address), "the way through a server that does not forward")
    guard.ssh("sudo sysctl -q -w net.ipv4.ip_forward=1")
    until(lambda: answers(address), "the way through the server that forwards")
    until(lambda: answers(guard.public_ip), "the server that forwards to answer itself")
    guard.ssh("sudo sysctl -q -w net.ipv4.ip_forward=0")
    until(lambda: not answers(address), "the end of forwarding")
    for tie in ties:
        ec2.disassociate_route_table(AssociationId=tie)
    until(lambda: answers(address), "the straight way")
    for each in (server, guard):
        each.terminate()
    for table in (incoming, outgoing):
        ec2.delete_route_table(RouteTableId=table)
    ec2.delete_security_group(GroupId=group)
    ec2.detach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    ec2.delete_internet_gateway(InternetGatewayId=gateway)
    for subnet in subnets:
        ec2.delete_subnet(SubnetId=subnet)
    ec2.delete_vpc(VpcId=vpc)
