"""VPC peering connections: asked for, accepted, described and ended.

Both VPCs are this account's and in this region, as all of this cloud is. Rules may name security groups of the peer;
its DNS names stay its own.
https://docs.aws.amazon.com/vpc/latest/peering/vpc-peering-basics.html
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.network import Vpc
from skylift.cloud.domain.peering import JOINED, Peering, State
from skylift.cloud.services.api.check import making, on_row
from skylift.cloud.services.api.ec2_operation import PAGES, acts, reads, writes
from skylift.cloud.services.api.filter import same_named
from skylift.cloud.services.api.list_response import Listing
from skylift.cloud.services.api.operation import Check
from skylift.cloud.services.api.page import Limits
from skylift.cloud.services.api.refusal import invalid, invalid_value, missing
from skylift.cloud.services.api.resource import arn, new_id, require
from skylift.cloud.services.api.tag import tag_list, tags_for
from skylift.cloud.services.api.transition import in_transition
from skylift.cloud.store.database import Tx
from skylift.cloud.store.network import of_vpc

if TYPE_CHECKING:
    from aws_shapes import ec2

OPEN_FOR = timedelta(days=7)
"""A request can be accepted for this long."""
REMEMBERED = timedelta(hours=2)
"""A connection that has ended is described for this long."""

MESSAGES: dict[State, str] = {
    "pending-acceptance": "Pending Acceptance by {account}",
    "provisioning": "Provisioning",
    "active": "Active",
    "deleting": "Deleting",
    "deleted": "Deleted by {account}",
    "rejected": "Rejected by {account}",
    "failed": "Failed due to incorrect VPC-ID, Account ID, or overlapping CIDR range",
    "expired": "Expired",
}

_ENDS = {"requester": "RequesterVpcInfo", "accepter": "AccepterVpcInfo"}

LISTING = Listing(
    Peering,
    ids="VpcPeeringConnectionIds",
    key="VpcPeeringConnectionId",
    limits=Limits(),
    filters={
        **{
            f"{end}-vpc-info.{name}": f"{member}.{path}"
            for end, member in _ENDS.items()
            for name, path in (("cidr-block", "CidrBlockSet.CidrBlock"), ("owner-id", "OwnerId"), ("vpc-id", "VpcId"))
        },
        **same_named("expiration-time vpc-peering-connection-id"),
        "status-code": "Status.Code",
        "status-message": "Status.Message",
    },
)


def create(
    tx: Tx, caller: Caller, params: ec2.CreateVpcPeeringConnectionRequest
) -> ec2.CreateVpcPeeringConnectionResult:
    """Two VPCs whose ranges overlap get a connection, too: one that has failed."""
    _refuse_elsewhere(caller, params)
    if not params.get("PeerVpcId"):
        raise missing("peerVpcId")
    requester, accepter = require(tx, Vpc, params["VpcId"]), require(tx, Vpc, params["PeerVpcId"])
    if requester.id == accepter.id:
        raise invalid(f"The VPC {requester.id} cannot be peered with itself.")
    for known in of_vpc(tx, requester.id):
        if known.other(requester.id) == accepter.id and known.state in (*JOINED, "pending-acceptance"):
            raise ServiceError(
                "VpcPeeringConnectionAlreadyExists",
                f"A VPC peering connection between {requester.id} and {accepter.id} already exists: {known.id}",
            )
    overlap = _overlap(requester, accepter)
    made = Peering(
        id=new_id("pcx"),
        requester_vpc_id=requester.id,
        requester_cidrs=requester.cidrs,
        accepter_vpc_id=accepter.id,
        accepter_cidrs=accepter.cidrs,
        created=tx.now,
        state="failed" if overlap else "pending-acceptance",
        ended=tx.now if overlap else None,
        tags=tags_for(params, "vpc-peering-connection"),
    )
    tx.add(made)
    return {"VpcPeeringConnection": view(made, caller)}


def accept(
    tx: Tx, caller: Caller, params: ec2.AcceptVpcPeeringConnectionRequest
) -> ec2.AcceptVpcPeeringConnectionResult:
    """Active once the kernel has it. The ranges of both VPCs may have grown since the request."""
    found = _named(tx, params)
    _refuse_unless(found, "accepted", "pending-acceptance")
    requester, accepter = require(tx, Vpc, found.requester_vpc_id), require(tx, Vpc, found.accepter_vpc_id)
    changed = replace(found, requester_cidrs=requester.cidrs, accepter_cidrs=accepter.cidrs, state="provisioning")
    if _overlap(requester, accepter):
        changed = replace(changed, state="failed", ended=tx.now)
    tx.save(changed)
    return {"VpcPeeringConnection": view(changed, caller)}


def reject(
    tx: Tx, _caller: Caller, params: ec2.RejectVpcPeeringConnectionRequest
) -> ec2.RejectVpcPeeringConnectionResult:
    found = _named(tx, params)
    _refuse_unless(found, "rejected", "pending-acceptance")
    tx.save(replace(found, state="rejected", ended=tx.now))
    return {"Return": True}


def delete(
    tx: Tx, _caller: Caller, params: ec2.DeleteVpcPeeringConnectionRequest
) -> ec2.DeleteVpcPeeringConnectionResult:
    """Routes to it lead nowhere from then on."""
    found = _named(tx, params)
    if found.state in ("deleting", "deleted"):
        return {"Return": True}
    _refuse_unless(found, "deleted", "pending-acceptance", *JOINED)
    tx.save(ended(tx, found))
    return {"Return": True}


def describe(
    tx: Tx, caller: Caller, params: ec2.DescribeVpcPeeringConnectionsRequest
) -> ec2.DescribeVpcPeeringConnectionsResult:
    shown = LISTING.describe(tx, params, lambda one: view(one, caller))
    return {"VpcPeeringConnections": shown.items, **shown.next}


def forget_ended(tx: Tx) -> None:
    """Expires requests that were not accepted, and drops ended connections after a while."""
    for one in tx.find(Peering, state="pending-acceptance"):
        if one.created + OPEN_FOR <= tx.now:
            tx.save(replace(one, state="expired", ended=tx.now))
    for state in ("deleted", "rejected", "failed", "expired"):
        for one in tx.find(Peering, state=state):
            if one.ended is not None and one.ended + REMEMBERED <= tx.now:
                tx.remove(one)


def ended(tx: Tx, found: Peering) -> Peering:
    """The same connection on its way out: the kernel has to let go of one that packets pass."""
    return replace(found, state="deleting" if found.state in JOINED else "deleted", ended=tx.now)


def refuse_peers_range(tx: Tx, vpc: Vpc, cidr: IPv4Network) -> None:
    """A further range of a VPC must not overlap with one of a peer's."""
    for one in of_vpc(tx, vpc.id):
        peer = tx.get(Vpc, id=one.other(vpc.id)) if one.state in JOINED else None
        if peer and any(cidr.overlaps(IPv4Network(other)) for other in peer.cidrs):
            raise ServiceError("InvalidVpc.Range", f"The CIDR '{cidr}' overlaps a range of {peer.id}, its peer.")


def view(found: Peering, caller: Caller) -> ec2.VpcPeeringConnection:
    return {
        "VpcPeeringConnectionId": found.id,
        "RequesterVpcInfo": _end(found.requester_vpc_id, found.requester_cidrs, caller),
        "AccepterVpcInfo": _end(found.accepter_vpc_id, found.accepter_cidrs, caller),
        "Status": {"Code": found.state, "Message": MESSAGES[found.state].format(account=caller.account)},
        "Tags": tag_list(found.tags),
        **({"ExpirationTime": found.created + OPEN_FOR} if found.state in ("pending-acceptance", "expired") else {}),
    }


def check_create(tx: Tx, caller: Caller, params: ec2.CreateVpcPeeringConnectionRequest) -> Iterator[Check]:
    action = "ec2:CreateVpcPeeringConnection"
    ends = {"ec2:RequesterVpc": params.get("VpcId") or "*", "ec2:AccepterVpc": params.get("PeerVpcId") or "*"}
    more = {key: arn(caller, "vpc", vpc_id) for key, vpc_id in ends.items()}
    yield from making(caller, "CreateVpcPeeringConnection", "vpc-peering-connection", params, more=more)
    yield on_row(tx, caller, action, Vpc, params.get("VpcId") or "*")


def check_accept(tx: Tx, caller: Caller, params: ec2.AcceptVpcPeeringConnectionRequest) -> Iterator[Check]:
    """The connection, and the VPC that is opened to the other."""
    action, peering_id = "ec2:AcceptVpcPeeringConnection", params.get("VpcPeeringConnectionId") or "*"
    yield on_row(tx, caller, action, Peering, peering_id)
    found = tx.get(Peering, id=peering_id)
    yield on_row(tx, caller, action, Vpc, found.accepter_vpc_id if found else "*")


def _named(
    tx: Tx,
    params: ec2.AcceptVpcPeeringConnectionRequest
    | ec2.DeleteVpcPeeringConnectionRequest
    | ec2.RejectVpcPeeringConnectionRequest,
) -> Peering:
    if not params.get("VpcPeeringConnectionId"):
        raise missing("vpcPeeringConnectionId")
    return require(tx, Peering, params["VpcPeeringConnectionId"])


def _refuse_unless(found: Peering, what: str, *states: State) -> None:
    if found.state not in states:
        raise ServiceError(
            "InvalidStateTransition",
            f"The VPC peering connection {found.id} cannot be {what}: it is in the {found.state} state.",
        )


def _refuse_elsewhere(caller: Caller, params: ec2.CreateVpcPeeringConnectionRequest) -> None:
    owner, region = params.get("PeerOwnerId"), params.get("PeerRegion")
    if owner and owner != caller.account:
        raise invalid_value(owner, "peerOwnerId", f"This cloud has one account, {caller.account}.")
    if region and region != caller.region:
        raise invalid_value(region, "peerRegion", f"This cloud has one region, {caller.region}.")


def _overlap(one: Vpc, other: Vpc) -> bool:
    return any(IPv4Network(mine).overlaps(IPv4Network(theirs)) for mine in one.cidrs for theirs in other.cidrs)


def _end(vpc_id: str, cidrs: tuple[str, ...], caller: Caller) -> ec2.VpcPeeringConnectionVpcInfo:
    return {
        "VpcId": vpc_id,
        "OwnerId": caller.account,
        "Region": caller.region,
        "CidrBlock": cidrs[0],
        "CidrBlockSet": [{"CidrBlock": cidr} for cidr in cidrs],
        "PeeringOptions": {
            "AllowDnsResolutionFromRemoteVpc": False,
            "AllowEgressFromLocalClassicLinkToRemoteVpc": False,
            "AllowEgressFromLocalVpcToRemoteClassicLink": False,
        },
    }


OPERATIONS = (
    writes(
        "CreateVpcPeeringConnection", create, "VpcId PeerVpcId PeerOwnerId PeerRegion TagSpecifications", check_create
    ),
    writes("AcceptVpcPeeringConnection", accept, "VpcPeeringConnectionId", check_accept),
    acts("RejectVpcPeeringConnection", reject, "VpcPeeringConnectionId", "VpcPeeringConnectionId"),
    acts("DeleteVpcPeeringConnection", delete, "VpcPeeringConnectionId", "VpcPeeringConnectionId"),
    reads(
        "DescribeVpcPeeringConnections",
        describe,
        f"VpcPeeringConnectionIds {PAGES}",
        unsettled=in_transition(
            "VpcPeeringConnectionIds",
            ("VpcPeeringConnections.Status.Code", "initiating-request", "provisioning", "deleting"),
        ),
    ),
)
