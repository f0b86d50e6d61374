"""Rules of security groups: read from a request, compared, and shown in EC2's two ways.

https://docs.aws.amazon.com/vpc/latest/userguide/security-group-rules.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NotRequired, TypedDict

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.network import Rule, SecurityGroup
from skylift.cloud.domain.peering import Peering
from skylift.cloud.services.api.refusal import invalid, missing
from skylift.cloud.services.api.resource import SECURITY_GROUP_RULE, arn, new_id
from skylift.cloud.services.api.tag import tag_list
from skylift.cloud.services.vpc.cidr import peer, peer6
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import ec2


ALL = "-1"
NAMES = {"6": "tcp", "17": "udp", "1": "icmp", "58": "icmpv6"}
HIGHEST_PORT = 65535

TEXT = re.compile(r"[a-zA-Z0-9. _\-:/()#,@\[\]+=&;{}!$*]{0,255}")
"""The form of names and descriptions."""


@dataclass(frozen=True)
class Traffic:
    """Protocol and ports; for ICMP type and code; -1 means any."""

    protocol: str
    from_port: int
    to_port: int


@dataclass(frozen=True)
class RuleKey:
    """The key of a rule. Two rules with the same one are equal: direction, traffic and peer, which is one of four
    kinds."""

    egress: bool
    traffic: Traffic
    cidr: str | None
    cidr6: str | None
    group_id: str | None
    prefix_list_id: str | None


class _Text(TypedDict):
    Description: NotRequired[str]


class _Peering(TypedDict):
    """Where a group is that is not of this VPC."""

    VpcId: NotRequired[str]
    VpcPeeringConnectionId: NotRequired[str]
    PeeringStatus: NotRequired[str]


class _Rule(TypedDict):
    """What rules are shown with, those that are in force and those that were."""

    IsEgress: bool
    IpProtocol: str
    FromPort: int
    ToPort: int
    CidrIpv4: NotRequired[str]
    CidrIpv6: NotRequired[str]
    PrefixListId: NotRequired[str]
    Description: NotRequired[str]


def traffic(rule: Rule) -> Traffic:
    return Traffic(rule.protocol, rule.from_port, rule.to_port)


def key(rule: Rule) -> RuleKey:
    return RuleKey(rule.egress, traffic(rule), rule.cidr, rule.cidr6, rule.group_id, rule.prefix_list_id)


def allow_all_out() -> Rule:
    return Rule(new_id("sgr"), egress=True, protocol=ALL, from_port=-1, to_port=-1, cidr="0.0.0.0/0")


def default_group(vpc_id: str) -> SecurityGroup:
    """The group that every VPC has: its members reach each other, and everything outside."""
    group_id = new_id("sg")
    among = Rule(new_id("sgr"), egress=False, protocol=ALL, from_port=-1, to_port=-1, group_id=group_id)
    return SecurityGroup(group_id, vpc_id, "default", "default VPC security group", (among, allow_all_out()))


def rules_in(permissions: list[ec2.IpPermission], *, egress: bool) -> list[Rule]:
    """One rule for each peer of each permission; groups are taken as they are named, by id."""
    rules = [rule for permission in permissions for rule in _rules(permission, egress)]
    keys = [key(rule) for rule in rules]
    if len(set(keys)) < len(keys):
        raise invalid("The same permission must not appear multiple times")
    return rules


def refuse_description(text: str) -> None:
    """Raises where it is no description that a rule may have."""
    if not TEXT.fullmatch(text):
        raise invalid(
            "Invalid rule description. Valid descriptions are strings less than 256 characters from the "
            "following set:  a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*"
        )


def _rules(permission: ec2.IpPermission, egress: bool) -> Iterator[Rule]:
    asked = _asked_traffic(permission)
    blocks, blocks6 = permission.get("IpRanges", []), permission.get("Ipv6Ranges", [])
    groups, lists = permission.get("UserIdGroupPairs", []), permission.get("PrefixListIds", [])
    if not (blocks or blocks6 or groups or lists):
        side = "destination" if egress else "source"
        raise ServiceError(
            "MissingParameter", f"Missing {side} specification: include {side} security group or CIDR information"
        )
    for block in blocks:
        yield _rule(egress, asked, block, cidr=str(peer(_named(block.get("CidrIp")))))
    for block6 in blocks6:
        yield _rule(egress, asked, block6, cidr6=str(peer6(_named(block6.get("CidrIpv6")))))
    for group in groups:
        found = _rule(egress, asked, group, group_id=_named(group.get("GroupId")))
        if group.get("VpcPeeringConnectionId"):
            found = replace(found, peer_vpc_id=group["VpcId"], peering_id=group["VpcPeeringConnectionId"])
        yield found
    for listed in lists:
        yield _rule(egress, asked, listed, prefix_list_id=_named(listed.get("PrefixListId")))


def _named(peer: str | None) -> str:
    if not peer:
        raise missing("groupId or cidrIp of an IP permission")
    return peer


def _rule(
    egress: bool,
    asked: Traffic,
    given: _Text,
    *,
    cidr: str | None = None,
    cidr6: str | None = None,
    group_id: str | None = None,
    prefix_list_id: str | None = None,
) -> Rule:
    description = given.get("Description", "")
    refuse_description(description)
    return Rule(
        new_id("sgr"),
        egress,
        asked.protocol,
        asked.from_port,
        asked.to_port,
        cidr=cidr,
        cidr6=cidr6,
        group_id=group_id,
        prefix_list_id=prefix_list_id,
        description=description,
    )


def _asked_traffic(permission: ec2.IpPermission) -> Traffic:
    given = permission.get("IpProtocol")
    if given is None:
        raise missing("ipProtocol")
    protocol = NAMES.get(given, given.lower())
    if protocol == ALL:
        return Traffic(ALL, -1, -1)
    from_port, to_port = permission.get("FromPort"), permission.get("ToPort")
    if protocol in ("tcp", "udp"):
        if from_port is None or to_port is None:
            raise invalid("Invalid value 'Must specify both from and to ports with TCP/UDP.' for portRange.")
        for port in (from_port, to_port):
            if not 0 <= port <= HIGHEST_PORT:
                raise invalid(f"Invalid value '{port}' for port. Must be between 0 and {HIGHEST_PORT}.")
        if from_port > to_port:
            raise invalid(f"Invalid TCP/UDP port range ({from_port}:{to_port})")
        return Traffic(protocol, from_port, to_port)
    if protocol in ("icmp", "icmpv6"):
        kind, code = (-1 if number is None else number for number in (from_port, to_port))
        if not (-1 <= kind <= 255 and -1 <= code <= 255) or (kind == -1 and code != -1):
            raise invalid(f"Invalid value '{kind}:{code}' for ICMP type and code.")
        return Traffic(protocol, kind, code)
    if not re.fullmatch("[0-9]{1,3}", protocol) or int(protocol) > 255:
        raise invalid(f"Invalid value '{given}' for IP protocol. Unknown protocol.")
    return Traffic(str(int(protocol)), -1, -1)


def permissions(tx: Tx, rules: tuple[Rule, ...], owner: str, *, egress: bool) -> list[ec2.IpPermission]:
    """Rules as DescribeSecurityGroups shows them: those of the same traffic together."""
    grouped: dict[Traffic, ec2.IpPermission] = {}
    for rule in rules:
        if rule.egress != egress:
            continue
        shown = grouped.setdefault(traffic(rule), _traffic_of(rule))
        described: _Text = {"Description": rule.description} if rule.description else {}
        if rule.cidr:
            shown["IpRanges"].append({"CidrIp": rule.cidr, **described})
        elif rule.cidr6:
            shown["Ipv6Ranges"].append({"CidrIpv6": rule.cidr6, **described})
        elif rule.prefix_list_id:
            shown["PrefixListIds"].append({"PrefixListId": rule.prefix_list_id, **described})
        elif rule.group_id:
            pair: ec2.UserIdGroupPair = {"GroupId": rule.group_id, "UserId": owner, **_peering(tx, rule), **described}
            shown["UserIdGroupPairs"].append(pair)
    return list(grouped.values())


def _traffic_of(rule: Rule) -> ec2.IpPermission:
    with_ports = rule.protocol in NAMES.values()
    return {
        "IpProtocol": rule.protocol,
        **({"FromPort": rule.from_port, "ToPort": rule.to_port} if with_ports else {}),
        "IpRanges": [],
        "Ipv6Ranges": [],
        "PrefixListIds": [],
        "UserIdGroupPairs": [],
    }


def view(tx: Tx, rule: Rule, group: SecurityGroup, caller: Caller, tags: dict[str, str]) -> ec2.SecurityGroupRule:
    """A rule as DescribeSecurityGroupRules shows it."""
    shown: ec2.SecurityGroupRule = {
        "SecurityGroupRuleId": rule.id,
        "SecurityGroupRuleArn": arn(caller, SECURITY_GROUP_RULE, rule.id),
        "GroupId": group.id,
        "GroupOwnerId": caller.account,
        **_traffic_and_peer(rule),
        "Tags": tag_list(tags),
    }
    if rule.group_id:
        shown["ReferencedGroupInfo"] = {
            "GroupId": rule.group_id,
            "UserId": caller.account,
            "VpcId": group.vpc_id,
            **_peering(tx, rule),
        }
    return shown


def _peering(tx: Tx, rule: Rule) -> _Peering:
    """A connection that has ended is described no more after a while; a rule may name it as long as it likes."""
    if rule.peer_vpc_id is None or rule.peering_id is None:
        return {}
    found = tx.get(Peering, id=rule.peering_id)
    return {
        "VpcId": rule.peer_vpc_id,
        "VpcPeeringConnectionId": rule.peering_id,
        "PeeringStatus": found.state if found else "deleted",
    }


def revoked_view(rule: Rule, group: SecurityGroup) -> ec2.RevokedSecurityGroupRule:
    return {
        "SecurityGroupRuleId": rule.id,
        "GroupId": group.id,
        **_traffic_and_peer(rule),
        **({"ReferencedGroupId": rule.group_id} if rule.group_id else {}),
    }


def _traffic_and_peer(rule: Rule) -> _Rule:
    shown: _Rule = {
        "IsEgress": rule.egress,
        "IpProtocol": rule.protocol,
        "FromPort": rule.from_port,
        "ToPort": rule.to_port,
    }
    if rule.cidr:
        shown["CidrIpv4"] = rule.cidr
    if rule.cidr6:
        shown["CidrIpv6"] = rule.cidr6
    if rule.prefix_list_id:
        shown["PrefixListId"] = rule.prefix_list_id
    if rule.description:
        shown["Description"] = rule.description
    return shown


def worded(rule: Rule) -> str:
    """A rule as InvalidPermission.Duplicate words it."""
    traffic = "ALL" if rule.protocol == ALL else rule.protocol.upper()
    ports = f", from port: {rule.from_port}, to port: {rule.to_port}" if rule.protocol in ("tcp", "udp") else ""
    return f'"peer: {rule.cidr or rule.cidr6 or rule.group_id or rule.prefix_list_id}, {traffic}{ports}, ALLOW"'


PERMISSIONS = (
    "IpPermissions.IpProtocol IpPermissions.FromPort IpPermissions.ToPort IpPermissions.IpRanges "
    "IpPermissions.Ipv6Ranges IpPermissions.UserIdGroupPairs.Description IpPermissions.UserIdGroupPairs.GroupId "
    "IpPermissions.UserIdGroupPairs.GroupName IpPermissions.UserIdGroupPairs.UserId "
    "IpPermissions.UserIdGroupPairs.VpcId IpPermissions.UserIdGroupPairs.VpcPeeringConnectionId "
    # It asks for nothing: it comes along where somebody copies what was described.
    "IpPermissions.UserIdGroupPairs.PeeringStatus IpPermissions.PrefixListIds"
)

ONE_PERMISSION = "CidrIp FromPort IpProtocol ToPort"
