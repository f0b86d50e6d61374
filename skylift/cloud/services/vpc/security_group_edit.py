"""Security group rules that are there already: changed, and described anew."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.network import PrefixList, Rule, SecurityGroup
from skylift.cloud.services.api.check import on, on_group, on_row
from skylift.cloud.services.api.ec2_operation import acts_on, writes
from skylift.cloud.services.api.operation import Check, below
from skylift.cloud.services.api.refusal import combination, invalid, missing
from skylift.cloud.services.api.resource import SECURITY_GROUP_RULE, arn, require
from skylift.cloud.services.vpc import prefix_list, security_rule
from skylift.cloud.services.vpc.security_group import asked_permissions, asked_rules, named_group, own_rule
from skylift.cloud.services.vpc.security_rule import PERMISSIONS
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import ec2


_TRAFFIC = ("IpProtocol", "FromPort", "ToPort")
_PEERS = {
    "CidrIpv4": ("IpRanges", "CidrIp"),
    "CidrIpv6": ("Ipv6Ranges", "CidrIpv6"),
    "ReferencedGroupId": ("UserIdGroupPairs", "GroupId"),
    "PrefixListId": ("PrefixListIds", "PrefixListId"),
}


def modify_rules(
    tx: Tx, caller: Caller, params: ec2.ModifySecurityGroupRulesRequest
) -> ec2.ModifySecurityGroupRulesResult:
    """A rule is given whole and keeps its id, its tags, its direction and its kind of peer."""
    group = require(tx, SecurityGroup, params["GroupId"])
    changes: dict[str, Rule] = {}
    for update in params["SecurityGroupRules"]:
        old = own_rule(group, update["SecurityGroupRuleId"])
        if old.id in changes:
            raise invalid(f"The security group rule {old.id} must not appear multiple times")
        changes[old.id] = _changed(tx, caller, group, old, update.get("SecurityGroupRule") or {})
    if not changes:
        raise missing("securityGroupRule")
    rules = tuple(changes.get(rule.id, rule) for rule in group.rules)
    keys = [security_rule.key(rule) for rule in rules]
    for rule in changes.values():
        if keys.count(security_rule.key(rule)) > 1:
            raise ServiceError(
                "InvalidPermission.Duplicate", f"the specified rule {security_rule.worded(rule)} already exists"
            )
    prefix_list.refuse_crowd(tx, rules)
    tx.save(replace(group, rules=rules))
    return {"Return": True}


def check_modify(tx: Tx, caller: Caller, params: ec2.ModifySecurityGroupRulesRequest) -> Iterator[Check]:
    """The group, and every rule that is named."""
    action = "ec2:ModifySecurityGroupRules"
    yield from on(action, "GroupId")(tx, caller, params)
    for update in params["SecurityGroupRules"]:
        yield Check(action, arn(caller, SECURITY_GROUP_RULE, update["SecurityGroupRuleId"]))
        if list_id := update.get("SecurityGroupRule", {}).get("PrefixListId"):
            yield on_row(tx, caller, action, PrefixList, list_id)


def _describe_anew(
    tx: Tx,
    caller: Caller,
    params: ec2.UpdateSecurityGroupRuleDescriptionsEgressRequest
    | ec2.UpdateSecurityGroupRuleDescriptionsIngressRequest,
    *,
    egress: bool,
) -> ec2.UpdateSecurityGroupRuleDescriptionsEgressResult | ec2.UpdateSecurityGroupRuleDescriptionsIngressResult:
    """Without a description a rule has none afterwards."""
    group = named_group(tx, params.get("GroupId"), params.get("GroupName"))
    texts = params.get("SecurityGroupRuleDescriptions") or []
    if texts and params.get("IpPermissions"):
        raise combination("The parameter ipPermissions cannot be used with securityGroupRuleDescriptions")
    if texts:
        asked = {
            own_rule(group, text.get("SecurityGroupRuleId", ""), egress=egress).id: text.get("Description", "")
            for text in texts
        }
    else:
        permissions = asked_permissions(params.get("IpPermissions"))
        asked = _by_key(group, asked_rules(tx, caller, group, permissions, egress=egress))
    for text in asked.values():
        security_rule.refuse_description(text)
    tx.save(replace(group, rules=tuple(_described(rule, asked) for rule in group.rules)))
    return {"Return": True}


def _by_key(group: SecurityGroup, rules: list[Rule]) -> dict[str, str]:
    present = {security_rule.key(rule): rule.id for rule in group.rules}
    for rule in rules:
        if security_rule.key(rule) not in present:
            raise ServiceError(
                "InvalidPermission.NotFound", "The specified rule does not exist in this security group."
            )
    return {present[security_rule.key(rule)]: rule.description for rule in rules}


def _described(rule: Rule, texts: dict[str, str]) -> Rule:
    return replace(rule, description=texts[rule.id]) if rule.id in texts else rule


def _changed(tx: Tx, caller: Caller, group: SecurityGroup, old: Rule, asked: ec2.SecurityGroupRuleRequest) -> Rule:
    (new,) = asked_rules(tx, caller, group, asked_permissions([_permission(asked)]), egress=old.egress)
    if _kind(new) != _kind(old):
        raise invalid(f"The kind of source or destination of {old.id} cannot be changed; make a new rule instead.")
    return replace(new, id=old.id)


def _permission(asked: ec2.SecurityGroupRuleRequest) -> ec2.IpPermission:
    """A single rule as permissions are written."""
    permission: dict[str, Any] = {name: value for name, value in asked.items() if name in _TRAFFIC}
    text = {"Description": asked["Description"]} if asked.get("Description") else {}
    peers = {name: value for name, value in asked.items() if name in _PEERS and value}
    if len(peers) > 1:
        raise combination(
            "Only one of cidrIpv4, cidrIpv6, prefixListId and referencedGroupId may be specified for a rule"
        )
    for name, value in peers.items():
        listed, member = _PEERS[name]
        permission[listed] = [{member: value, **text}]
    return cast("ec2.IpPermission", permission)


def _kind(rule: Rule) -> tuple[bool, ...]:
    return tuple(peer is not None for peer in (rule.cidr, rule.cidr6, rule.group_id, rule.prefix_list_id))


_RULE_REQUEST = "IpProtocol FromPort ToPort CidrIpv4 CidrIpv6 PrefixListId ReferencedGroupId Description"


OPERATIONS = (
    writes(
        "ModifySecurityGroupRules",
        modify_rules,
        "GroupId SecurityGroupRules.SecurityGroupRuleId "
        + below("SecurityGroupRules.SecurityGroupRule", _RULE_REQUEST),
        check_modify,
    ),
    *(
        acts_on(
            f"UpdateSecurityGroupRuleDescriptions{direction}",
            partial(_describe_anew, egress=direction == "Egress"),
            f"GroupId GroupName SecurityGroupRuleDescriptions {PERMISSIONS}",
            on_group,
        )
        for direction in ("Ingress", "Egress")
    ),
)
