"""Network interfaces of real servers: a second one, further addresses, and Elastic IPs at each of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from support.real_cloud import RealCloud
from support.real_server import Server, until

pytestmark = pytest.mark.real

ANYWHERE = "0.0.0.0/0"


@dataclass(frozen=True)
class Site:
    cloud: RealCloud
    server: Server
    peer: Server
    subnet: str
    group: str


@pytest.fixture(scope="module")
def site(cloud: RealCloud) -> Iterator[Site]:
    """Two servers of one subnet that let each other and the host in by SSH, and answer to ping."""
    with ExitStack() as end:
        subnets = cloud.ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [cloud.vpc]}])["Subnets"]
        group = cloud.security_group("interfaces", cloud.vpc, (22, ANYWHERE))
        end.callback(cloud.ec2.delete_security_group, GroupId=group)
        ping = {"IpProtocol": "icmp", "FromPort": -1, "ToPort": -1, "IpRanges": [{"CidrIp": ANYWHERE}]}
        cloud.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[ping])
        subnet = subnets[0]["SubnetId"]
        both = [cloud.start(SubnetId=subnet, SecurityGroupIds=[group]) for _ in range(2)]
        for server in both:
            end.callback(server.terminate)
            server.await_ssh()
        yield Site(cloud, both[0], both[1], subnet, group)


@pytest.fixture
def spare(site: Site) -> Iterator[str]:
    """An interface in the servers' subnet that nobody has, and that nobody has at the end."""
    ec2 = site.cloud.ec2
    made = ec2.create_network_interface(SubnetId=site.subnet, Groups=[site.group], SecondaryPrivateIpAddressCount=1)
    interface = str(made["NetworkInterface"]["NetworkInterfaceId"])
    yield interface
    attachment = described(site, interface).get("Attachment")
    if attachment:
        ec2.detach_network_interface(AttachmentId=attachment["AttachmentId"])
        until(lambda: described(site, interface)["Status"] == "available", f"{interface} to be free")
    ec2.delete_network_interface(NetworkInterfaceId=interface)


def described(site: Site, interface: str) -> dict[str, Any]:
    found = site.cloud.ec2.describe_network_interfaces(NetworkInterfaceIds=[interface])["NetworkInterfaces"]
    shown: dict[str, Any] = found[0]
    return shown


def attach(site: Site, interface: str) -> str:
    asked = {"NetworkInterfaceId": interface, "InstanceId": site.server.id, "DeviceIndex": 1}
    attachment = str(site.cloud.ec2.attach_network_interface(**asked)["AttachmentId"])
    until(lambda: described(site, interface)["Attachment"]["Status"] == "attached", f"{interface} to be attached")
    return attachment


def links(server: Server) -> dict[str, dict[str, Any]]:
    return {one["ifname"]: one for one in json.loads(server.says("ip -j -4 address show"))}


def addresses(server: Server, link: str) -> set[str]:
    return {one["local"] for one in links(server)[link]["addr_info"]}


def pings(server: Server, address: str, source: str = "", patience: int = 60) -> bool:
    chosen = f"-I {source}" if source else ""
    return server.ssh(f"ping -c 1 -W {patience} {chosen} {address}", check=False).returncode == 0


def test_a_second_interface_of_a_server_that_runs(site: Site, spare: str) -> None:
    server, peer = site.server, site.peer
    first, second = (one["PrivateIpAddress"] for one in described(site, spare)["PrivateIpAddresses"])
    assert not pings(peer, first, patience=1)
    server.ssh("sleep 300 >/dev/null 2>&1 & echo $! > before")
    attachment = attach(site, spare)
    assert addresses(server, "eth1") == {first, second}
    assert server.says("cat /sys/class/net/eth1/address") == described(site, spare)["MacAddress"]
    for address in (first, second):
        assert pings(peer, address)
        # It goes out by the interface that it belongs to, and is seen at that address.
        assert pings(server, peer.private_ip, address)
    site.cloud.ec2.detach_network_interface(AttachmentId=attachment)
    until(lambda: "eth1" not in links(server), "eth1 to be gone")
    assert not pings(peer, first, patience=1)
    # All the while it was the same boot.
    server.ssh("kill -0 $(cat before)")


def test_it_stays_through_stop_and_start(site: Site, spare: str) -> None:
    server, ec2 = site.server, site.cloud.ec2
    elastic = ec2.allocate_address()
    private = described(site, spare)["PrivateIpAddress"]
    asked = {"NetworkInterfaceId": spare, "PrivateIpAddress": private, "AllocationId": elastic["AllocationId"]}
    association = ec2.associate_address(**asked)["AssociationId"]
    attach(site, spare)
    server.address = elastic["PublicIp"]
    try:
        until(lambda: server.ssh("true", check=False).returncode == 0, "SSH by the second interface's Elastic IP")
        ec2.stop_instances(InstanceIds=[server.id])
        server.await_state("stopped")
        assert described(site, spare)["Attachment"]["Status"] == "attached"
        ec2.start_instances(InstanceIds=[server.id])
        server.await_state("running")
        until(lambda: server.ssh("true", check=False).returncode == 0, "SSH by the second interface's Elastic IP")
        assert private in addresses(server, "eth1")
        server.reboot()
        assert private in addresses(server, "eth1")
        # A server with two interfaces is given no public address of EC2's own.
        assert server.describe().get("PublicIpAddress") is None
        ec2.stop_instances(InstanceIds=[server.id])
        server.await_state("stopped")
        ec2.detach_network_interface(AttachmentId=described(site, spare)["Attachment"]["AttachmentId"])
    finally:
        ec2.disassociate_address(AssociationId=association)
        ec2.release_address(AllocationId=elastic["AllocationId"])
    ec2.start_instances(InstanceIds=[server.id])
    server.await_state("running")
    server.await_way_in("SSH by the first interface")
    assert "eth1" not in links(server)


def test_a_secondary_address_and_its_elastic_ip(site: Site) -> None:
    """Given to a server that runs, without cutting what is connected to it; and taken from it again."""
    server, peer, ec2 = site.server, site.peer, site.cloud.ec2
    interface = server.describe()["NetworkInterfaces"][0]["NetworkInterfaceId"]
    told = ec2.assign_private_ip_addresses(NetworkInterfaceId=interface, SecondaryPrivateIpAddressCount=1)
    second = told["AssignedPrivateIpAddresses"][0]["PrivateIpAddress"]
    until(lambda: second in addresses(server, "eth0"), f"{second} on eth0")
    assert pings(peer, second)
    assert pings(server, peer.private_ip, second)
    token = "curl -s -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token"
    macs = "http://169.254.169.254/latest/meta-data/network/interfaces/macs"
    mac = server.says("cat /sys/class/net/eth0/address")
    listed = server.says(f'curl -s -H "X-aws-ec2-metadata-token: $({token})" {macs}/{mac}/local-ipv4s')
    assert listed.split() == [server.private_ip, second]
    elastic = ec2.allocate_address()
    before = server.address
    asked = {"NetworkInterfaceId": interface, "PrivateIpAddress": second, "AllocationId": elastic["AllocationId"]}
    ec2.associate_address(**asked)
    try:
        server.address = elastic["PublicIp"]
        until(lambda: server.ssh("true", check=False).returncode == 0, "SSH by the secondary address's Elastic IP")
        assert server.says("echo $SSH_CONNECTION").split()[2] == second
    finally:
        server.address = before
        ec2.unassign_private_ip_addresses(NetworkInterfaceId=interface, PrivateIpAddresses=[second])
        ec2.release_address(AllocationId=elastic["AllocationId"])
    until(lambda: second not in addresses(server, "eth0"), f"{second} to be gone from eth0")
    assert not pings(peer, second, patience=1)
    # What it once had it has no more, even if its root says so.
    server.ssh(f"sudo ip address add {second}/32 dev eth0")
    try:
        assert not pings(server, peer.private_ip, second, patience=1)
    finally:
        server.ssh(f"sudo ip address delete {second}/32 dev eth0")


def test_a_launch_with_two_interfaces(site: Site, spare: str) -> None:
    """One that it makes and one that was there, which outlives the server."""
    private = described(site, spare)["PrivateIpAddress"]
    elastic = site.cloud.ec2.allocate_address()
    asked = {"NetworkInterfaceId": spare, "PrivateIpAddress": private, "AllocationId": elastic["AllocationId"]}
    association = site.cloud.ec2.associate_address(**asked)["AssociationId"]
    made = {"DeviceIndex": 1, "SubnetId": site.subnet, "Groups": [site.group]}
    try:
        server = site.cloud.launch(NetworkInterfaces=[{"DeviceIndex": 0, "NetworkInterfaceId": spare}, made])
        assert server.public_ip == elastic["PublicIp"]
        assert private in addresses(server, "eth0")
        second = server.describe()["NetworkInterfaces"][1]
        assert addresses(server, "eth1") == {second["PrivateIpAddress"]}
        assert pings(site.peer, second["PrivateIpAddress"])
        server.terminate()
    finally:
        site.cloud.ec2.disassociate_address(AssociationId=association)
        site.cloud.ec2.release_address(AllocationId=elastic["AllocationId"])
    assert described(site, spare)["Status"] == "available"
    gone = site.cloud.ec2.describe_network_interfaces(
        Filters=[{"Name": "network-interface-id", "Values": [second["NetworkInterfaceId"]]}]
    )
    assert gone["NetworkInterfaces"] == []
