"""Who reaches whom: between VPCs, within a subnet, from the host and out, with the kernel as the judge."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from real_cloud import RealCloud, allow
from real_server import Server, until

pytestmark = pytest.mark.real

WEB, SHUT, FRIENDS = 8000, 8001, 8002
ANYWHERE = "0.0.0.0/0"
ENOUGH = 0.7
"""Seconds after which a connection that nobody answers counts as dropped; what is open answers in a hundredth."""

# Returns when every port is open; what answers lives on.
SERVES = """
import os, socket, sys, threading
def serve(listener):
    while True:
        client, address = listener.accept()
        client.sendall(address[0].encode())
        client.close()
listeners = [socket.create_server(("", port)) for port in PORTS]
if os.fork() == 0:
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(null, descriptor)
    for listener in listeners:
        threading.Thread(target=serve, args=(listener,)).start()
"""

KNOCKS = """
import os, socket
there, here = (os.environ["HOST"], int(os.environ["PORT"])), (os.environ["SOURCE"], 0)
try:
    with socket.create_connection(there, float(os.environ["ENOUGH"]), here) as link:
        print("open to", link.recv(100).decode())
except TimeoutError:
    print("dropped")
except OSError as error:
    print(error.strerror)
"""


@dataclass(frozen=True)
class Place:
    """Two servers of the default VPC's first subnet, one beside them without a public address, one in another VPC."""

    cloud: RealCloud
    vpc: str
    web_group: str
    web: Server
    peer: Server
    hidden: Server
    other: Server


@pytest.fixture(scope="module")
def place(cloud: RealCloud) -> Iterator[Place]:
    ec2, host = cloud.ec2, f"{cloud.endpoint.loopback}/32"
    found = ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [cloud.vpc]}])["Subnets"]
    subnet = found[0]["SubnetId"]
    friends = cloud.security_group("vpc-friends", cloud.vpc, (22, host))
    web = cloud.security_group("vpc-web", cloud.vpc, (22, host), (WEB, ANYWHERE), (FRIENDS, friends))
    hidden = cloud.security_group("vpc-hidden", cloud.vpc, (22, friends))
    # The range of the default VPC: nothing but the walls between VPCs keeps their addresses apart.
    vpc, far_subnet = make_vpc(cloud, "172.31.0.0/16", found[0]["CidrBlock"])
    far = cloud.security_group("vpc-far", vpc, (22, host), (WEB, ANYWHERE))
    servers = [
        cloud.start(NetworkInterfaces=[interface(subnet, web)]),
        cloud.start(NetworkInterfaces=[interface(subnet, friends)]),
        cloud.start(NetworkInterfaces=[interface(far_subnet, far, private="172.31.15.250")]),
    ]
    servers.append(cloud.start(servers[1], NetworkInterfaces=[interface(subnet, hidden, public=False)]))
    for server in servers:
        server.await_ssh()
        serve(server, WEB, SHUT, FRIENDS)
    yield Place(cloud, vpc, web, servers[0], servers[1], servers[3], servers[2])
    for server in servers:
        server.terminate()
    for group in (far, hidden, web, friends):
        ec2.delete_security_group(GroupId=group)
    remove_vpc(cloud, vpc, far_subnet)


def make_vpc(cloud: RealCloud, cidr: str, subnet_cidr: str) -> tuple[str, str]:
    """A VPC with an internet gateway, and a subnet that its main route table sends there."""
    ec2 = cloud.ec2
    vpc = ec2.create_vpc(CidrBlock=cidr)["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock=subnet_cidr)["Subnet"]["SubnetId"]
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    tables = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["RouteTables"]
    ec2.create_route(RouteTableId=tables[0]["RouteTableId"], DestinationCidrBlock=ANYWHERE, GatewayId=gateway)
    return vpc, subnet


def remove_vpc(cloud: RealCloud, vpc: str, subnet: str) -> None:
    ec2 = cloud.ec2
    gateways = ec2.describe_internet_gateways(Filters=[{"Name": "attachment.vpc-id", "Values": [vpc]}])
    for gateway in gateways["InternetGateways"]:
        ec2.detach_internet_gateway(InternetGatewayId=gateway["InternetGatewayId"], VpcId=vpc)
        ec2.delete_internet_gateway(InternetGatewayId=gateway["InternetGatewayId"])
    ec2.delete_subnet(SubnetId=subnet)
    ec2.delete_vpc(VpcId=vpc)


def interface(subnet: str, group: str, *, public: bool = True, private: str | None = None) -> dict[str, object]:
    asked = {"DeviceIndex": 0, "SubnetId": subnet, "Groups": [group], "AssociatePublicIpAddress": public}
    return {**asked, **({"PrivateIpAddress": private} if private else {})}


def serve(server: Server, *ports: int) -> None:
    """Answer on these ports, each caller with the address that it is seen at."""
    server.python(SERVES.replace("PORTS", repr(ports)))


def knock(server: Server, host: str, port: int, source: str = "") -> str:
    """What becomes of a connection from that server."""
    return server.python(KNOCKS, HOST=host, PORT=str(port), SOURCE=source, ENOUGH=str(ENOUGH))


def knock_from_host(address: str, port: int) -> str:
    try:
        with socket.create_connection((address, port), ENOUGH) as link:
            return f"open to {link.recv(100).decode()}"
    except TimeoutError:
        return "dropped"


def test_in_a_subnet_only_open_ports_are_open(place: Place) -> None:
    web, peer = place.web, place.peer
    assert knock(peer, web.private_ip, WEB) == f"open to {peer.private_ip}"
    assert knock(peer, web.private_ip, SHUT) == "dropped"
    assert knock(peer, web.private_ip, 22) == "dropped"
    # The other way round nothing but SSH from the host was let in.
    assert knock(web, peer.private_ip, WEB) == "dropped"
    assert peer.ssh(f"ping -c 1 -W 1 {web.private_ip}", check=False).returncode == 1


def test_a_rule_for_a_group_is_for_its_members_only(place: Place) -> None:
    assert knock(place.peer, place.web.private_ip, FRIENDS) == f"open to {place.peer.private_ip}"
    assert knock(place.hidden, place.web.private_ip, FRIENDS) == "dropped"
    assert knock_from_host(place.web.public_ip, FRIENDS) == "dropped"


def test_from_the_host_only_open_ports_are_open(place: Place) -> None:
    assert knock_from_host(place.web.public_ip, WEB) == f"open to {place.cloud.endpoint.loopback}"
    assert knock_from_host(place.web.public_ip, SHUT) == "dropped"
    assert knock_from_host(place.peer.public_ip, WEB) == "dropped"
    assert knock_from_host(place.other.public_ip, WEB) == f"open to {place.cloud.endpoint.loopback}"


def test_there_is_no_path_between_two_vpcs(place: Place) -> None:
    """Same range, so each one's address is a free address of the other's subnet."""
    assert place.other.describe()["VpcId"] == place.vpc != place.web.describe()["VpcId"]
    assert not knock(place.peer, place.other.private_ip, WEB).startswith("open")
    assert not knock(place.other, place.web.private_ip, WEB).startswith("open")
    # By public addresses they are strangers on the same internet, as on AWS.
    assert knock(place.peer, place.other.public_ip, WEB) == f"open to {place.peer.public_ip}"
    assert knock(place.other, place.web.public_ip, WEB) == f"open to {place.other.public_ip}"
    assert knock(place.other, place.web.public_ip, SHUT) == "dropped"


def test_an_address_that_a_server_makes_up_leads_nowhere(place: Place) -> None:
    """Its root configures its interface as it likes; the router does not listen to that."""
    liar, web = place.peer, place.web
    false = ".".join([*liar.private_ip.split(".")[:3], "240"])
    liar.ssh(f"sudo ip address add {false}/20 dev eth0")
    try:
        assert knock(liar, web.private_ip, WEB, source=false) == "dropped"
        assert knock(liar, web.private_ip, WEB, source=liar.private_ip).startswith("open")
    finally:
        liar.ssh(f"sudo ip address delete {false}/20 dev eth0")


def test_without_a_public_address_there_is_no_way_in_or_out(place: Place) -> None:
    hidden = place.hidden
    assert "PublicIpAddress" not in hidden.describe()
    assert knock(hidden, place.web.private_ip, WEB) == f"open to {hidden.private_ip}"
    # The way to a public address, and so to the internet, begins with one of its own.
    assert not knock(hidden, place.web.public_ip, WEB).startswith("open")
    assert not knock(hidden, place.other.public_ip, WEB).startswith("open")
    assert knock(place.peer, place.web.public_ip, WEB) == f"open to {place.peer.public_ip}"


def test_the_host_has_no_route_into_a_vpc(place: Place) -> None:
    routes = subprocess.run(["ip", "-4", "route", "show", "table", "all"], capture_output=True, text=True, check=True)
    assert [line for line in routes.stdout.splitlines() if "172.31." in line] == []


def test_dhcp_options_are_told_at_the_next_boot(place: Place) -> None:
    ec2, server = place.cloud.ec2, place.other
    before = ec2.describe_vpcs(VpcIds=[place.vpc])["Vpcs"][0]["DhcpOptionsId"]
    assert (
        server.says("grep -v options /etc/resolv.conf").split() == "nameserver 172.31.0.2 search ec2.internal".split()
    )
    wanted = {"domain-name": ["corp.example"], "domain-name-servers": ["192.0.2.53", "AmazonProvidedDNS"]}
    listed = [{"Key": key, "Values": values} for key, values in wanted.items()]
    options = ec2.create_dhcp_options(DhcpConfigurations=listed)["DhcpOptions"]["DhcpOptionsId"]
    ec2.associate_dhcp_options(DhcpOptionsId=options, VpcId=place.vpc)
    try:
        server.reboot()
        said = server.says("grep -v options /etc/resolv.conf").splitlines()
        assert said == ["nameserver 192.0.2.53", "nameserver 172.31.0.2", "search corp.example"]
    finally:
        ec2.associate_dhcp_options(DhcpOptionsId=before, VpcId=place.vpc)
        ec2.delete_dhcp_options(DhcpOptionsId=options)
    server.reboot()
    serve(server, WEB, SHUT, FRIENDS)
    assert server.says("grep nameserver /etc/resolv.conf") == "nameserver 172.31.0.2"


def test_a_rule_that_is_revoked_cuts_new_connections(place: Place) -> None:
    web, rule = place.web, [allow(WEB, ANYWHERE)]
    assert knock(place.peer, web.private_ip, WEB).startswith("open")
    with changed(place, "revoke_security_group_ingress", "authorize_security_group_ingress", rule):
        until(lambda: knock(place.peer, web.private_ip, WEB) == "dropped", "the port to be closed to the peer")
        assert knock_from_host(web.public_ip, WEB) == "dropped"
    until(lambda: knock(place.peer, web.private_ip, WEB).startswith("open"), "the port to be open again")
    assert knock_from_host(web.public_ip, WEB).startswith("open")


def test_without_a_rule_for_it_nothing_goes_out(place: Place) -> None:
    everything = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": ANYWHERE}]}]
    web = place.web
    assert knock(web, place.other.public_ip, WEB).startswith("open")
    with changed(place, "revoke_security_group_egress", "authorize_security_group_egress", everything):
        until(lambda: knock(web, place.other.public_ip, WEB) == "dropped", "the way out to be closed")
        # Answers to those who were let in are no connections of its own.
        assert knock_from_host(web.public_ip, WEB).startswith("open")
    until(lambda: knock(web, place.other.public_ip, WEB).startswith("open"), "the way out to be open again")


@contextmanager
def changed(place: Place, change: str, back: str, rules: list[dict[str, object]]) -> Iterator[None]:
    """The web server's group without these rules for a while."""
    getattr(place.cloud.ec2, change)(GroupId=place.web_group, IpPermissions=rules)
    try:
        yield
    finally:
        getattr(place.cloud.ec2, back)(GroupId=place.web_group, IpPermissions=rules)
