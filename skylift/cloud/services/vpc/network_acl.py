"""Network ACLs: numbered, stateless rules at the border of subnets.

https://docs.aws.amazon.com/vpc/latest/userguide/vpc-network-acls.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.network import AclAssociation, AclEntry, NetworkAcl, Subnet, Vpc
from skylift.cloud.services.api.check import on, on_row
from skylift.cloud.services.api.client_token import echoed, remember, result_of
from skylift.cloud.services.api.ec2_operation import PAGES, acts, makes, reads, writes
from skylift.cloud.services.api.filter import same_named
from skylift.cloud.services.api.list_response import Listing
from skylift.cloud.services.api.operation import Check, Nothing
from skylift.cloud.services.api.refusal import combination, invalid, invalid_value, missing, one_of
from skylift.cloud.services.api.resource import new_id, require
from skylift.cloud.services.api.tag import tag_list, tags_for
from skylift.cloud.services.vpc.cidr import block, peer6
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import ec2

ALL = "-1"
HIGHEST_NUMBER = 32766
LAST = 32767
"""The number of the last rule, which denies the rest. Every ACL has it, and nobody can change it."""

MAX_ENTRIES = 20
"""The quota of rules in each direction, with the last one."""

NUMBERS = {"tcp": "6", "udp": "17", "icmp": "1", "icmpv6": "58"}
_NAMES = {"6": "tcp", "17": "udp", "1": "icmp", "58": "icmpv6"}

LISTING = Listing(
    NetworkAcl,
    ids="NetworkAclIds",
    key="NetworkAclId",
    filters={
        **same_named("network-acl-id owner-id vpc-id"),
        **same_named("egress port-range.from port-range.to protocol rule-action rule-number", "entry", "Entries"),
        "association.association-id": "Associations.NetworkAclAssociationId",
        "association.network-acl-id": "Associations.NetworkAclId",
        "association.subnet-id": "Associations.SubnetId",
        "default": "IsDefault",
        "entry.cidr": "Entries.CidrBlock",
        "entry.icmp.code": "Entries.IcmpTypeCode.Code",
        "entry.icmp.type": "Entries.IcmpTypeCode.Type",
        "entry.ipv6-cidr": "Entries.Ipv6CidrBlock",
    },
)


def default_acl(vpc_id: str) -> NetworkAcl:
    """A VPC's default ACL, which allows everything until it is changed."""
    entries = tuple(AclEntry(100, egress, ALL, -1, -1, allow=True, cidr="0.0.0.0/0") for egress in (False, True))
    return NetworkAcl(new_id("acl"), vpc_id, is_default=True, entries=entries)


def join_default(tx: Tx, subnet: Subnet) -> None:
    """A new subnet is associated with its VPC's default ACL."""
    acl = tx.get(NetworkAcl, vpc_id=subnet.vpc_id, is_default=True)
    assert acl is not None
    tx.save(replace(acl, associations=(*acl.associations, AclAssociation(new_id("aclassoc"), subnet.id))))


def leave(tx: Tx, subnet: Subnet) -> None:
    for acl in tx.find(NetworkAcl, vpc_id=subnet.vpc_id):
        kept = tuple(one for one in acl.associations if one.subnet_id != subnet.id)
        if kept != acl.associations:
            tx.save(replace(acl, associations=kept))


def view(acl: NetworkAcl, owner: str) -> ec2.NetworkAcl:
    return {
        "NetworkAclId": acl.id,
        "VpcId": acl.vpc_id,
        "OwnerId": owner,
        "IsDefault": acl.is_default,
        "Entries": [_entry_view(entry) for entry in _in_order(acl)],
        "Associations": [
            {"NetworkAclAssociationId": one.id, "NetworkAclId": acl.id, "SubnetId": one.subnet_id}
            for one in acl.associations
        ],
        "Tags": tag_list(acl.tags),
    }


def create(tx: Tx, caller: Caller, params: ec2.CreateNetworkAclRequest) -> ec2.CreateNetworkAclResult:
    """Denies everything until it has entries."""
    made_before = result_of(tx, "CreateNetworkAcl", params)
    if made_before:
        acl = require(tx, NetworkAcl, made_before)
    else:
        vpc = require(tx, Vpc, params["VpcId"])
        acl = NetworkAcl(new_id("acl"), vpc.id, tags=tags_for(params, "network-acl"))
        tx.add(acl)
        remember(tx, "CreateNetworkAcl", params, acl.id)
    return {"NetworkAcl": view(acl, caller.account), **echoed(params)}


def describe(tx: Tx, caller: Caller, params: ec2.DescribeNetworkAclsRequest) -> ec2.DescribeNetworkAclsResult:
    shown = LISTING.describe(tx, params, lambda acl: view(acl, caller.account))
    return {"NetworkAcls": shown.items, **shown.next}


def delete(tx: Tx, _caller: Caller, params: ec2.DeleteNetworkAclRequest) -> Nothing:
    acl = require(tx, NetworkAcl, params["NetworkAclId"])
    if acl.is_default:
        raise invalid(f"cannot delete default network ACL {acl.id}")
    if acl.associations:
        raise ServiceError("DependencyViolation", f"The networkAcl '{acl.id}' has dependencies and cannot be deleted.")
    tx.remove(acl)
    return {}


def create_entry(tx: Tx, _caller: Caller, params: ec2.CreateNetworkAclEntryRequest) -> Nothing:
    acl = require(tx, NetworkAcl, params["NetworkAclId"])
    entry = _asked(params)
    if _known(acl, entry.number, egress=entry.egress) is not None:
        raise ServiceError(
            "NetworkAclEntryAlreadyExists", f"The network acl entry identified by {entry.number} already exists."
        )
    if sum(one.egress == entry.egress for one in acl.entries) >= MAX_ENTRIES - 1:
        raise ServiceError(
            "NetworkAclEntryLimitExceeded",
            f"The maximum number of network acl entries, {MAX_ENTRIES}, has been reached.",
        )
    tx.save(replace(acl, entries=(*acl.entries, entry)))
    return {}


def replace_entry(tx: Tx, _caller: Caller, params: ec2.ReplaceNetworkAclEntryRequest) -> Nothing:
    acl = require(tx, NetworkAcl, params["NetworkAclId"])
    entry = _asked(params)
    old = _required(acl, entry.number, egress=entry.egress)
    tx.save(replace(acl, entries=tuple(entry if one is old else one for one in acl.entries)))
    return {}


def delete_entry(tx: Tx, _caller: Caller, params: ec2.DeleteNetworkAclEntryRequest) -> Nothing:
    acl = require(tx, NetworkAcl, params["NetworkAclId"])
    old = _required(acl, _number(params["RuleNumber"]), egress=params["Egress"])
    tx.save(replace(acl, entries=tuple(one for one in acl.entries if one is not old)))
    return {}


def replace_association(
    tx: Tx, _caller: Caller, params: ec2.ReplaceNetworkAclAssociationRequest
) -> ec2.ReplaceNetworkAclAssociationResult:
    old, association = _by_association(tx, params["AssociationId"])
    if old is None or association is None:
        raise ServiceError(
            "InvalidAssociationID.NotFound", f"The association ID '{params['AssociationId']}' does not exist"
        )
    new = require(tx, NetworkAcl, params["NetworkAclId"])
    if new.vpc_id != old.vpc_id:
        raise invalid(f"Network ACL {new.id} and association {association.id} belong to different networks")
    tx.save(replace(old, associations=tuple(one for one in old.associations if one.id != association.id)))
    new = require(tx, NetworkAcl, new.id)
    made = AclAssociation(new_id("aclassoc"), association.subnet_id)
    tx.save(replace(new, associations=(*new.associations, made)))
    return {"NewAssociationId": made.id}


def check_replace(tx: Tx, caller: Caller, params: ec2.ReplaceNetworkAclAssociationRequest) -> Iterator[Check]:
    """An association is not a resource of its own: the check is on both ACLs and the subnet."""
    action = "ec2:ReplaceNetworkAclAssociation"
    acl, association = _by_association(tx, params["AssociationId"])
    if acl is not None and association is not None:
        yield on_row(tx, caller, action, NetworkAcl, acl.id)
        yield on_row(tx, caller, action, Subnet, association.subnet_id)
    yield from on(action, "NetworkAclId")(tx, caller, params)


def _by_association(tx: Tx, association_id: str) -> tuple[NetworkAcl | None, AclAssociation | None]:
    for acl in tx.find(NetworkAcl):
        for association in acl.associations:
            if association.id == association_id:
                return acl, association
    return None, None


def _in_order(acl: NetworkAcl) -> list[AclEntry]:
    """As they are evaluated, with the last one; what goes out first, as EC2 lists them."""
    last = (AclEntry(LAST, egress, ALL, -1, -1, allow=False, cidr="0.0.0.0/0") for egress in (True, False))
    return sorted((*acl.entries, *last), key=lambda one: (not one.egress, one.number))


def _entry_view(entry: AclEntry) -> ec2.NetworkAclEntry:
    shown: ec2.NetworkAclEntry = {
        "RuleNumber": entry.number,
        "Egress": entry.egress,
        "Protocol": NUMBERS.get(entry.protocol, entry.protocol),
        "RuleAction": "allow" if entry.allow else "deny",
    }
    if entry.cidr6:
        shown["Ipv6CidrBlock"] = entry.cidr6
    elif entry.cidr:
        shown["CidrBlock"] = entry.cidr
    if entry.protocol in ("tcp", "udp"):
        shown["PortRange"] = {"From": entry.from_port, "To": entry.to_port}
    if entry.protocol in ("icmp", "icmpv6"):
        shown["IcmpTypeCode"] = {"Type": entry.from_port, "Code": entry.to_port}
    return shown


def _asked(params: ec2.CreateNetworkAclEntryRequest | ec2.ReplaceNetworkAclEntryRequest) -> AclEntry:
    cidr, cidr6 = params.get("CidrBlock"), params.get("Ipv6CidrBlock")
    if cidr and cidr6:
        raise combination("The parameter cidrBlock cannot be used with the parameter ipv6CidrBlock")
    if not cidr and not cidr6:
        raise missing("cidrBlock")
    action = one_of(params["RuleAction"], "ruleAction", ("allow", "deny"))
    protocol, from_port, to_port = _traffic(params)
    return AclEntry(
        number=_number(params["RuleNumber"]),
        egress=params["Egress"],
        protocol=protocol,
        from_port=from_port,
        to_port=to_port,
        allow=action == "allow",
        cidr=str(block(cidr, "cidrBlock")) if cidr else None,
        cidr6=str(peer6(cidr6)) if cidr6 else None,
    )


def _traffic(params: ec2.CreateNetworkAclEntryRequest | ec2.ReplaceNetworkAclEntryRequest) -> tuple[str, int, int]:
    """Protocol and ports; for ICMP type and code; -1 means any."""
    given = params["Protocol"].lower()
    protocol = ALL if given == "all" else _NAMES.get(given, given)
    if protocol in ("tcp", "udp"):
        ports = params.get("PortRange") or {}
        low, high = ports.get("From"), ports.get("To")
        if low is None or high is None:
            raise missing("portRange.from and portRange.to")
        if not 0 <= low <= high <= 65535:
            raise invalid(f"Invalid port range ({low}:{high})")
        return protocol, low, high
    if protocol in ("icmp", "icmpv6"):
        kind = params.get("IcmpTypeCode") or {}
        number, code = kind.get("Type"), kind.get("Code")
        if number is None or code is None:
            raise missing("icmpTypeCode.type and icmpTypeCode.code")
        if not (-1 <= number <= 255 and -1 <= code <= 255) or (number == -1 and code != -1):
            raise invalid(f"Invalid value '{number}:{code}' for ICMP type and code.")
        return protocol, number, code
    if protocol == ALL:
        return protocol, -1, -1
    if not re.fullmatch("[0-9]{1,3}", protocol) or int(protocol) > 255:
        raise invalid(f"Invalid value '{params['Protocol']}' for IP protocol. Unknown protocol.")
    return str(int(protocol)), -1, -1


def _number(number: int) -> int:
    if not 1 <= number <= HIGHEST_NUMBER:
        raise invalid_value(number, "ruleNumber", f"It has to be between 1 and {HIGHEST_NUMBER}.")
    return number


def _known(acl: NetworkAcl, number: int, *, egress: bool) -> AclEntry | None:
    return next((one for one in acl.entries if (one.number, one.egress) == (number, egress)), None)


def _required(acl: NetworkAcl, number: int, *, egress: bool) -> AclEntry:
    found = _known(acl, number, egress=egress)
    if found is None:
        direction = "egress" if egress else "ingress"
        raise ServiceError(
            "InvalidNetworkAclEntry.NotFound",
            f"The {direction} network acl entry '{number}' of '{acl.id}' does not exist",
        )
    return found


_ACL_ENTRY = (
    "NetworkAclId RuleNumber Protocol RuleAction Egress CidrBlock Ipv6CidrBlock "
    "IcmpTypeCode.Type IcmpTypeCode.Code PortRange.From PortRange.To"
)


OPERATIONS = (
    makes("CreateNetworkAcl", create, "VpcId ClientToken TagSpecifications", "network-acl", "VpcId"),
    reads("DescribeNetworkAcls", describe, f"NetworkAclIds {PAGES}"),
    acts("DeleteNetworkAcl", delete, "NetworkAclId", "NetworkAclId"),
    acts("CreateNetworkAclEntry", create_entry, _ACL_ENTRY, "NetworkAclId"),
    acts("ReplaceNetworkAclEntry", replace_entry, _ACL_ENTRY, "NetworkAclId"),
    acts("DeleteNetworkAclEntry", delete_entry, "NetworkAclId RuleNumber Egress", "NetworkAclId"),
    writes("ReplaceNetworkAclAssociation", replace_association, "AssociationId NetworkAclId", check_replace),
)
