"""Who reaches whom: between VPCs, within a subnet, from the host and out, with the kernel as the judge."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from support.real_cloud import RealCloud, allow
from support.real_server import PATIENCE, Server, until

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
        link.settimeout(60)
        print("open to", link.recv(100).decode())
except TimeoutError:
    print("dropped")
except OSError as error:
    print(error.strerror)
"""


ASKS_METADATA = """
import http.client, os
here, header = (os.environ["SOURCE"], 0), {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
try:
    link = http.client.HTTPConnection("169.254.169.254", timeout=float(os.environ["ENOUGH"]), source_address=here)
    link.request("PUT", "/latest/api/token", headers=header)
    print(link.getresponse().status)
except TimeoutError:
    print("dropped")
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


def knock(server: Server, host: str, port: int, source: str = "", patience: float = ENOUGH) -> str:
    """What becomes of a connection from that server."""
    return server.python(KNOCKS, HOST=host, PORT=str(port), SOURCE=source, ENOUGH=str(patience))


def enter(server: Server, host: str, port: int, source: str = "") -> str:
    """The same where it should be let in, however long that takes."""
    return knock(server, host, port, source, PATIENCE)


def knock_from_host(address: str, port: int, patience: float = ENOUGH) -> str:
    try:
        with socket.create_connection((address, port), patience) as link:
            link.settimeout(PATIENCE)
            return f"open to {link.recv(100).decode()}"
    except TimeoutError:
        return "dropped"


def test_in_a_subnet_only_open_ports_are_open(place: Place) -> None:
    web, peer = place.web, place.peer
    assert enter(peer, web.private_ip, WEB) == f"open to {peer.private_ip}"
    assert knock(peer, web.private_ip, SHUT) == "dropped"
    assert knock(peer, web.private_ip, 22) == "dropped"
    # The other way round nothing but SSH from the host was let in.
    assert knock(web, peer.private_ip, WEB) == "dropped"
    assert peer.ssh(f"ping -c 1 -W 1 {web.private_ip}", check=False).returncode == 1


def test_a_rule_for_a_group_is_for_its_members_only(place: Place) -> None:
    assert enter(place.peer, place.web.private_ip, FRIENDS) == f"open to {place.peer.private_ip}"
    assert knock(place.hidden, place.web.private_ip, FRIENDS) == "dropped"
    assert knock_from_host(place.web.public_ip, FRIENDS) == "dropped"


def test_a_group_means_those_who_are_in_it_now(place: Place) -> None:
    """Servers join it, leave it, begin in it and end."""
    ec2, web, hidden = place.cloud.ec2, place.web, place.hidden
    groups = [one["GroupId"] for one in hidden.describe()["SecurityGroups"]]
    friends = place.peer.describe()["SecurityGroups"][0]["GroupId"]
    assert knock(hidden, web.private_ip, FRIENDS) == "dropped"
    ec2.modify_instance_attribute(InstanceId=hidden.id, Groups=[*groups, friends])
    try:
        seen = f"open to {hidden.private_ip}"
        until(lambda: knock(hidden, web.private_ip, FRIENDS) == seen, "the new member to be let in")
    finally:
        ec2.modify_instance_attribute(InstanceId=hidden.id, Groups=groups)
    until(lambda: knock(hidden, web.private_ip, FRIENDS) == "dropped", "the former member to be kept out")
    subnet = place.peer.describe()["SubnetId"]
    late = place.cloud.launch(NetworkInterfaces=[interface(subnet, friends)])
    address = late.private_ip
    until(lambda: knock(late, web.private_ip, FRIENDS) == f"open to {address}", "a member from its start to be let in")
    late.terminate()
    # Whoever gets its address next gets nothing else of it.
    next_one = [interface(subnet, groups[0], public=False, private=address)]
    stranger = place.cloud.launch(place.peer, NetworkInterfaces=next_one)
    assert knock(stranger, web.private_ip, FRIENDS) == "dropped"
    stranger.terminate()


def test_port_ranges_and_icmp(place: Place) -> None:
    """With a rule for them and not without; a kind of ICMP alone lets no other one in."""
    ec2, web, peer, host = place.cloud.ec2, place.web, place.peer, place.cloud.endpoint.loopback
    ports = {"IpProtocol": "tcp", "FromPort": SHUT - 100, "ToPort": SHUT, "IpRanges": [{"CidrIp": f"{host}/32"}]}
    echo = {"IpProtocol": "icmp", "FromPort": 8, "ToPort": -1, "IpRanges": [{"CidrIp": "172.31.0.0/16"}]}
    other = {**echo, "FromPort": 3}

    def pings() -> bool:
        return peer.ssh(f"ping -c 1 -W 1 {web.private_ip}", check=False).returncode == 0

    assert knock_from_host(web.public_ip, SHUT) == "dropped"
    ec2.authorize_security_group_ingress(GroupId=place.web_group, IpPermissions=[ports, other])
    try:
        until(lambda: knock_from_host(web.public_ip, SHUT).startswith("open"), "the range to be open to the host")
        assert knock(peer, web.private_ip, SHUT) == "dropped"
        assert not pings()
        ec2.authorize_security_group_ingress(GroupId=place.web_group, IpPermissions=[echo])
        until(pings, "an answer to ping")
        ec2.revoke_security_group_ingress(GroupId=place.web_group, IpPermissions=[echo])
        until(lambda: not pings(), "no answer to ping")
    finally:
        ec2.revoke_security_group_ingress(GroupId=place.web_group, IpPermissions=[ports, other])
    until(lambda: knock_from_host(web.public_ip, SHUT) == "dropped", "the range to be shut")


def test_from_the_host_only_open_ports_are_open(place: Place) -> None:
    assert knock_from_host(place.web.public_ip, WEB, PATIENCE) == f"open to {place.cloud.endpoint.loopback}"
    assert knock_from_host(place.web.public_ip, SHUT) == "dropped"
    assert knock_from_host(place.peer.public_ip, WEB) == "dropped"
    assert knock_from_host(place.other.public_ip, WEB, PATIENCE) == f"open to {place.cloud.endpoint.loopback}"


def test_there_is_no_path_between_two_vpcs(place: Place) -> None:
    """Same range, so each one's address is a free address of the other's subnet."""
    assert place.other.describe()["VpcId"] == place.vpc != place.web.describe()["VpcId"]
    assert not knock(place.peer, place.other.private_ip, WEB).startswith("open")
    assert not knock(place.other, place.web.private_ip, WEB).startswith("open")
    # By public addresses they are strangers on the same internet, as on AWS.
    assert enter(place.peer, place.other.public_ip, WEB) == f"open to {place.peer.public_ip}"
    assert enter(place.other, place.web.public_ip, WEB) == f"open to {place.other.public_ip}"
    assert knock(place.other, place.web.public_ip, SHUT) == "dropped"


def test_a_server_can_be_in_two_vpcs(place: Place) -> None:
    """By an interface in each; to the one by the one, to the other by the other."""
    ec2, peer, other = place.cloud.ec2, place.peer, place.other
    theirs = other.describe()
    group = theirs["SecurityGroups"][0]["GroupId"]
    made = ec2.create_network_interface(SubnetId=theirs["SubnetId"], Groups=[group])["NetworkInterface"]
    added = made["NetworkInterfaceId"]

    def status() -> str:
        return str(ec2.describe_network_interfaces(NetworkInterfaceIds=[added])["NetworkInterfaces"][0]["Status"])

    attached = ec2.attach_network_interface(NetworkInterfaceId=added, InstanceId=peer.id, DeviceIndex=1)
    try:
        until(lambda: "eth1" in peer.says("ls /sys/class/net"), "the second interface")
        there = made["PrivateIpAddress"]
        seen = f"open to {there}"
        until(lambda: knock(peer, other.private_ip, WEB, source=there) == seen, "the other VPC to be reached")
        assert not knock(peer, other.private_ip, WEB, source=peer.private_ip).startswith("open")
    finally:
        ec2.detach_network_interface(AttachmentId=attached["AttachmentId"])
        until(lambda: status() == "available", "the interface to be free")
        ec2.delete_network_interface(NetworkInterfaceId=added)


def test_an_address_that_a_server_makes_up_leads_nowhere(place: Place) -> None:
    """Its root configures its interface as it likes; the router does not listen to that."""
    liar, web = place.peer, place.web
    false = ".".join([*liar.private_ip.split(".")[:3], "240"])
    liar.ssh(f"sudo ip address add {false}/20 dev eth0")
    try:
        assert knock(liar, web.private_ip, WEB, source=false) == "dropped"
        assert enter(liar, web.private_ip, WEB, source=liar.private_ip).startswith("open")
    finally:
        liar.ssh(f"sudo ip address delete {false}/20 dev eth0")


def test_a_server_cannot_take_anothers_address_or_read_its_metadata(place: Place) -> None:
    """Not even one that may send for others, as a NAT instance may."""
    liar, web, hidden, ec2 = place.peer, place.web, place.hidden, place.cloud.ec2
    theirs = web.private_ip

    def asks(source: str) -> bool:
        return liar.python(ASKS_METADATA, SOURCE=source, ENOUGH=str(ENOUGH)) != "dropped"

    def still_has_it() -> None:
        assert not asks(theirs)
        seen = f"open to {hidden.private_ip}"
        until(lambda: knock(hidden, theirs, WEB) == seen, "the one who has the address to answer")

    liar.ssh(f"sudo ip address add {theirs}/32 dev eth0")
    try:
        until(lambda: asks(liar.private_ip), "an answer to the liar itself")
        still_has_it()
        assert knock(liar, place.other.public_ip, WEB, source=theirs) == "dropped"
        ec2.modify_instance_attribute(InstanceId=liar.id, SourceDestCheck={"Value": False})
        until(lambda: not liar.describe()["SourceDestCheck"], "the check to be off")
        still_has_it()
    finally:
        ec2.modify_instance_attribute(InstanceId=liar.id, SourceDestCheck={"Value": True})
        liar.ssh(f"sudo ip address delete {theirs}/32 dev eth0")
    until(lambda: knock(liar, theirs, WEB) == f"open to {liar.private_ip}", "the liar to be let in as itself")


def test_without_a_public_address_there_is_no_way_in_or_out(place: Place) -> None:
    hidden = place.hidden
    assert "PublicIpAddress" not in hidden.describe()
    assert enter(hidden, place.web.private_ip, WEB) == f"open to {hidden.private_ip}"
    # The way to a public address, and so to the internet, begins with one of its own.
    assert not knock(hidden, place.web.public_ip, WEB).startswith("open")
    assert not knock(hidden, place.other.public_ip, WEB).startswith("open")
    assert enter(place.peer, place.web.public_ip, WEB) == f"open to {place.peer.public_ip}"


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
    assert enter(place.peer, web.private_ip, WEB).startswith("open")
    with changed(place, "revoke_security_group_ingress", "authorize_security_group_ingress", rule):
        until(lambda: knock(place.peer, web.private_ip, WEB) == "dropped", "the port to be closed to the peer")
        assert knock_from_host(web.public_ip, WEB) == "dropped"
    until(lambda: knock(place.peer, web.private_ip, WEB).startswith("open"), "the port to be open again")
    assert knock_from_host(web.public_ip, WEB, PATIENCE).startswith("open")


def test_a_change_of_rules_cuts_no_connection_that_is_still_allowed(place: Place) -> None:
    """One by SSH from the host, while the rules about another port go and come back."""
    web = place.web
    with subprocess.Popen([*web.ssh_command(), "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as session:
        assert session.stdin is not None and session.stdout is not None

        def echoes(word: bytes) -> bool:
            assert session.stdin is not None and session.stdout is not None
            session.stdin.write(word + b"\n")
            session.stdin.flush()
            return session.stdout.readline() == word + b"\n"

        try:
            assert echoes(b"before")
            with changed(
                place, "revoke_security_group_ingress", "authorize_security_group_ingress", [allow(WEB, ANYWHERE)]
            ):
                until(lambda: knock_from_host(web.public_ip, WEB) == "dropped", "the other port to be shut")
                assert echoes(b"while")
            until(lambda: knock_from_host(web.public_ip, WEB).startswith("open"), "the other port to be open")
            assert echoes(b"after")
        finally:
            session.stdin.close()
            session.wait()


def test_without_a_rule_for_it_nothing_goes_out(place: Place) -> None:
    everything = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": ANYWHERE}]}]
    web = place.web
    assert enter(web, place.other.public_ip, WEB).startswith("open")
    with changed(place, "revoke_security_group_egress", "authorize_security_group_egress", everything):
        until(lambda: knock(web, place.other.public_ip, WEB) == "dropped", "the way out to be closed")
        # Answers to those who were let in are no connections of its own.
        assert knock_from_host(web.public_ip, WEB, PATIENCE).startswith("open")
    until(lambda: knock(web, place.other.public_ip, WEB).startswith("open"), "the way out to be open again")


@contextmanager
def changed(place: Place, change: str, back: str, rules: list[dict[str, object]]) -> Iterator[None]:
    """The web server's group without these rules for a while."""
    getattr(place.cloud.ec2, change)(GroupId=place.web_group, IpPermissions=rules)
    try:
        yield
    finally:
        getattr(place.cloud.ec2, back)(GroupId=place.web_group, IpPermissions=rules)
