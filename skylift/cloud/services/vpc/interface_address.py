"""Secondary private addresses of network interfaces.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-secondary-ip-addresses.html
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.instance import Instance
from skylift.cloud.domain.network import NetworkInterface, PrivateAddress, Subnet
from skylift.cloud.services.api.ec2_operation import acts
from skylift.cloud.services.api.instance_type import instance_type
from skylift.cloud.services.api.operation import Nothing
from skylift.cloud.services.api.refusal import combination, invalid, invalid_value, missing
from skylift.cloud.services.api.resource import require
from skylift.cloud.services.vpc.interface_attachment import refuse_beyond
from skylift.cloud.services.vpc.interface_attribute import own_interface
from skylift.cloud.services.vpc.private_address import MOST, AddressAllocator, Slots, too_few
from skylift.cloud.store.database import Tx
from skylift.cloud.store.network import elastic_ip, interface_at

if TYPE_CHECKING:
    from aws_shapes import ec2


def assign(tx: Tx, _caller: Caller, params: ec2.AssignPrivateIpAddressesRequest) -> ec2.AssignPrivateIpAddressesResult:
    """Those named that it has already stay; one of another interface moves with `AllowReassignment` only."""
    interface = own_interface(tx, params["NetworkInterfaceId"])
    named, count = params.get("PrivateIpAddresses") or [], params.get("SecondaryPrivateIpAddressCount")
    if named and count:
        raise combination(
            "The parameter secondaryPrivateIpAddressCount cannot be used with the parameter privateIpAddresses"
        )
    if not named and not count:
        raise missing("privateIpAddresses or secondaryPrivateIpAddressCount")
    if count and not 1 <= count < MOST:
        raise invalid_value(count, "secondaryPrivateIpAddressCount", f"It has to be between 1 and {MOST - 1}.")
    wanted: Slots = tuple(dict.fromkeys(named)) or (None,) * (count or 0)
    if params.get("AllowReassignment"):
        for address in filter(None, wanted):
            _move(tx, address, interface)
        interface = require(tx, NetworkInterface, interface.id)
    free = _given(tx, interface, tuple(one for one in wanted if one is None or interface.at(one) is None))
    grown = replace(interface, secondary=(*interface.secondary, *(PrivateAddress(address) for address in free)))
    if grown.instance_id:
        kind = instance_type(require(tx, Instance, grown.instance_id).type)
        refuse_beyond(kind, 0, len(grown.addresses))
    _save(tx, grown)
    return {
        "NetworkInterfaceId": interface.id,
        "AssignedPrivateIpAddresses": [{"PrivateIpAddress": address} for address in named or free],
        "AssignedIpv4Prefixes": [],
    }


def unassign(tx: Tx, _caller: Caller, params: ec2.UnassignPrivateIpAddressesRequest) -> Nothing:
    """An Elastic IP that one of them had is associated with nothing after that."""
    interface = own_interface(tx, params["NetworkInterfaceId"])
    gone = params.get("PrivateIpAddresses") or []
    if not gone:
        raise missing("privateIpAddresses")
    if interface.private_ip in gone:
        raise invalid(f"The primary private IP address {interface.private_ip} of {interface.id} cannot be unassigned.")
    absent = [address for address in gone if interface.at(address) is None]
    if absent:
        raise invalid(f"Some of [{', '.join(absent)}] are not assigned to interface {interface.id}")
    for address in gone:
        associated = elastic_ip(tx, interface.id, address)
        if associated is not None:
            tx.save(associated.free())
    _save(tx, _without(interface, *gone))
    return {}


def _move(tx: Tx, address: str, target: NetworkInterface) -> None:
    """Take a secondary address from another interface of the subnet, with the Elastic IP that it has."""
    source = interface_at(tx, target.vpc_id, address)
    if source is None or source.id == target.id or source.subnet_id != target.subnet_id:
        return
    if source.private_ip == address:
        raise ServiceError("InvalidIPAddress.InUse", f"Address {address} is the primary address of {source.id}.")
    moved = source.at(address)
    assert moved is not None
    _save(tx, _without(source, address))
    current = require(tx, NetworkInterface, target.id)
    _save(tx, replace(current, secondary=(*current.secondary, moved)))
    associated = elastic_ip(tx, source.id, address)
    if associated is not None:
        tx.save(replace(associated, interface_id=target.id))


def _given(tx: Tx, interface: NetworkInterface, wanted: Slots) -> tuple[str, ...]:
    subnet = require(tx, Subnet, interface.subnet_id)
    given = AddressAllocator(tx, (subnet, wanted)).allocate()
    if given is None:
        raise too_few(subnet)
    return given[0]


def _without(interface: NetworkInterface, *addresses: str) -> NetworkInterface:
    kept = tuple(one for one in interface.secondary if one.private_ip not in addresses)
    return replace(interface, secondary=kept)


def _save(tx: Tx, interface: NetworkInterface) -> None:
    """A server that is on, or about to be, has its addresses set by the loops."""
    instance = tx.get(Instance, id=interface.instance_id) if interface.instance_id else None
    tell = interface.attachment == "attached" and instance is not None and instance.state != "stopped"
    tx.save(replace(interface, attachment="changing") if tell else interface)


OPERATIONS = (
    acts(
        "AssignPrivateIpAddresses",
        assign,
        "NetworkInterfaceId PrivateIpAddresses SecondaryPrivateIpAddressCount AllowReassignment",
        "NetworkInterfaceId",
    ),
    acts("UnassignPrivateIpAddresses", unassign, "NetworkInterfaceId PrivateIpAddresses", "NetworkInterfaceId"),
)
