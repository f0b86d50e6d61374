"""Security groups, and the rules that are added to and taken from them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, cast

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.network import NetworkInterface, Rule, RuleTags, SecurityGroup, Vpc
from skylift.cloud.services.api.check import adds_rules, on_group
from skylift.cloud.services.api.ec2_operation import PAGES, acts_on, makes, reads, writes
from skylift.cloud.services.api.filter import same_named
from skylift.cloud.services.api.list_response import Listing
from skylift.cloud.services.api.operation import Params
from skylift.cloud.services.api.refusal import combination, invalid, invalid_value, missing
from skylift.cloud.services.api.resource import SECURITY_GROUP_RULE, arn, new_id, require, well_formed
from skylift.cloud.services.api.tag import group_with_rule, tag_list, tags_for
from skylift.cloud.services.vpc import prefix_list, security_rule
from skylift.cloud.services.vpc.security_rule import ONE_PERMISSION, PERMISSIONS
from skylift.cloud.services.vpc.vpc import default_vpc
from skylift.cloud.store.database import Tx
from skylift.cloud.store.network import connection_between, rule_tags, tag_rules

if TYPE_CHECKING:
    from aws_shapes import ec2


def _rule_filters(prefix: str, member: str) -> dict[str, str]:
    return {
        f"{prefix}.cidr": f"{member}.IpRanges.CidrIp",
        f"{prefix}.from-port": f"{member}.FromPort",
        f"{prefix}.group-id": f"{member}.UserIdGroupPairs.GroupId",
        f"{prefix}.group-name": f"{member}.UserIdGroupPairs.GroupName",
        f"{prefix}.ipv6-cidr": f"{member}.Ipv6Ranges.CidrIpv6",
        f"{prefix}.prefix-list-id": f"{member}.PrefixListIds.PrefixListId",
        f"{prefix}.protocol": f"{member}.IpProtocol",
        f"{prefix}.to-port": f"{member}.ToPort",
        f"{prefix}.user-id": f"{member}.UserIdGroupPairs.UserId",
    }


LISTING = Listing(
    SecurityGroup,
    ids="GroupIds",
    key="GroupId",
    filters={
        **same_named("description group-id group-name owner-id vpc-id"),
        **_rule_filters("ip-permission", "IpPermissions"),
        **_rule_filters("egress.ip-permission", "IpPermissionsEgress"),
    },
)

RULES = Listing(
    SecurityGroup,
    ids="SecurityGroupRuleIds",
    key="SecurityGroupRuleId",
    filters=same_named("group-id security-group-rule-id"),
)


def view(tx: Tx, group: SecurityGroup, caller: Caller) -> ec2.SecurityGroup:
    return {
        "GroupId": group.id,
        "GroupName": group.name,
        "Description": group.description,
        "VpcId": group.vpc_id,
        "OwnerId": caller.account,
        "SecurityGroupArn": arn(caller, "security-group", group.id),
        "IpPermissions": security_rule.permissions(tx, group.rules, caller.account, egress=False),
        "IpPermissionsEgress": security_rule.permissions(tx, group.rules, caller.account, egress=True),
        "Tags": tag_list(group.tags),
    }


def create(tx: Tx, caller: Caller, params: ec2.CreateSecurityGroupRequest) -> ec2.CreateSecurityGroupResult:
    name, description = params["GroupName"], params["Description"]
    vpc = require(tx, Vpc, params["VpcId"]) if params.get("VpcId") else default_vpc(tx)
    for parameter, text in (("GroupName", name), ("GroupDescription", description)):
        if not text or not security_rule.TEXT.fullmatch(text):
            raise invalid_value(
                text,
                parameter,
                "Valid values are strings of 1 to 255 characters from the set a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*",
            )
    if name.startswith("sg-"):
        raise invalid_value(name, "GroupName", "Group names may not be in the format sg-*.")
    if name == "default":
        raise invalid("Cannot use reserved security group name: default")
    if tx.get(SecurityGroup, vpc_id=vpc.id, name=name) is not None:
        raise ServiceError("InvalidGroup.Duplicate", f"The security group '{name}' already exists for VPC '{vpc.id}'")
    group = SecurityGroup(
        new_id("sg"),
        vpc.id,
        name,
        description,
        rules=(security_rule.allow_all_out(),),
        tags=tags_for(params, "security-group"),
    )
    tx.add(group)
    return {
        "GroupId": group.id,
        "SecurityGroupArn": arn(caller, "security-group", group.id),
        "Tags": tag_list(group.tags),
    }


def describe(tx: Tx, caller: Caller, params: ec2.DescribeSecurityGroupsRequest) -> ec2.DescribeSecurityGroupsResult:
    rows = LISTING.rows(tx, params)
    if params.get("GroupNames"):
        named = [by_name(tx, name) for name in dict.fromkeys(params["GroupNames"])]
        rows = [*rows, *named] if params.get("GroupIds") else named
    shown = LISTING.page(params, [view(tx, group, caller) for group in {row.id: row for row in rows}.values()])
    return {"SecurityGroups": shown.items, **shown.next}


def delete(tx: Tx, _caller: Caller, params: ec2.DeleteSecurityGroupRequest) -> ec2.DeleteSecurityGroupResult:
    group = named_group(tx, params.get("GroupId"), params.get("GroupName"))
    if group.name == "default":
        raise ServiceError(
            "CannotDelete", f'the specified group: "{group.id}" name: "default" cannot be deleted by a user'
        )
    used = any(group.id in interface.group_ids for interface in tx.find(NetworkInterface, vpc_id=group.vpc_id))
    referenced = any(
        rule.group_id == group.id
        for other in tx.find(SecurityGroup, vpc_id=group.vpc_id)
        if other.id != group.id
        for rule in other.rules
    )
    if used or referenced:
        raise ServiceError("DependencyViolation", f"resource {group.id} has a dependent object")
    tx.remove(group)
    return {"Return": True, "GroupId": group.id}


def authorize(
    tx: Tx, caller: Caller, params: Params, *, egress: bool
) -> ec2.AuthorizeSecurityGroupIngressResult | ec2.AuthorizeSecurityGroupEgressResult:
    group = named_group(tx, params.get("GroupId"), params.get("GroupName"))
    tags = tags_for({"TagSpecifications": params.get("TagSpecifications", [])}, SECURITY_GROUP_RULE)
    asked = asked_permissions(params.get("IpPermissions"), _single(params))
    added = asked_rules(tx, caller, group, asked, egress=egress)
    known = {security_rule.key(rule) for rule in group.rules}
    for rule in added:
        if security_rule.key(rule) in known:
            raise ServiceError(
                "InvalidPermission.Duplicate", f"the specified rule {security_rule.worded(rule)} already exists"
            )
    prefix_list.refuse_crowd(tx, (*group.rules, *added))
    tx.save(replace(group, rules=(*group.rules, *added)))
    if tags:
        tag_rules(tx, RuleTags(new_id("tags"), group.id, tags), [rule.id for rule in added])
    return {"Return": True, "SecurityGroupRules": [security_rule.view(tx, rule, group, caller, tags) for rule in added]}


def revoke(
    tx: Tx, caller: Caller, params: Params, *, egress: bool
) -> ec2.RevokeSecurityGroupIngressResult | ec2.RevokeSecurityGroupEgressResult:
    """Unknown rules are answered in the default VPC. Elsewhere they are an error, and nothing changes."""
    group = named_group(tx, params.get("GroupId"), params.get("GroupName"))
    ids = params.get("SecurityGroupRuleIds")
    unknown: list[Rule] = []
    if ids:
        gone = [own_rule(group, rule_id, egress=egress) for rule_id in dict.fromkeys(ids)]
    else:
        wanted = asked_permissions(params.get("IpPermissions"), _single(params))
        # A stale rule names a group that is gone, or out of reach; it can be revoked as it is described.
        referred = frozenset(rule.group_id for rule in group.rules if rule.group_id and rule.egress == egress)
        asked = asked_rules(tx, caller, group, wanted, egress=egress, referred=referred)
        present = {security_rule.key(rule): rule for rule in group.rules}
        gone = [present[security_rule.key(rule)] for rule in asked if security_rule.key(rule) in present]
        unknown = [rule for rule in asked if security_rule.key(rule) not in present]
    if unknown and not require(tx, Vpc, group.vpc_id).is_default:
        raise ServiceError("InvalidPermission.NotFound", "The specified rule does not exist in this security group.")
    tx.save(replace(group, rules=tuple(rule for rule in group.rules if rule not in gone)))
    return {
        "Return": True,
        "UnknownIpPermissions": security_rule.permissions(tx, tuple(unknown), caller.account, egress=egress),
        "RevokedSecurityGroupRules": [security_rule.revoked_view(rule, group) for rule in gone],
    }


def describe_rules(
    tx: Tx, caller: Caller, params: ec2.DescribeSecurityGroupRulesRequest
) -> ec2.DescribeSecurityGroupRulesResult:
    wanted = params.get("SecurityGroupRuleIds") or []
    for rule_id in wanted:
        if not well_formed("sgr", rule_id):
            raise ServiceError("InvalidSecurityGroupRuleId.Malformed", f'Invalid id: "{rule_id}" (expecting "sgr-...")')
        group_with_rule(tx, rule_id)
    items = [
        security_rule.view(tx, rule, group, caller, rule_tags(tx, rule.id))
        for group in tx.find(SecurityGroup)
        for rule in group.rules
        if not wanted or rule.id in wanted
    ]
    shown = RULES.page(params, items)
    return {"SecurityGroupRules": shown.items, **shown.next}


def by_name(tx: Tx, name: str) -> SecurityGroup:
    """The group of this name in the default VPC: elsewhere groups go by their ids."""
    vpc = default_vpc(tx)
    group = tx.get(SecurityGroup, vpc_id=vpc.id, name=name)
    if group is None:
        raise ServiceError(
            "InvalidGroup.NotFound", f"The security group '{name}' does not exist in default VPC '{vpc.id}'"
        )
    return group


def named_group(tx: Tx, group_id: str | None, name: str | None) -> SecurityGroup:
    if group_id and name:
        raise combination("The parameter groupName cannot be used with the parameter groupId")
    if group_id:
        return require(tx, SecurityGroup, group_id)
    if name:
        return by_name(tx, name)
    raise missing("groupName or groupId")


def _single(params: Params) -> ec2.IpPermission:
    """Empty where a request has none of them."""
    return {
        **({"IpProtocol": params["IpProtocol"]} if "IpProtocol" in params else {}),
        **({"FromPort": params["FromPort"]} if "FromPort" in params else {}),
        **({"ToPort": params["ToPort"]} if "ToPort" in params else {}),
        **({"IpRanges": [{"CidrIp": params["CidrIp"]}]} if params.get("CidrIp") else {}),
    }


def asked_permissions(
    listed: list[ec2.IpPermission] | None, single: ec2.IpPermission | None = None
) -> list[ec2.IpPermission]:
    """The permissions of a request: those of `IpPermissions`, or a single one."""
    if single and listed:
        raise combination("The parameter ipPermissions cannot be used with the parameters of a single permission")
    if not single and not listed:
        raise missing("ipPermissions")
    return [single] if single else listed or []


def asked_rules(
    tx: Tx,
    caller: Caller,
    group: SecurityGroup,
    asked: list[ec2.IpPermission],
    *,
    egress: bool,
    referred: frozenset[str] = frozenset(),
) -> list[Rule]:
    """The rules that permissions stand for. Groups with an id in `referred` are not looked for."""
    # Before they are looked at: a request may be of thousands.
    for family in ("IpRanges", "Ipv6Ranges"):
        peers = (family, "UserIdGroupPairs", "PrefixListIds")
        prefix_list.refuse_more(sum(len(cast(Params, one).get(peer) or ()) for one in asked for peer in peers))
    named: list[ec2.IpPermission] = [
        {
            **permission,
            "UserIdGroupPairs": [
                {"GroupId": pair["GroupId"]} if pair.get("GroupId") in referred else _peer(tx, caller, group, pair)
                for pair in permission["UserIdGroupPairs"]
            ],
        }
        if permission.get("UserIdGroupPairs")
        else permission
        for permission in asked
    ]
    for permission in named:
        for item in permission.get("PrefixListIds") or []:
            prefix_list.known(tx, item.get("PrefixListId") or "")
    return security_rule.rules_in(named, egress=egress)


def _peer(tx: Tx, caller: Caller, group: SecurityGroup, pair: ec2.UserIdGroupPair) -> ec2.UserIdGroupPair:
    """A group that a rule refers to, by id; it has to be in the same VPC, or in one that this is peered with."""
    if pair.get("UserId", caller.account) != caller.account:
        raise ServiceError("InvalidGroup.NotFound", f"There is no account {pair['UserId']} in this cloud")
    if pair.get("GroupId"):
        found = require(tx, SecurityGroup, pair["GroupId"])
    elif pair.get("GroupName"):
        found = by_name(tx, pair["GroupName"])
    else:
        raise missing("groupId")
    if pair.get("VpcId", found.vpc_id) == found.vpc_id:
        if found.vpc_id == group.vpc_id:
            return pair | {"GroupId": found.id}
        connection = connection_between(tx, group.vpc_id, found.vpc_id)
        if connection is not None and pair.get("VpcPeeringConnectionId", connection.id) == connection.id:
            return pair | {"GroupId": found.id, "VpcId": found.vpc_id, "VpcPeeringConnectionId": connection.id}
    raise ServiceError("InvalidGroup.NotFound", "You have specified two resources that belong to different networks.")


def own_rule(group: SecurityGroup, rule_id: str, *, egress: bool | None = None) -> Rule:
    """In either direction, or in this one."""
    if not well_formed("sgr", rule_id):
        raise ServiceError("InvalidSecurityGroupRuleId.Malformed", f'Invalid id: "{rule_id}" (expecting "sgr-...")')
    for rule in group.rules:
        if rule.id == rule_id and egress in (None, rule.egress):
            return rule
    raise ServiceError("InvalidSecurityGroupRuleId.NotFound", f"The security group rule ID '{rule_id}' does not exist")


OPERATIONS = (
    makes("CreateSecurityGroup", create, "Description GroupName VpcId TagSpecifications", "security-group", "VpcId"),
    reads("DescribeSecurityGroups", describe, f"GroupIds GroupNames {PAGES}"),
    reads("DescribeSecurityGroupRules", describe_rules, f"SecurityGroupRuleIds {PAGES}"),
    acts_on("DeleteSecurityGroup", delete, "GroupId GroupName", on_group),
    writes(
        "AuthorizeSecurityGroupIngress",
        partial(authorize, egress=False),
        f"GroupId GroupName TagSpecifications {ONE_PERMISSION} {PERMISSIONS}",
        adds_rules("AuthorizeSecurityGroupIngress"),
    ),
    writes(
        "AuthorizeSecurityGroupEgress",
        partial(authorize, egress=True),
        f"GroupId TagSpecifications {PERMISSIONS}",
        adds_rules("AuthorizeSecurityGroupEgress"),
    ),
    acts_on(
        "RevokeSecurityGroupIngress",
        partial(revoke, egress=False),
        f"GroupId GroupName SecurityGroupRuleIds {ONE_PERMISSION} {PERMISSIONS}",
        on_group,
    ),
    acts_on(
        "RevokeSecurityGroupEgress",
        partial(revoke, egress=True),
        f"GroupId SecurityGroupRuleIds {PERMISSIONS}",
        on_group,
    ),
)
