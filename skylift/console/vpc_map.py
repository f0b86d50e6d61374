"""The map of a VPC, from EC2's answers: nodes in columns, and lines between them."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from skylift.console.rows import as_tags

MOST_SERVERS = 6
"""The most servers of a subnet that have a box."""
GONE = ("terminated", "shutting-down")
"""States of servers that have no box. EC2 lists them for an hour."""
COLUMNS = ("VPC", "Subnets", "Route tables", "Ways out")


@dataclass(frozen=True)
class Node:
    """`inside` is the node that it stands in, `leads` the path of its own page."""

    id: str
    column: int
    title: str
    detail: str
    inside: str = ""
    leads: str = ""


@dataclass(frozen=True)
class MapLine:
    start: str
    end: str


@dataclass(frozen=True)
class VpcMap:
    """`servers` has all of them, also those that have no box: name, state, public and private address of each."""

    nodes: tuple[Node, ...]
    lines: tuple[MapLine, ...]
    servers: Mapping[str, tuple[str, ...]]

    def related(self, node: str) -> frozenset[str]:
        """What can be reached from a node by lines, onwards and backwards, without turning around."""
        found = {node}
        for first, second in (("start", "end"), ("end", "start")):
            todo = [node]
            while todo:
                at = todo.pop()
                for line in self.lines:
                    there = getattr(line, second)
                    if getattr(line, first) == at and there not in found:
                        found.add(there)
                        todo.append(there)
        return frozenset(found)


@dataclass(frozen=True)
class VpcAnswers:
    """The answers of EC2's describe calls about one VPC."""

    vpc: Any
    subnets: Sequence[Any]
    tables: Sequence[Any]
    gateways: Sequence[Any]
    nats: Sequence[Any]
    endpoints: Sequence[Any]
    servers: Sequence[Any] | None
    """None where the VPC is not made yet."""


def build_map(parts: VpcAnswers) -> VpcMap:
    vpc = parts.vpc["VpcId"]
    main = next((each["RouteTableId"] for each in parts.tables if _is_main(each)), "")
    own = {
        link["SubnetId"]: each["RouteTableId"]
        for each in parts.tables
        for link in each.get("Associations", [])
        if link.get("SubnetId")
    }
    nodes = [Node(vpc, 0, _name(parts.vpc, vpc), parts.vpc["CidrBlock"])]
    lines: list[MapLine] = []
    for each in sorted(parts.subnets, key=_place):
        subnet = each["SubnetId"]
        detail = f"{each['AvailabilityZone']}, {each['CidrBlock']}"
        inside = [server for server in parts.servers or () if server.get("SubnetId") == subnet]
        if parts.servers is not None:
            detail += f", {len(inside)} server{'s' * (len(inside) != 1)}"
        nodes.append(Node(subnet, 1, _name(each, subnet), detail))
        for server in sorted(inside, key=lambda server: (_name(server, ""), str(server["InstanceId"])))[:MOST_SERVERS]:
            nodes.append(_server(server, subnet))
            lines.append(MapLine(server["InstanceId"], subnet))
        if len(inside) > MOST_SERVERS:
            more = f"and {len(inside) - MOST_SERVERS} more"
            nodes.append(Node(f"{subnet}-more", 1, more, "", subnet, "/instances"))
        lines += [MapLine(vpc, subnet), *([MapLine(subnet, own.get(subnet, main))] if own.get(subnet, main) else [])]
    ways = _ways(parts)
    for each in parts.tables:
        table = each["RouteTableId"]
        routes = each.get("Routes", [])
        kind = "main, " if _is_main(each) else ""
        nodes.append(Node(table, 2, _name(each, table), f"{kind}{len(routes)} route{'s' * (len(routes) != 1)}"))
        for target in dict.fromkeys(map(target_of, routes)):
            # The VPC's own range leads nowhere else.
            if target in ("", "local"):
                continue
            ways.setdefault(target, Node(target, 3, target, _kind(target)))
            lines.append(MapLine(table, target))
    servers = {str(each["InstanceId"]): _facts(each) for each in parts.servers or ()}
    return VpcMap((*nodes, *ways.values()), tuple(lines), servers)


def _facts(server: Any) -> tuple[str, ...]:
    addresses = (server.get("PublicIpAddress", ""), server.get("PrivateIpAddress", ""))
    return (_name(server, ""), server["State"]["Name"], *addresses)


def _server(described: Any, subnet: str) -> Node:
    instance = str(described["InstanceId"])
    addresses = (described.get("PrivateIpAddress", ""), described.get("PublicIpAddress", ""))
    detail = ", ".join(filter(None, (described["State"]["Name"], *addresses)))
    return Node(instance, 1, _name(described, instance), detail, subnet, f"/instances/{instance}")


def _place(subnet: Any) -> tuple[str, ipaddress.IPv4Network]:
    return subnet["AvailabilityZone"], ipaddress.IPv4Network(subnet["CidrBlock"])


def _ways(parts: VpcAnswers) -> dict[str, Node]:
    ways = [(each["InternetGatewayId"], each, "internet gateway") for each in parts.gateways]
    ways += [(each["NatGatewayId"], each, f"NAT gateway, {each['State']}") for each in parts.nats]
    ways += [
        (each["VpcEndpointId"], each, f"endpoint, {each['ServiceName'].rpartition('.')[2]}") for each in parts.endpoints
    ]
    return {way: Node(way, 3, _name(each, way), detail) for way, each, detail in ways}


def _is_main(table: Any) -> bool:
    return any(each.get("Main") for each in table.get("Associations", []))


def target_of(route: Any) -> str:
    """What a route leads to: `local` is the VPC itself."""
    keys = ("GatewayId", "NatGatewayId", "VpcPeeringConnectionId", "TransitGatewayId", "NetworkInterfaceId")
    return next((str(route[key]) for key in keys if route.get(key)), "")


def _kind(target: str) -> str:
    kinds = {"igw": "internet gateway", "nat": "NAT gateway", "pcx": "peering", "vpce": "endpoint", "eni": "interface"}
    return kinds.get(target.partition("-")[0], "")


def _name(described: Any, otherwise: str) -> str:
    return as_tags(described).get("Name") or otherwise
