"""A security group as it is put together on a page, with its first rules: what is missing, and what makes it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from skylift.client.errors import UsageError
from skylift.console import call as calls
from skylift.console.call import Call
from skylift.console.rows import RuleRow
from skylift.console.typed import read_ports
from skylift.console.vpc_plan import ApiStep, Making, creation

KINDS = {"tcp": "TCP", "udp": "UDP", "icmp": "ICMP", "-1": "All traffic"}
_TEXT = re.compile(r"[A-Za-z0-9 ._\-:/()#,@\[\]+=&;{}!$*]{1,255}")
"""What EC2 takes as a name, and as a description."""


@dataclass(frozen=True)
class GroupWish:
    """What was chosen, as it was typed. A rule for what comes in is a protocol, ports, and another end."""

    name: str
    description: str
    vpc: str
    rules: tuple[tuple[str, str, str], ...]

    def missing(self) -> list[str]:
        """What has to be mended before it can be made, in words."""
        found = []
        if not self.name:
            found.append("The group needs a name.")
        elif not _TEXT.fullmatch(self.name) or self.name.startswith("sg-"):
            found.append("The name has letters, digits, spaces and ._-:/()#,@[]+=&;{}!$*, and does not begin with sg-.")
        if self.description and not _TEXT.fullmatch(self.description):
            found.append("The description has letters, digits, spaces and ._-:/()#,@[]+=&;{}!$*.")
        if not self.vpc:
            found.append("Choose a VPC.")
        for each in self.rules:
            try:
                read_permission(*each)
            except UsageError as error:
                found.append(f"{error.message} {error.advice}")
        return found

    def steps(self) -> list[ApiStep]:
        """AWS wants a description: the name is one."""
        call = calls.create_security_group(self.name, self.description or self.name, self.vpc)
        steps = [creation("Security group", call, "group", "GroupId")]
        if self.rules:
            permissions = [read_permission(*each) for each in self.rules]
            steps.append(ApiStep("Its rules", calls.authorize_rules("%group%", permissions, outbound=False)))
        return steps

    def make(self, perform: Callable[[Call], Any]) -> str:
        """In a thread. Its id; where the rules are refused, there is no group either. Raises SkyliftError."""
        if missing := self.missing():
            raise UsageError(missing[0])
        making = Making(self.steps())
        making.make_all(perform)
        return making.made["group"]


def read_permission(kind: str, ports: str, other: str, description: str = "") -> dict[str, Any]:
    """What was typed, as EC2 has it. Raises UsageError; whether an address is one, AWS says."""
    text = {"Description": description.strip()} if description.strip() else {}
    other = other.strip()
    if not other:
        raise UsageError("Say where from or to.", "An address is like 203.0.113.7/32; all are 0.0.0.0/0.")
    permission: dict[str, Any] = {"IpProtocol": kind}
    if kind in ("tcp", "udp"):
        first, last = read_ports(ports)
        permission |= {"FromPort": first, "ToPort": last}
    elif kind == "icmp":
        permission |= {"FromPort": -1, "ToPort": -1}
    if other.startswith("sg-"):
        permission["UserIdGroupPairs"] = [{"GroupId": other, **text}]
    elif other.startswith("pl-"):
        permission["PrefixListIds"] = [{"PrefixListId": other, **text}]
    elif ":" in other:
        permission["Ipv6Ranges"] = [{"CidrIpv6": other, **text}]
    else:
        permission["IpRanges"] = [{"CidrIp": other if "/" in other else f"{other}/32", **text}]
    return permission


_PEERS = {
    "IpRanges": ("CidrIp", "CidrIpv4"),
    "Ipv6Ranges": ("CidrIpv6", "CidrIpv6"),
    "PrefixListIds": ("PrefixListId", "PrefixListId"),
    "UserIdGroupPairs": ("GroupId", "ReferencedGroupId"),
}
"""By the name of a permission's list: what its other end is called there, and what in a rule by itself."""


def read_change(group: str, rule: RuleRow, kind: str, ports: str, other: str, description: str) -> Call:
    """What was typed in a rule's place. One that has other words only is described anew. Raises UsageError."""
    if kind == rule.protocol and kind not in ("tcp", "udp"):
        # Its types, of ICMP, are no ports, and stay as they are.
        wanted = {"IpProtocol": kind, **({} if kind == "-1" else {"FromPort": rule.first, "ToPort": rule.last})}
        permission = {**read_permission("-1", "", other, description), **wanted}
    else:
        permission = read_permission(kind, ports, other, description)
    (name,) = permission.keys() & _PEERS.keys()
    (end,) = permission.pop(name)
    inner, outer = _PEERS[name]
    permission |= {outer: end[inner], **({"Description": end["Description"]} if "Description" in end else {})}
    if outer != peer_of(rule.other):
        raise UsageError(
            "A rule keeps its kind of other end: addresses of one version, a group, or a prefix list.",
            "Add another rule, and remove this one.",
        )
    before: dict[str, Any] = {"IpProtocol": rule.protocol, outer: rule.other}
    before |= {} if rule.protocol == "-1" else {"FromPort": rule.first, "ToPort": rule.last}
    words = permission.get("Description", "")
    if {key: value for key, value in permission.items() if key != "Description"} != before:
        return calls.modify_rule(group, rule.id, permission)
    if words == rule.description:
        raise UsageError("Nothing is different yet.")
    return calls.describe_rule(group, rule.id, words, outbound=rule.direction == "out")


def peer_of(other: str) -> str:
    """What a rule's other end is called in a rule by itself."""
    prefixes = {"sg-": "ReferencedGroupId", "pl-": "PrefixListId"}
    return prefixes.get(other[:3], "CidrIpv6" if ":" in other else "CidrIpv4")


def other_vpc(subnet: str, group: str, vpcs: Mapping[str, str]) -> str:
    """What is wrong with a group that is of another VPC than the subnet; nothing where one of them is not chosen."""
    of_subnet, of_group = vpcs.get(subnet, ""), vpcs.get(group, "")
    if not of_subnet or not of_group or of_subnet == of_group:
        return ""
    return f"The subnet is in {of_subnet}, and the security group in {of_group}."
