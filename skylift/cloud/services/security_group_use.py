"""Questions about security groups as a whole: which a VPC's interfaces can have, and who names which."""

from __future__ import annotations

from typing import Any

from skylift.cloud.identity import Caller
from skylift.cloud.network import SecurityGroup, Vpc
from skylift.cloud.services.listing import Listing
from skylift.cloud.services.page import Limits, answer, page
from skylift.cloud.services.resource import require, require_all
from skylift.cloud.services.tag import tag_list
from skylift.cloud.store.database import Tx

FOR_VPC = Listing(
    SecurityGroup,
    ids="GroupIds",
    member="SecurityGroupForVpcs",
    key="GroupId",
    filters={
        "description": "Description",
        "group-id": "GroupId",
        "group-name": "GroupName",
        "owner-id": "OwnerId",
        "primary-vpc-id": "PrimaryVpcId",
    },
)


def for_vpc(tx: Tx, caller: Caller, params: Any) -> dict[str, Any]:
    """A group belongs to one VPC here: it is not lent to another."""
    vpc = require(tx, Vpc, params["VpcId"])
    items = [
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
    return FOR_VPC.answer(params, items)


def references(tx: Tx, _caller: Caller, params: Any) -> dict[str, Any]:
    """From VPCs at the other end of a connection: rules there name address ranges, so that there are none."""
    require_all(tx, SecurityGroup, params["GroupId"])
    return {"SecurityGroupReferenceSet": []}


def stale(tx: Tx, _caller: Caller, params: Any) -> dict[str, Any]:
    """Rules that name a group of a peer that is gone. See `references`."""
    require(tx, Vpc, params["VpcId"])
    return answer("StaleSecurityGroupSet", page([], params, str, Limits(most=255)))
