"""The map of a VPC, made of what EC2 answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from skylift.console.vpc_map import MapLine, VpcAnswers, build_map


def subnet(name: str, zone: str) -> dict[str, Any]:
    return {"SubnetId": name, "AvailabilityZone": zone, "CidrBlock": "10.0.1.0/24"}


def table(name: str, targets: dict[str, str], *, main: bool = False, subnets: tuple[str, ...] = ()) -> dict[str, Any]:
    links: list[dict[str, Any]] = [{"SubnetId": each, "Main": False} for each in subnets]
    routes = [{"GatewayId": "local"}, *({key: value} for key, value in targets.items())]
    return {"RouteTableId": name, "Routes": routes, "Associations": [*links, *([{"Main": True}] if main else [])]}


def server(instance: str, name: str = "") -> dict[str, Any]:
    tags = [{"Key": "Name", "Value": name}] if name else []
    return {"InstanceId": instance, "SubnetId": "subnet-a", "State": {"Name": "running"}, "Tags": tags}


PARTS = VpcAnswers(
    vpc={"VpcId": "vpc-1", "CidrBlock": "10.0.0.0/16", "Tags": [{"Key": "Name", "Value": "<b>shop</b>"}]},
    subnets=[subnet("subnet-b", "us-east-1b"), subnet("subnet-a", "us-east-1a")],
    tables=[
        table("rtb-main", {"NatGatewayId": "nat-1"}, main=True),
        table("rtb-public", {"GatewayId": "igw-1", "VpcPeeringConnectionId": "pcx-1"}, subnets=("subnet-a",)),
    ],
    gateways=[{"InternetGatewayId": "igw-1"}],
    nats=[{"NatGatewayId": "nat-1", "State": "available"}],
    endpoints=[{"VpcEndpointId": "vpce-1", "ServiceName": "com.amazonaws.us-east-1.s3"}],
    servers=[server("i-1")],
)


def test_a_subnet_leads_to_its_own_table_or_else_to_the_main_one() -> None:
    lines = build_map(PARTS).lines
    assert MapLine("subnet-a", "rtb-public") in lines
    assert MapLine("subnet-b", "rtb-main") in lines
    assert MapLine("rtb-public", "igw-1") in lines
    assert MapLine("rtb-public", "pcx-1") in lines
    assert not [line for line in lines if "local" in (line.start, line.end)]


def test_nodes_say_what_they_are_in_the_order_of_zones() -> None:
    nodes = build_map(PARTS).nodes
    assert nodes[0].title == "<b>shop</b>"
    assert [node.id for node in nodes if node.column == 1] == ["subnet-a", "i-1", "subnet-b"]
    assert nodes[1].detail == "us-east-1a, 10.0.1.0/24, 1 server"
    assert {node.id: node.detail for node in nodes if node.column == 3} == {
        "igw-1": "internet gateway",
        "nat-1": "NAT gateway, available",
        "vpce-1": "endpoint, s3",
        "pcx-1": "peering",
    }


def test_all_servers_are_known_also_those_without_a_box() -> None:
    many = [{**server(f"i-{number}", "<b>"), "PublicIpAddress": "192.0.2.1"} for number in range(9)]
    assert build_map(replace(PARTS, servers=many)).servers == {
        f"i-{number}": ("<b>", "running", "192.0.2.1", "") for number in range(9)
    }


def test_what_belongs_together_is_found_in_both_directions() -> None:
    found = build_map(PARTS)
    assert found.related("igw-1") == {"igw-1", "rtb-public", "subnet-a", "vpc-1", "i-1"}
    assert found.related("i-1") == {"i-1", "subnet-a", "rtb-public", "igw-1", "pcx-1"}
    assert found.related("subnet-b") == {"subnet-b", "rtb-main", "nat-1", "vpc-1"}


def test_a_vpc_with_nothing_in_it_is_a_map_too() -> None:
    alone = build_map(VpcAnswers(PARTS.vpc, [subnet("subnet-a", "us-east-1a")], [], [], [], [], []))
    assert alone.lines == (MapLine("vpc-1", "subnet-a"),)


def test_servers_stand_in_their_subnet_and_many_are_counted() -> None:
    names = ["<b>", "x", *(f"n{number}" for number in range(7))]
    servers = [server(f"i-{number}", name) for number, name in enumerate(names)]
    inside = [node for node in build_map(replace(PARTS, servers=servers)).nodes if node.inside]
    assert {node.inside for node in inside} == {"subnet-a"}
    assert [node.title for node in inside] == ["<b>", "n0", "n1", "n2", "n3", "n4", "and 3 more"]
    assert (inside[0].leads, inside[0].detail) == ("/instances/i-0", "running")
