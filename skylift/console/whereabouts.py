"""Where something is shown that has an id and no list of its own: a subnet in its VPC, a volume with its instance."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import quote

from skylift.console.call import Call
from skylift.console.port import Port
from skylift.runner.errors import SkyliftError

_ID = re.compile(r"([a-z]{2,9})-(?:[0-9a-f]{8}|[0-9a-f]{17})", re.ASCII)
_KEY = re.compile(r"A[KS]IA[A-Z0-9]{12,124}", re.ASCII)


@dataclass(frozen=True)
class Place:
    kind: str
    path: str


def _of_vpc(found: Any, tab: str) -> str:
    return f"/vpcs/{found['VpcId']}?tab={tab}"


def _of_internet_gateway(found: Any) -> str:
    return _of_vpc(found["Attachments"][0], "gateways")


def _of_volume(found: Any) -> str:
    return f"/instances/{found['Attachments'][0]['InstanceId']}?tab=storage"


def _of_interface(found: Any) -> str:
    instance = found.get("Attachment", {}).get("InstanceId", "")
    return f"/instances/{instance}?tab=networking" if instance else _of_vpc(found, "subnets")


_of_subnet = partial(_of_vpc, tab="subnets")
_of_table = partial(_of_vpc, tab="route-tables")
_of_acl = partial(_of_vpc, tab="network-acls")
_of_gateway = partial(_of_vpc, tab="gateways")


@dataclass(frozen=True)
class _Lookup:
    """How EC2 is asked for one of a kind: the operation, where its answer is, and what is made of that."""

    kind: str
    operation: str
    ids: str
    answer: str
    path: Callable[[Any], str]


_LOOKUPS: Mapping[str, _Lookup] = {
    "subnet": _Lookup("subnet", "describe_subnets", "SubnetIds", "Subnets", _of_subnet),
    "rtb": _Lookup("route table", "describe_route_tables", "RouteTableIds", "RouteTables", _of_table),
    "acl": _Lookup("network ACL", "describe_network_acls", "NetworkAclIds", "NetworkAcls", _of_acl),
    "nat": _Lookup("NAT gateway", "describe_nat_gateways", "NatGatewayIds", "NatGateways", _of_gateway),
    "vpce": _Lookup("VPC endpoint", "describe_vpc_endpoints", "VpcEndpointIds", "VpcEndpoints", _of_gateway),
    "igw": _Lookup(
        "internet gateway", "describe_internet_gateways", "InternetGatewayIds", "InternetGateways", _of_internet_gateway
    ),
    "vol": _Lookup("volume", "describe_volumes", "VolumeIds", "Volumes", _of_volume),
    "eni": _Lookup(
        "network interface", "describe_network_interfaces", "NetworkInterfaceIds", "NetworkInterfaces", _of_interface
    ),
    "sgr": _Lookup(
        "security group rule",
        "describe_security_group_rules",
        "SecurityGroupRuleIds",
        "SecurityGroupRules",
        lambda found: f"/security-groups/{found['GroupId']}",
    ),
}


def look_up(port: Port, text: str) -> Place | None:
    """In a thread. None for what has no id of this kind, for what is not there, and for what is at no place: a volume
    without an instance."""
    try:
        if _KEY.fullmatch(text):
            return _of_key(port, text)
        parts = _ID.fullmatch(text)
        lookup = _LOOKUPS.get(parts[1]) if parts else None
        if lookup is None:
            return None
        (found,) = port.perform(Call("ec2", lookup.operation, {lookup.ids: [text]}))[lookup.answer]
        return Place(lookup.kind, lookup.path(found))
    except (SkyliftError, ValueError, LookupError):
        return None


def _of_key(port: Port, key: str) -> Place | None:
    user = port.perform(Call("iam", "get_access_key_last_used", {"AccessKeyId": key})).get("UserName", "")
    return Place("access key", f"/users/{quote(user, safe='')}") if user else None
