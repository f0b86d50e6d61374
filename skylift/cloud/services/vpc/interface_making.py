"""Network interfaces that are made for themselves, and deleted.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/using-eni.html
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.network import NetworkInterface, PrivateAddress, SecurityGroup, Subnet
from skylift.cloud.services.api.check import making, on
from skylift.cloud.services.api.client_token import echoed, remember, result_of
from skylift.cloud.services.api.condition_key import of_zone
from skylift.cloud.services.api.ec2_operation import acts, writes
from skylift.cloud.services.api.operation import Check, Nothing
from skylift.cloud.services.api.refusal import invalid, refuse_other_values
from skylift.cloud.services.api.resource import arn, new_id, require, require_all
from skylift.cloud.services.api.tag import Tags, tags_for
from skylift.cloud.services.vpc.interface import new_mac, shown
from skylift.cloud.services.vpc.interface_group import groups_in_subnet
from skylift.cloud.services.vpc.private_address import AddressAllocator, listed_addresses, slots, too_few
from skylift.cloud.store.database import Tx
from skylift.cloud.store.network import remove_interface

if TYPE_CHECKING:
    from aws_shapes import ec2

NEUTRAL: dict[str, tuple[object, ...]] = {"InterfaceType": ("interface",), "Ipv6AddressCount": (0,)}


def create(tx: Tx, caller: Caller, params: ec2.CreateNetworkInterfaceRequest) -> ec2.CreateNetworkInterfaceResult:
    made_before = result_of(tx, "CreateNetworkInterface", params)
    if made_before:
        interface = require(tx, NetworkInterface, made_before)
    else:
        refuse_other_values(params, NEUTRAL)
        interface = _made(tx, caller, params)
        remember(tx, "CreateNetworkInterface", params, interface.id)
    return {"NetworkInterface": shown(tx, caller, interface), **echoed(params)}


def delete(tx: Tx, _caller: Caller, params: ec2.DeleteNetworkInterfaceRequest) -> Nothing:
    """Routes to it stay, and lead nowhere."""
    interface = require(tx, NetworkInterface, params["NetworkInterfaceId"])
    if interface.attachment_id:
        raise invalid(f"Network interface '{interface.id}' is currently in use.")
    remove_interface(tx, interface)
    return {}


def check_create(tx: Tx, caller: Caller, params: ec2.CreateNetworkInterfaceRequest) -> Iterator[Check]:
    """A new interface has the subnet, VPC and zone of its subnet as condition keys."""
    subnet = tx.get(Subnet, id=params["SubnetId"])
    place = (
        {
            "ec2:Subnet": arn(caller, "subnet", subnet.id),
            "ec2:Vpc": arn(caller, "vpc", subnet.vpc_id),
            **of_zone(subnet.zone),
        }
        if subnet
        else {}
    )
    yield from making(caller, "CreateNetworkInterface", "network-interface", params, more=place)
    yield from on("ec2:CreateNetworkInterface", "SubnetId", "Groups")(tx, caller, params)


def interface_of(
    tx: Tx,
    subnet: Subnet,
    group_ids: tuple[str, ...],
    addresses: tuple[str, ...],
    *,
    description: str = "",
    tags: Tags | None = None,
) -> NetworkInterface:
    """A new interface, not stored yet; the first of the addresses is its primary one."""
    primary, *others = addresses
    return NetworkInterface(
        id=new_id("eni"),
        vpc_id=subnet.vpc_id,
        subnet_id=subnet.id,
        mac=new_mac(),
        private_ip=primary,
        group_ids=group_ids,
        created=tx.now,
        delete_on_termination=False,
        description=description,
        tags=tags or {},
        secondary=tuple(PrivateAddress(address) for address in others),
    )


def _made(tx: Tx, caller: Caller, params: ec2.CreateNetworkInterfaceRequest) -> NetworkInterface:
    subnet = require(tx, Subnet, params["SubnetId"])
    groups = groups_in_subnet(tx, subnet, require_all(tx, SecurityGroup, params.get("Groups") or []))
    wanted = slots(
        params.get("PrivateIpAddress"),
        listed_addresses(params.get("PrivateIpAddresses")),
        params.get("SecondaryPrivateIpAddressCount"),
    )
    given = AddressAllocator(tx, (subnet, wanted)).allocate()
    if given is None:
        raise too_few(subnet)
    interface = interface_of(
        tx,
        subnet,
        groups,
        given[0],
        description=params.get("Description", ""),
        tags=tags_for(params, "network-interface"),
    )
    interface = replace(interface, requester=caller.user_id)
    tx.add(interface)
    return interface


OPERATIONS = (
    writes(
        "CreateNetworkInterface",
        create,
        "SubnetId Description Groups PrivateIpAddress PrivateIpAddresses SecondaryPrivateIpAddressCount ClientToken "
        "TagSpecifications " + " ".join(NEUTRAL),
        check_create,
    ),
    acts("DeleteNetworkInterface", delete, "NetworkInterfaceId", "NetworkInterfaceId"),
)
