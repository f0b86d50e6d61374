"""The DNS server of a VPC as its servers see it, with the VPC's attributes on and off."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.real_cloud import RealCloud
from support.real_server import Server

pytestmark = pytest.mark.real

ASK = """
import os, socket
from socket import AF_INET, SOCK_DGRAM

def ask(name, kind):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    with socket.socket(AF_INET, SOCK_DGRAM) as client:
        client.settimeout(20)
        client.sendto(b"xy" + bytes([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]) + labels + bytes([0, 0, kind, 0, 1]), SERVER)
        answer = client.recv(512)
    return f"{answer[3] & 15} {int.from_bytes(answer[6:8], 'big')}"

SERVER = ("169.254.169.253", 53)
address = os.environ["ADDRESS"]
print(ask("ip-" + address.replace(".", "-") + ".ec2.internal", 1))
print(ask(".".join(reversed(address.split("."))) + ".in-addr.arpa", 12))
"""

FOUND, NOT_THERE, REFUSED = "0 1", "3 0", "5 0"


@pytest.fixture
def attributes(cloud: RealCloud) -> Iterator[None]:
    """The default VPC has both attributes again afterwards."""
    yield
    for name in ("EnableDnsSupport", "EnableDnsHostnames"):
        cloud.ec2.modify_vpc_attribute(VpcId=cloud.vpc, **{name: {"Value": True}})


def asked(server: Server) -> list[str]:
    """The answer's code and number of records, by name and by address."""
    return server.python(ASK, ADDRESS=server.private_ip).splitlines()


@pytest.mark.usefixtures("attributes")
def test_names_and_addresses_of_servers(cloud: RealCloud) -> None:
    server = cloud.launch()
    assert asked(server) == [FOUND, FOUND]
    cloud.ec2.modify_vpc_attribute(VpcId=cloud.vpc, EnableDnsHostnames={"Value": False})
    assert asked(server) == [NOT_THERE, NOT_THERE]
    cloud.ec2.modify_vpc_attribute(VpcId=cloud.vpc, EnableDnsSupport={"Value": False})
    assert asked(server) == [REFUSED, REFUSED]
    server.terminate()
