"""Ids and ARNs of EC2's resources: how they are made, checked and looked up."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from skylift.cloud.domain.dedicated_host import DedicatedHost
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.fleet import Fleet
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.instance import Image, Instance, KeyPair
from skylift.cloud.domain.launch_template import LaunchTemplate
from skylift.cloud.domain.network import (
    Address,
    DhcpOptions,
    InternetGateway,
    NatGateway,
    NetworkAcl,
    NetworkInterface,
    PrefixList,
    RouteTable,
    SecurityGroup,
    Subnet,
    Vpc,
)
from skylift.cloud.domain.peering import Peering
from skylift.cloud.domain.placement_group import PlacementGroup
from skylift.cloud.domain.reservation import ReservedInstances
from skylift.cloud.domain.spot import SpotRequest
from skylift.cloud.domain.volume import Snapshot, Volume
from skylift.cloud.domain.vpc_endpoint import VpcEndpoint
from skylift.cloud.store.database import Tx

T = TypeVar("T")


@dataclass(frozen=True)
class Kind:
    """One kind of resource. `type` is how tags and ARNs spell it, `called` how error messages do.

    `not_found` is the error of an id that is not there. EC2's own codes are not uniform: that of a malformed id is
    spelled `Id`, and `malformed` stands apart where it differs.
    """

    noun: type[Any]
    type: str
    prefix: str
    called: str
    not_found: str
    malformed: str = ""

    @property
    def malformed_error(self) -> str:
        return self.malformed or self.not_found.replace("ID.", "Id.").replace("NotFound", "Malformed")


KINDS = (
    Kind(Vpc, "vpc", "vpc", "vpc ID", "InvalidVpcID.NotFound"),
    Kind(Subnet, "subnet", "subnet", "subnet ID", "InvalidSubnetID.NotFound"),
    Kind(InternetGateway, "internet-gateway", "igw", "internetGateway ID", "InvalidInternetGatewayID.NotFound"),
    Kind(RouteTable, "route-table", "rtb", "routeTable ID", "InvalidRouteTableID.NotFound"),
    Kind(SecurityGroup, "security-group", "sg", "security group", "InvalidGroup.NotFound", "InvalidGroupId.Malformed"),
    Kind(NetworkInterface, "network-interface", "eni", "networkInterface ID", "InvalidNetworkInterfaceID.NotFound"),
    Kind(Instance, "instance", "i", "instance ID", "InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed"),
    Kind(Volume, "volume", "vol", "volume", "InvalidVolume.NotFound", "InvalidVolumeID.Malformed"),
    Kind(Snapshot, "snapshot", "snap", "snapshot", "InvalidSnapshot.NotFound", "InvalidSnapshotID.Malformed"),
    Kind(Image, "image", "ami", "image id", "InvalidAMIID.NotFound", "InvalidAMIID.Malformed"),
    Kind(LaunchTemplate, "launch-template", "lt", "launch template ID", "InvalidLaunchTemplateId.NotFound"),
    Kind(
        Address,
        "elastic-ip",
        "eipalloc",
        "allocation ID",
        "InvalidAllocationID.NotFound",
        "InvalidAllocationID.Malformed",
    ),
    Kind(NatGateway, "natgateway", "nat", "Nat Gateway", "NatGatewayNotFound"),
    Kind(NetworkAcl, "network-acl", "acl", "networkAcl ID", "InvalidNetworkAclID.NotFound"),
    Kind(
        DhcpOptions,
        "dhcp-options",
        "dopt",
        "dhcpOption ID",
        "InvalidDhcpOptionID.NotFound",
        "InvalidDhcpOptionsId.Malformed",
    ),
    Kind(PrefixList, "prefix-list", "pl", "prefix list ID", "InvalidPrefixListID.NotFound"),
    Kind(Peering, "vpc-peering-connection", "pcx", "vpcPeeringConnection ID", "InvalidVpcPeeringConnectionID.NotFound"),
    Kind(
        PlacementGroup,
        "placement-group",
        "pg",
        "placement group ID",
        "InvalidPlacementGroup.Unknown",
        "InvalidPlacementGroupId.Malformed",
    ),
    Kind(VpcEndpoint, "vpc-endpoint", "vpce", "Vpc Endpoint Id", "InvalidVpcEndpointId.NotFound"),
    Kind(Fleet, "fleet", "fleet", "fleet ID", "InvalidFleetId.NotFound"),
    Kind(
        SpotRequest,
        "spot-instances-request",
        "sir",
        "spot instance request ID",
        "InvalidSpotInstanceRequestID.NotFound",
        "InvalidSpotInstanceRequestID.Malformed",
    ),
    Kind(DedicatedHost, "dedicated-host", "h", "host ID", "InvalidHostID.NotFound", "InvalidHostID.Malformed"),
    Kind(
        ReservedInstances,
        "reserved-instances",
        "reserved-instances",
        "reservedInstances ID",
        "InvalidReservedInstancesId",
    ),
    Kind(KeyPair, "key-pair", "key", "key pair ID", "InvalidKeyPair.NotFound", "InvalidKeyPairId.Malformed"),
)

_BY_NOUN = {kind.noun: kind for kind in KINDS}
_BY_PREFIX = {kind.prefix: kind for kind in KINDS}

UUID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"

SECURITY_GROUP_RULE = "security-group-rule"
"""The only taggable type without rows of its own: its rows are part of their group."""


def kind_of(noun: type[Any]) -> Kind:
    return _BY_NOUN[noun]


def kind_of_id(resource_id: str) -> Kind | None:
    """The kind that an id claims to be of. Reserved instances have nothing but a UUID."""
    if re.fullmatch(UUID, resource_id):
        return kind_of(ReservedInstances)
    return _BY_PREFIX.get(resource_id.partition("-")[0])


def new_id(prefix: str) -> str:
    """17 hex digits, as EC2's long ids have."""
    return f"{prefix}-{secrets.token_hex(9)[:17]}"


def arn(caller: Caller, resource_type: str, name: str) -> str:
    """Images and snapshots have no account in their ARN."""
    account = "" if resource_type in ("image", "snapshot") else caller.account
    return f"arn:aws:ec2:{caller.region}:{account}:{resource_type}/{name}"


def well_formed(prefix: str, resource_id: str) -> bool:
    if prefix == "fleet":
        return re.fullmatch(f"fleet-{UUID}", resource_id) is not None
    if prefix == "reserved-instances":
        return re.fullmatch(UUID, resource_id) is not None
    return re.fullmatch(rf"{prefix}-([0-9a-f]{{8}}|[0-9a-f]{{17}})", resource_id) is not None


def require(tx: Tx, noun: type[T], resource_id: str) -> T:
    """The row with this id, or EC2's error for an id that is malformed or not there."""
    return require_all(tx, noun, [resource_id])[0]


def require_all(tx: Tx, noun: type[T], ids: Iterable[str], gone: Callable[[T], bool] = lambda _row: False) -> list[T]:
    """The rows with these ids, each once, in the order asked for. Rows that are `gone` count as missing."""
    wanted = list(dict.fromkeys(ids))
    kind = kind_of(noun)
    for resource_id in wanted:
        if not well_formed(kind.prefix, resource_id):
            raise ServiceError(kind.malformed_error, f'Invalid id: "{resource_id}" (expecting "{kind.prefix}-...")')
    found = {resource_id: tx.get(noun, id=resource_id) for resource_id in wanted}
    absent = [resource_id for resource_id, row in found.items() if row is None or gone(row)]
    if absent:
        raise ServiceError(kind.not_found, _not_there(kind, absent))
    return [row for row in found.values() if row is not None]


def _not_there(kind: Kind, ids: list[str]) -> str:
    if kind.noun is Image:
        return (
            f"The {kind.called}{'s' if len(ids) > 1 else ''} '[{', '.join(ids)}]' do{'' if ids[1:] else 'es'} not exist"
        )
    if kind.noun is LaunchTemplate and len(ids) == 1:
        # As on record in aws/karpenter-provider-aws#5665.
        return f"The specified launch template, with template ID {ids[0]}, does not exist."
    if len(ids) > 1:
        return f"The {kind.called}s '{', '.join(ids)}' do not exist"
    return f"The {kind.called} '{ids[0]}' does not exist"
