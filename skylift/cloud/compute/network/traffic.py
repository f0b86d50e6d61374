"""The common parts of security groups and network ACLs in nft's terms: traffic, links and marks. Pure."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Protocol

from skylift.cloud.compute.network.plan import Peer, VpcPlan
from skylift.cloud.domain.network import NetworkInterface, RouteTable, Subnet, ToInterface

_NUMBERS = {"tcp": 6, "udp": 17, "icmp": 1}
_NAMES = {number: name for name, number in _NUMBERS.items()}


class TrafficRule(Protocol):
    """A security group's rule, or a network ACL's entry."""

    @property
    def protocol(self) -> str: ...
    @property
    def from_port(self) -> int: ...
    @property
    def to_port(self) -> int: ...


def protocol_match(traffic: TrafficRule) -> str:
    """The match on protocol and ports, empty for all traffic.

    `-1` in `from_port` means every port, or for ICMP every type; in `to_port` every code.
    """
    if traffic.protocol == "-1":
        return ""
    if traffic.protocol == "icmpv6":
        # A rule may name it with IPv4 addresses, where it does not exist.
        return "meta l4proto 58"
    number = _NUMBERS[traffic.protocol] if traffic.protocol in _NUMBERS else int(traffic.protocol)
    name = _NAMES.get(number)
    if name == "icmp":
        return _icmp_match(traffic)
    if name is None or traffic.from_port == -1 or (traffic.from_port, traffic.to_port) == (0, 65535):
        return f"meta l4proto {name or number}"
    ports = str(traffic.from_port) if traffic.from_port == traffic.to_port else f"{traffic.from_port}-{traffic.to_port}"
    return f"{name} dport {ports}"


def _icmp_match(traffic: TrafficRule) -> str:
    if traffic.from_port == -1:
        return "meta l4proto icmp"
    code = "" if traffic.to_port == -1 else f" icmp code {traffic.to_port}"
    return f"icmp type {traffic.from_port}{code}"


def link_name(resource_id: str, letter: str) -> str:
    """A link's name for a resource: at most 15 bytes, so it ends as the id does."""
    return letter + resource_id.rpartition("-")[2][-14:]


def interface_link(interface: NetworkInterface) -> str:
    """The router's end of an interface."""
    return link_name(interface.id, "e")


def peer_link(peer: Peer) -> str:
    """Either end of what joins the routers of two VPCs."""
    return link_name(peer.id, "p")


def quoted(interface: NetworkInterface) -> str:
    return f'"{interface_link(interface)}"'


def subnet_mark(subnet: Subnet) -> int:
    """The mark of packets from a subnet and the number of its routing table: its network address, as a number."""
    return int(IPv4Network(subnet.cidr).network_address)


GATEWAY_MARK = 1
"""The mark of traffic that comes in by an internet gateway with a route table; its address numbers the table. No subnet
is 0.0.0.1.
"""
OUTSIDE_MARK = SERVERS = 2
"""The mark of what else comes in from outside of the VPC, and the table of the routes to servers, for packets with any
mark. Only the rules of a router give marks: where somebody has taken these away, no packet finds a server.
"""


def gateway_table(plan: VpcPlan) -> RouteTable | None:
    """The table that says where what comes in by the internet gateway goes first."""
    gateway = plan.internet_gateway
    associated = (one for one in plan.route_tables if any(a.gateway_id == gateway for a in one.associations))
    return next(associated, None) if gateway is not None else None


def routed_interfaces(plan: VpcPlan) -> set[str]:
    """The interfaces that a route table of the VPC leads to."""
    targets = {route.target for table in plan.route_tables for route in table.routes}
    return {interface.id for interface in plan.interfaces if ToInterface(interface.id) in targets}
