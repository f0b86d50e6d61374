"""Questions about security groups as a whole: which a VPC's interfaces can have, and who names which."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.network import Rule, SecurityGroup, Vpc
from skylift.cloud.services.api.ec2_operation import PAGES, reads, shows
from skylift.cloud.services.api.filter import same_named
from skylift.cloud.services.api.list_response import Listing
from skylift.cloud.services.api.page import Limits, page
from skylift.cloud.services.api.resource import require, require_all
from skylift.cloud.services.api.tag import tag_list
from skylift.cloud.services.vpc import security_rule
from skylift.cloud.store.database import Tx
from skylift.cloud.store.network import joined

if TYPE_CHECKING:
    from aws_shapes import ec2

FOR_VPC = Listing(
    SecurityGroup,
    ids="GroupIds",
    key="GroupId",
    filters=same_named("description group-id group-name owner-id primary-vpc-id"),
)


def for_vpc(tx: Tx, caller: Caller, params: ec2.GetSecurityGroupsForVpcRequest) -> ec2.GetSecurityGroupsForVpcResult:
    """A group is of one VPC here: it is not shared with others."""
    vpc = require(tx, Vpc, params["VpcId"])
    items: list[ec2.SecurityGroupForVpc] = [
        {
            "GroupId": group.id,
            "GroupName": group.name,
            "Description": group.description,
            "OwnerId": caller.account,
            "PrimaryVpcId": vpc.id,
            "Tags": tag_list(group.tags),
        }
        for group in tx.find(SecurityGroup, vpc_id=vpc.id)
    ]
    shown = FOR_VPC.page(params, items)
    return {"SecurityGroupForVpcs": shown.items, **shown.next}


def references(
    tx: Tx, _caller: Caller, params: ec2.DescribeSecurityGroupReferencesRequest
) -> ec2.DescribeSecurityGroupReferencesResult:
    """The VPCs at the other end of a connection that name one of these groups in their rules."""
    asked = {group.id for group in require_all(tx, SecurityGroup, params["GroupId"])}
    connected = {peering.id for peering in joined(tx)}
    found = {
        (rule.group_id, group.vpc_id, rule.peering_id)
        for group in tx.find(SecurityGroup)
        for rule in group.rules
        if rule.group_id in asked and rule.peering_id in connected
    }
    return {
        "SecurityGroupReferenceSet": [
            {"GroupId": group_id, "ReferencingVpcId": vpc_id, "VpcPeeringConnectionId": peering_id}
            for group_id, vpc_id, peering_id in sorted(found, key=str)
        ]
    }


def stale(
    tx: Tx, caller: Caller, params: ec2.DescribeStaleSecurityGroupsRequest
) -> ec2.DescribeStaleSecurityGroupsResult:
    """Groups of a VPC with rules that name a group of a peer which is gone, or which this VPC is joined to no more."""
    vpc = require(tx, Vpc, params["VpcId"])
    connected = {peering.id for peering in joined(tx)}
    items: list[ec2.StaleSecurityGroup] = []
    for group in tx.find(SecurityGroup, vpc_id=vpc.id):
        gone = tuple(rule for rule in group.rules if rule.peering_id and _is_stale(tx, rule, connected))
        if gone:
            items.append(
                {
                    "GroupId": group.id,
                    "GroupName": group.name,
                    "Description": group.description,
                    "VpcId": vpc.id,
                    "StaleIpPermissions": _stale_permissions(tx, gone, caller, egress=False),
                    "StaleIpPermissionsEgress": _stale_permissions(tx, gone, caller, egress=True),
                }
            )
    shown = page(items, params, lambda item: str(item["GroupId"]), Limits(most=255))
    return {"StaleSecurityGroupSet": shown.items, **shown.next}


def _is_stale(tx: Tx, rule: Rule, connected: set[str]) -> bool:
    return rule.peering_id not in connected or tx.get(SecurityGroup, id=rule.group_id) is None


def _stale_permissions(tx: Tx, rules: tuple[Rule, ...], caller: Caller, *, egress: bool) -> list[ec2.StaleIpPermission]:
    return [_stale(one) for one in security_rule.permissions(tx, rules, caller.account, egress=egress)]


def _stale(permission: ec2.IpPermission) -> ec2.StaleIpPermission:
    """The model has no IPv6 ranges here, and of ranges and lists the bare names."""
    return {
        "IpProtocol": permission["IpProtocol"],
        **({"FromPort": permission["FromPort"], "ToPort": permission["ToPort"]} if "FromPort" in permission else {}),
        "IpRanges": [one["CidrIp"] for one in permission["IpRanges"]],
        "PrefixListIds": [one["PrefixListId"] for one in permission["PrefixListIds"]],
        "UserIdGroupPairs": permission["UserIdGroupPairs"],
    }


OPERATIONS = (
    shows("GetSecurityGroupsForVpc", for_vpc, f"VpcId {PAGES}", "VpcId"),
    shows("DescribeSecurityGroupReferences", references, "GroupId", "GroupId"),
    reads("DescribeStaleSecurityGroups", stale, "VpcId MaxResults NextToken"),
)
