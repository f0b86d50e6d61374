"""The permissions that a caller needs, for most operations: which resources, and with which condition keys.

https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from skylift.cloud.domain import network
from skylift.cloud.domain.dedicated_host import DedicatedHost
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.instance import Image, Instance, KeyPair
from skylift.cloud.domain.peering import Peering
from skylift.cloud.domain.placement_group import PlacementGroup
from skylift.cloud.domain.spot import SpotRequest
from skylift.cloud.domain.volume import Snapshot, Volume
from skylift.cloud.domain.vpc_endpoint import VpcEndpoint
from skylift.cloud.services.api.condition_key import Context, of_change
from skylift.cloud.services.api.operation import Check, Checks, Params
from skylift.cloud.services.api.resource import SECURITY_GROUP_RULE, arn, kind_of, kind_of_id
from skylift.cloud.services.api.resource_key import row_of
from skylift.cloud.services.api.tag import RESERVED, checked
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import ec2


_NAMED_BY: dict[str, type[Any]] = {
    "VpcId": network.Vpc,
    "SubnetId": network.Subnet,
    "InternetGatewayId": network.InternetGateway,
    "GatewayId": network.InternetGateway,
    "RouteTableId": network.RouteTable,
    "RouteTableIds": network.RouteTable,
    "GroupId": network.SecurityGroup,
    "Groups": network.SecurityGroup,
    "InstanceId": Instance,
    "InstanceIds": Instance,
    "ImageId": Image,
    "SourceImageId": Image,
    "KeyPairId": KeyPair,
    "NetworkInterfaceId": network.NetworkInterface,
    "AllocationId": network.Address,
    "AllocationIds": network.Address,
    "SecondaryAllocationIds": network.Address,
    "DhcpOptionsId": network.DhcpOptions,
    "NatGatewayId": network.NatGateway,
    "NetworkAclId": network.NetworkAcl,
    "PrefixListId": network.PrefixList,
    "VpcEndpointId": VpcEndpoint,
    "VpcEndpointIds": VpcEndpoint,
    "VpcPeeringConnectionId": Peering,
    "VolumeId": Volume,
    "HostId": DedicatedHost,
    "HostIds": DedicatedHost,
    "SnapshotId": Snapshot,
    "SpotInstanceRequestIds": SpotRequest,
}


def on(action: str, *members: str) -> Checks:
    """Operations on resources that these parameters name by id. A change has the condition keys of what it sets."""
    changes = action.startswith(("ec2:Modify", "ec2:Reset"))

    def checks(tx: Tx, caller: Caller, params: Params) -> Iterator[Check]:
        more = of_change(params, *members) if changes else None
        for member in members:
            given = params.get(member)
            for resource_id in given if isinstance(given, list) else [given] if given else []:
                yield on_row(tx, caller, action, _NAMED_BY[member], resource_id, more=more)

    return checks


def creates(name: str, resource_type: str, *members: str) -> Checks:
    """An operation that makes one resource of a type, in or from those that the parameters name."""

    def checks(tx: Tx, caller: Caller, params: Params) -> Iterator[Check]:
        yield from making(caller, name, resource_type, params)
        yield from on(f"ec2:{name}", *members)(tx, caller, params)

    return checks


def making(
    caller: Caller,
    name: str,
    resource_type: str,
    params: Params,
    *,
    label: str = "*",
    more: Mapping[str, str | tuple[str, ...]] | None = None,
) -> Iterator[Check]:
    """The checks whether a resource may be made, and be tagged as it is made. `label` is its id in the ARN."""
    resource = arn(caller, resource_type, label)
    tags: list[ec2.Tag] = next(
        (
            specification.get("Tags", [])
            for specification in params.get("TagSpecifications", [])
            if specification.get("ResourceType") == resource_type
        ),
        [],
    )
    context: Context = {**(more or {}), **_request_tags(tags)}
    yield Check(f"ec2:{name}", resource, context)
    if tags:
        yield Check("ec2:CreateTags", resource, {**context, "ec2:CreateAction": name})


def on_row(
    tx: Tx,
    caller: Caller,
    action: str,
    noun: type[Any],
    resource_id: str,
    *,
    more: Mapping[str, str | tuple[str, ...]] | None = None,
) -> Check:
    """A check on the resource of this id. Some kinds have their name in the ARN."""
    row = tx.get(noun, id=resource_id) if noun in (KeyPair, PlacementGroup) else None
    return Check(action, arn(caller, kind_of(noun).type, row.name if row else resource_id), more)


def on_key(action: str) -> Checks:
    """Key pairs are named in ARNs, and in parameters either named or given by id."""

    def checks(tx: Tx, caller: Caller, params: Params) -> Iterator[Check]:
        if params.get("KeyPairId"):
            yield on_row(tx, caller, action, KeyPair, params["KeyPairId"])
        else:
            yield Check(action, arn(caller, "key-pair", params.get("KeyName", "*")))

    return checks


def makes_key(name: str) -> Checks:
    def checks(_tx: Tx, caller: Caller, params: Params) -> Iterator[Check]:
        # What type an imported key is of is not known before it has been read.
        more = {"ec2:KeyPairType": params.get("KeyType", "rsa")} if name == "CreateKeyPair" else None
        yield from making(caller, name, "key-pair", params, label=params.get("KeyName", "*"), more=more)

    return checks


def on_group(action: str) -> Checks:
    """A group given by id, or by its name in the default VPC."""

    def checks(tx: Tx, caller: Caller, params: Params) -> Iterator[Check]:
        group_id = params.get("GroupId")
        if not group_id and params.get("GroupName"):
            vpc = tx.get(network.Vpc, is_default=True)
            group = tx.get(network.SecurityGroup, vpc_id=vpc.id, name=params["GroupName"]) if vpc else None
            group_id = group.id if group else None
        yield on_row(tx, caller, action, network.SecurityGroup, group_id or "*")

    return checks


def adds_rules(name: str) -> Checks:
    """Rules may be tagged while they are made."""

    def checks(tx: Tx, caller: Caller, params: Params) -> Iterator[Check]:
        yield from on_group(f"ec2:{name}")(tx, caller, params)
        if params.get("TagSpecifications"):
            yield from making(caller, name, "security-group-rule", params)

    return checks


def on_association(action: str, *members: str) -> Checks:
    """An association is not a resource of its own: the check is on its route table and its subnet."""

    def checks(tx: Tx, caller: Caller, params: Params) -> Iterator[Check]:
        table, association = association_by_id(tx, params["AssociationId"])
        yield on_row(tx, caller, action, network.RouteTable, table.id if table else "*")
        if association and association.subnet_id:
            yield on_row(tx, caller, action, network.Subnet, association.subnet_id)
        if association and association.gateway_id:
            yield on_row(tx, caller, action, network.InternetGateway, association.gateway_id)
        yield from on(action, *members)(tx, caller, params)

    return checks


def association_by_id(tx: Tx, association_id: str) -> tuple[network.RouteTable | None, network.RouteAssociation | None]:
    found = (
        (table, one) for table in tx.find(network.RouteTable) for one in table.associations if one.id == association_id
    )
    return next(found, (None, None))


def tagging(action: str) -> Checks:
    """CreateTags and DeleteTags: every resource, with the tags that are asked for.

    DeleteTags without any takes all that a resource has, so that it is asked about each of them.
    """

    def checks(tx: Tx, caller: Caller, params: Params) -> Iterator[Check]:
        context = _request_tags(params.get("Tags") or [])
        whole = action == "ec2:DeleteTags" and not context
        for resource_id in params.get("Resources", []):
            kind = kind_of_id(resource_id)
            label = SECURITY_GROUP_RULE if resource_id.startswith("sgr-") else "*"
            resource = arn(caller, label, resource_id)
            if kind is not None:
                resource = on_row(tx, caller, action, kind.noun, resource_id).resource
            row = row_of(tx, caller, resource) if whole else None
            going = tuple(key for key in row.tags if not key.startswith(RESERVED)) if row is not None else ()
            yield Check(action, resource, {**context, "aws:TagKeys": going} if going else context)

    return checks


def _request_tags(pairs: list[ec2.Tag]) -> Context:
    # CreateTags takes a key twice; what makes something refuses it by itself.
    tags = checked(pairs, last_wins=True)
    context: Context = {f"aws:RequestTag/{key}": value for key, value in tags.items()}
    if tags:
        context["aws:TagKeys"] = tuple(tags)
    return context
