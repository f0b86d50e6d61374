"""Further address ranges of a VPC.

https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html#add-cidr-block-restrictions
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.network import CidrBlock, Route, RouteTable, Subnet, ToLocal, Vpc
from skylift.cloud.services.api.check import on_row
from skylift.cloud.services.api.ec2_operation import acts, writes
from skylift.cloud.services.api.operation import Check
from skylift.cloud.services.api.refusal import missing
from skylift.cloud.services.api.resource import new_id, require
from skylift.cloud.services.vpc.cidr import block, usable_for_vpc
from skylift.cloud.services.vpc.peering import refuse_peers_range
from skylift.cloud.services.vpc.vpc import cidr_view, primary_association
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import ec2

MAX_CIDRS = 5
"""The quota of IPv4 ranges in a VPC, with the first one."""


def associate(tx: Tx, _caller: Caller, params: ec2.AssociateVpcCidrBlockRequest) -> ec2.AssociateVpcCidrBlockResult:
    """Every route table gets a local route for it."""
    vpc = require(tx, Vpc, params["VpcId"])
    if not params.get("CidrBlock"):
        raise missing("cidrBlock")
    cidr = block(params["CidrBlock"], "cidrBlock")
    tables = tx.find(RouteTable, vpc_id=vpc.id)
    if not usable_for_vpc(cidr):
        raise ServiceError("InvalidVpc.Range", f"The CIDR '{params['CidrBlock']}' is invalid.")
    if any(cidr.overlaps(IPv4Network(other)) for other in vpc.cidrs):
        raise ServiceError("InvalidVpc.Range", f"The CIDR '{cidr}' overlaps a range that {vpc.id} has already.")
    refuse_peers_range(tx, vpc, cidr)
    for route in (route for table in tables for route in table.routes if route.target != ToLocal() and route.cidr):
        if IPv4Network(route.cidr).subnet_of(cidr):
            raise ServiceError(
                "InvalidVpc.Range", f"The CIDR '{cidr}' is the same as or larger than that of a route: {route.cidr}."
            )
    if len(vpc.cidrs) >= MAX_CIDRS:
        raise ServiceError(
            "CidrLimitExceeded", f"This network '{vpc.id}' has met its maximum number of allowed CIDRs: {MAX_CIDRS}"
        )
    made = CidrBlock(new_id("vpc-cidr-assoc"), str(cidr))
    tx.save(replace(vpc, more_cidrs=(*vpc.more_cidrs, made)))
    for table in tables:
        tx.save(replace(table, routes=(*table.routes, Route(made.cidr, ToLocal(), "CreateRouteTable"))))
    return {"VpcId": vpc.id, "CidrBlockAssociation": cidr_view(made, "associating")}


def disassociate(
    tx: Tx, _caller: Caller, params: ec2.DisassociateVpcCidrBlockRequest
) -> ec2.DisassociateVpcCidrBlockResult:
    vpc, gone = _association(tx, params["AssociationId"])
    if vpc is None:
        raise ServiceError(
            "InvalidVpcCidrBlockAssociationID.NotFound",
            f"The vpc CIDR block association ID '{params['AssociationId']}' does not exist",
        )
    if gone is None:
        raise ServiceError(
            "OperationNotPermitted",
            f"The vpc CIDR block with association ID {params['AssociationId']} may not be disassociated. "
            "It is the primary IPv4 CIDR block of the VPC",
        )
    network = IPv4Network(gone.cidr)
    if any(IPv4Network(subnet.cidr).subnet_of(network) for subnet in tx.find(Subnet, vpc_id=vpc.id)):
        raise ServiceError(
            "DependencyViolation", f"The vpc CIDR block {gone.cidr} has subnets and cannot be disassociated."
        )
    tx.save(replace(vpc, more_cidrs=tuple(one for one in vpc.more_cidrs if one != gone)))
    for table in tx.find(RouteTable, vpc_id=vpc.id):
        kept = tuple(route for route in table.routes if (route.cidr, route.origin) != (gone.cidr, "CreateRouteTable"))
        tx.save(replace(table, routes=kept))
    return {"VpcId": vpc.id, "CidrBlockAssociation": cidr_view(gone, "disassociating")}


def check_disassociate(tx: Tx, caller: Caller, params: ec2.DisassociateVpcCidrBlockRequest) -> Iterator[Check]:
    vpc, _ = _association(tx, params["AssociationId"])
    yield on_row(tx, caller, "ec2:DisassociateVpcCidrBlock", Vpc, vpc.id if vpc else "*")


def _association(tx: Tx, association_id: str) -> tuple[Vpc | None, CidrBlock | None]:
    """The VPC; and its range, unless the association is that of the first one."""
    for vpc in tx.find(Vpc):
        if primary_association(vpc) == association_id:
            return vpc, None
        for one in vpc.more_cidrs:
            if one.id == association_id:
                return vpc, one
    return None, None


OPERATIONS = (
    acts("AssociateVpcCidrBlock", associate, "VpcId CidrBlock", "VpcId"),
    writes("DisassociateVpcCidrBlock", disassociate, "AssociationId", check_disassociate),
)
