"""A VPC, taken away with all that is in it: what goes, in which order, and what is in the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from skylift.client.errors import Refused, UsageError
from skylift.console.call import Call
from skylift.console.port import Port
from skylift.console.rows import as_tags

PATIENCE, PAUSE = 180.0, 1.0
"""Seconds in which AWS must have let go of what is in the way, and between two tries. A NAT gateway takes a minute."""
_GONE = ("terminated",)
_GO_ALONG = ("nat_gateway", "natGateway", "vpc_endpoint", "gateway_load_balancer_endpoint")
"""Kinds of network interfaces that go with their NAT gateway or endpoint. EC2 documents the first as the second."""


@dataclass(frozen=True)
class VpcRemoval:
    """`steps` are calls in their order, each with the words for what goes. `kept` says what stays, and `obstacles` what
    has to go first, by the user's own hand."""

    steps: tuple[tuple[str, Call], ...]
    kept: tuple[str, ...]
    obstacles: tuple[str, ...]

    @property
    def command(self) -> str:
        return "\n".join(call.command for _, call in self.steps)

    def perform(
        self,
        perform: Callable[[Call], Any],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """In a thread. Raises SkyliftError; what has gone by then is gone, and the next removal finds the rest."""
        if self.obstacles:
            raise UsageError(self.obstacles[0], "Then delete the VPC.")
        for _, call in self.steps:
            until = clock() + PATIENCE
            while True:
                try:
                    perform(call)
                    break
                except Refused as error:
                    # What was deleted before may hold it for a while.
                    if error.code != "DependencyViolation" or clock() > until:
                        raise
                sleep(PAUSE)


def find_removal(port: Port, vpc: str) -> VpcRemoval:
    """In a thread. Raises SkyliftError."""

    found = partial(port.of_vpc, vpc)
    nats = [each for each in found("describe_nat_gateways", "NatGateways") if each["State"] != "deleted"]
    return plan_removal(
        vpc,
        instances=[
            each for reservation in found("describe_instances", "Reservations") for each in reservation["Instances"]
        ],
        interfaces=found("describe_network_interfaces", "NetworkInterfaces"),
        nats=nats,
        endpoints=[each for each in found("describe_vpc_endpoints", "VpcEndpoints") if each.get("State") != "deleted"],
        subnets=found("describe_subnets", "Subnets"),
        tables=found("describe_route_tables", "RouteTables"),
        gateways=found("describe_internet_gateways", "InternetGateways"),
        groups=found("describe_security_groups", "SecurityGroups"),
        acls=found("describe_network_acls", "NetworkAcls"),
    )


def plan_removal(
    vpc: str,
    *,
    instances: Sequence[Any] = (),
    interfaces: Sequence[Any] = (),
    nats: Sequence[Any] = (),
    endpoints: Sequence[Any] = (),
    subnets: Sequence[Any] = (),
    tables: Sequence[Any] = (),
    gateways: Sequence[Any] = (),
    groups: Sequence[Any] = (),
    acls: Sequence[Any] = (),
) -> VpcRemoval:
    """Of EC2's answers. What others of it lean on goes last, and a subnet, which something unknown may hold, before
    what would be missed if the VPC stayed."""
    steps: list[tuple[str, Call]] = []

    def goes(what: str, described: Any, key: str, operation: str, parameter: str = "") -> None:
        steps.append((_words(what, described, key), Call("ec2", operation, {parameter or key: described[key]})))

    for each in nats:
        if each["State"] != "deleting":
            goes("NAT gateway", each, "NatGatewayId", "delete_nat_gateway")
    if endpoints:
        ids = [each["VpcEndpointId"] for each in endpoints]
        names = ", ".join(_words("endpoint", each, "VpcEndpointId") for each in endpoints)
        steps.append((names, Call("ec2", "delete_vpc_endpoints", {"VpcEndpointIds": ids})))
    for each in subnets:
        goes("subnet", each, "SubnetId", "delete_subnet")
    for each in gateways:
        gateway = each["InternetGatewayId"]
        detach = Call("ec2", "detach_internet_gateway", {"InternetGatewayId": gateway, "VpcId": vpc})
        steps.append((f"{gateway} leaves the VPC", detach))
        goes("internet gateway", each, "InternetGatewayId", "delete_internet_gateway")
    for each in tables:
        if not any(link.get("Main") for link in each.get("Associations", [])):
            goes("route table", each, "RouteTableId", "delete_route_table")
    for each in acls:
        if not each.get("IsDefault"):
            goes("network ACL", each, "NetworkAclId", "delete_network_acl")
    own = [each for each in groups if each["GroupName"] != "default"]
    for each in groups:
        steps += _let_go(each, {one["GroupId"] for one in own} - {each["GroupId"]})
    for each in own:
        goes("security group", each, "GroupId", "delete_security_group")
    steps.append((f"{vpc} itself", Call("ec2", "delete_vpc", {"VpcId": vpc})))
    kept = tuple(
        f"{address['PublicIp']} stays yours, and costs: release it among Elastic IPs."
        for each in nats
        for address in each.get("NatGatewayAddresses", [])
        if address.get("PublicIp")
    )
    return VpcRemoval(tuple(steps), kept, tuple(_obstacles(instances, interfaces)))


def _let_go(group: Any, going: Collection[str]) -> Iterator[tuple[str, Call]]:
    """What its rules name of the groups that go. Two that name each other could not go one after the other, and the
    default group, which only goes with the VPC, holds those that it names."""
    for permissions, operation in (
        ("IpPermissions", "revoke_security_group_ingress"),
        ("IpPermissionsEgress", "revoke_security_group_egress"),
    ):
        named = []
        for rule in group.get(permissions, []):
            pairs = [each for each in rule.get("UserIdGroupPairs", []) if each.get("GroupId") in going]
            if pairs:
                named.append({**rule, "UserIdGroupPairs": pairs, "IpRanges": [], "Ipv6Ranges": [], "PrefixListIds": []})
        if named:
            words = f"rules of {group['GroupId']} that name groups"
            yield words, Call("ec2", operation, {"GroupId": group["GroupId"], "IpPermissions": named})


def _obstacles(instances: Sequence[Any], interfaces: Sequence[Any]) -> Iterator[str]:
    servers = [each["InstanceId"] for each in instances if each["State"]["Name"] not in _GONE]
    if servers:
        yield f"Servers are in this VPC: terminate {_few(servers)} first."
    # Load balancers, databases and functions of AWS's are in a VPC by their interfaces alone.
    others = [_spell_interface(each) for each in interfaces if not _goes_along(each)]
    if others:
        what = "first delete what they belong to, or the interfaces themselves"
        yield f"Network interfaces are in this VPC: {what}: {_few(others)}."


def _goes_along(interface: Any) -> bool:
    return interface.get("InterfaceType") in _GO_ALONG or bool(interface.get("Attachment", {}).get("InstanceId"))


def _spell_interface(interface: Any) -> str:
    kind = interface.get("InterfaceType", "interface")
    what = interface.get("Description") or (kind if kind != "interface" else "")
    return f"{interface['NetworkInterfaceId']} ({what})" if what else str(interface["NetworkInterfaceId"])


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _words(what: str, described: Any, key: str) -> str:
    name = as_tags(described).get("Name") or described.get("GroupName", "")
    return f"{what} {name} ({described[key]})" if name else f"{what} {described[key]}"
