"""Elastic IPs: public addresses that the account keeps, whichever servers have them.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/elastic-ip-addresses-eip.html
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, NotRequired, TypedDict

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.instance import Instance
from skylift.cloud.domain.network import Address, InternetGateway, NetworkInterface, ReleasedAddress
from skylift.cloud.services.api.check import on_row
from skylift.cloud.services.api.ec2_operation import acts_on, makes, reads
from skylift.cloud.services.api.facts import gets_public_ip, retake_public_ip, take_public_ip
from skylift.cloud.services.api.filter import matching, same_named
from skylift.cloud.services.api.operation import Check, Checks, Nothing
from skylift.cloud.services.api.page import Limits, page
from skylift.cloud.services.api.refusal import combination, invalid, invalid_value, missing, refuse_other_values
from skylift.cloud.services.api.resource import new_id, require, require_all
from skylift.cloud.services.api.tag import tag_list, tags_for
from skylift.cloud.services.api.zone import MAX_ADDRESSES
from skylift.cloud.services.vpc.interface_attachment import only_one
from skylift.cloud.store.database import Tx
from skylift.cloud.store.network import elastic_ip

if TYPE_CHECKING:
    from aws_shapes import ec2

FILTERS = same_named(
    "allocation-id association-id domain instance-id network-border-group "
    "network-interface-id network-interface-owner-id private-ip-address public-ip"
)

NEUTRAL: dict[str, tuple[object, ...]] = {"Domain": ("vpc",), "PublicIpv4Pool": ("amazon",)}


def view(address: Address, caller: Caller, interface: NetworkInterface | None) -> ec2.Address:
    shown: ec2.Address = {
        "AllocationId": address.id,
        "PublicIp": address.public_ip,
        "Domain": "vpc",
        "PublicIpv4Pool": "amazon",
        "NetworkBorderGroup": caller.region,
        "Tags": tag_list(address.tags),
    }
    if interface is not None:
        shown |= {
            **({"AssociationId": address.association_id} if address.association_id else {}),
            "NetworkInterfaceId": interface.id,
            "NetworkInterfaceOwnerId": caller.account,
            **({"PrivateIpAddress": address.private_ip} if address.private_ip else {}),
        }
        if interface.instance_id:
            shown["InstanceId"] = interface.instance_id
    return shown


def allocate(tx: Tx, caller: Caller, params: ec2.AllocateAddressRequest) -> ec2.AllocateAddressResult:
    refuse_other_values(params, NEUTRAL)
    _refuse_other_group(caller, params)
    if len(tx.find(Address)) >= MAX_ADDRESSES:
        raise ServiceError("AddressLimitExceeded", "The maximum number of addresses has been reached.")
    public_ip = _again(tx, params["Address"]) if params.get("Address") else take_public_ip(tx)
    address = Address(new_id("eipalloc"), public_ip, tags=tags_for(params, "elastic-ip"))
    tx.add(address)
    shown = view(address, caller, None)
    return {
        "AllocationId": shown["AllocationId"],
        "PublicIp": shown["PublicIp"],
        "Domain": shown["Domain"],
        "PublicIpv4Pool": shown["PublicIpv4Pool"],
        "NetworkBorderGroup": shown["NetworkBorderGroup"],
    }


def release(tx: Tx, caller: Caller, params: ec2.ReleaseAddressRequest) -> Nothing:
    if not params.get("AllocationId"):
        if params.get("PublicIp"):
            raise invalid("You must specify an allocation id when releasing a VPC elastic IP address")
        raise missing("allocationId")
    if params.get("PublicIp"):
        raise combination("You may specify public IP or allocation id, but not both in the same call")
    _refuse_other_group(caller, params)
    address = require(tx, Address, params["AllocationId"])
    _refuse_nat(tx, address)
    if address.association_id:
        raise ServiceError("InvalidIPAddress.InUse", f"Address {address.public_ip} is in use.")
    tx.remove(address)
    tx.remove(ReleasedAddress(address.public_ip, tx.now))
    tx.add(ReleasedAddress(address.public_ip, tx.now))
    return {}


def describe(tx: Tx, caller: Caller, params: ec2.DescribeAddressesRequest) -> ec2.DescribeAddressesResult:
    rows = _chosen(tx, params)
    interfaces = {row.id: row for row in tx.find(NetworkInterface)}
    items = [view(row, caller, interfaces.get(row.interface_id or "")) for row in rows]
    return {"Addresses": matching(items, params.get("Filters"), FILTERS, tags="Tags")}


def describe_attribute(
    tx: Tx, _caller: Caller, params: ec2.DescribeAddressesAttributeRequest
) -> ec2.DescribeAddressesAttributeResult:
    """Addresses here are loopback addresses, which can have no reverse names: there are no PTR records."""
    if params.get("Attribute") != "domain-name":
        raise invalid_value(params.get("Attribute"), "attribute", "It has to be domain-name.")
    rows = require_all(tx, Address, params["AllocationIds"]) if params.get("AllocationIds") else tx.find(Address)
    items: list[ec2.AddressAttribute] = [{"AllocationId": row.id, "PublicIp": row.public_ip} for row in rows]
    shown = page(items, params, lambda item: item["AllocationId"], Limits(least=1))
    return {"Addresses": shown.items, **shown.next}


def associate(tx: Tx, _caller: Caller, params: ec2.AssociateAddressRequest) -> ec2.AssociateAddressResult:
    """What the interface had for an Elastic IP before stays allocated; an address of EC2's own goes back."""
    address = _asked(tx, params)
    interface = _interface(tx, params)
    wanted = params.get("PrivateIpAddress") or interface.private_ip
    if interface.at(wanted) is None:
        raise invalid(f"The private IP address {wanted} is not assigned to network interface {interface.id}")
    if address.association_id and (address.interface_id, address.private_ip) == (interface.id, wanted):
        return {"AssociationId": address.association_id}
    if address.association_id and not params.get("AllowReassociation", True):
        raise ServiceError(
            "Resource.AlreadyAssociated",
            f"resource {address.id} is already associated with associate-id {address.association_id}",
        )
    _refuse_nat(tx, address)
    if tx.get(InternetGateway, vpc_id=interface.vpc_id) is None:
        raise ServiceError("Gateway.NotAttached", f"Network {interface.vpc_id} is not attached to any internet gateway")
    _let_go(tx, address)
    before = elastic_ip(tx, interface.id, wanted)
    if before is not None:
        tx.save(before.free())
    # It may be the one that the address was taken from.
    current = require(tx, NetworkInterface, interface.id)
    association_id = join(tx, address, current, wanted).association_id
    assert association_id is not None
    return {"AssociationId": association_id}


def disassociate(tx: Tx, _caller: Caller, params: ec2.DisassociateAddressRequest) -> Nothing:
    address = _associated(tx, params)
    _refuse_nat(tx, address)
    _let_go(tx, address)
    return {}


def join(tx: Tx, address: Address, interface: NetworkInterface, private_ip: str) -> Address:
    """Tie a free address to one of an interface that has no other Elastic IP."""
    joined = replace(address, association_id=new_id("eipassoc"), interface_id=interface.id, private_ip=private_ip)
    tx.save(joined)
    tx.save(interface.translated(private_ip, address.public_ip))
    return joined


def on_address(action: str) -> Checks:
    """An address is named by its id, its association or itself. Where it is and where it will be counts, too: a server
    and its interface, whichever of the two is named."""

    def checks(tx: Tx, caller: Caller, params: _Named) -> Iterator[Check]:
        address = _named(tx, params)
        given = params.get("AllocationId")
        yield on_row(tx, caller, action, Address, address.id if address else given or "*")
        server, interface = params.get("InstanceId"), params.get("NetworkInterfaceId")
        there = tx.find(NetworkInterface, instance_id=server) if server else []
        there += tx.find(NetworkInterface, id=interface) if interface else []
        for instance_id in sorted(filter(None, {server, *(one.instance_id for one in there)})):
            yield on_row(tx, caller, action, Instance, instance_id)
        was_at = address.interface_id if address else None
        for interface_id in sorted(filter(None, {interface, was_at, *(one.id for one in there)})):
            yield on_row(tx, caller, action, NetworkInterface, interface_id)

    return checks


def _again(tx: Tx, public_ip: str) -> str:
    """An address that the account released, if it has not been allocated since."""
    released = tx.get(ReleasedAddress, public_ip=public_ip)
    if released is None:
        raise ServiceError("InvalidAddress.NotFound", f"The address '{public_ip}' was not this account's before.")
    if not retake_public_ip(tx, public_ip):
        raise ServiceError("AuthFailure", f"The address '{public_ip}' is in use again.", status=403)
    tx.remove(released)
    return public_ip


class _Named(TypedDict):
    """How requests name an address; each has some of these."""

    AllocationId: NotRequired[str]
    AssociationId: NotRequired[str]
    PublicIp: NotRequired[str]
    InstanceId: NotRequired[str]
    NetworkInterfaceId: NotRequired[str]


def _named(tx: Tx, params: _Named) -> Address | None:
    if params.get("AllocationId"):
        return tx.get(Address, id=params["AllocationId"])
    if params.get("AssociationId"):
        return tx.get(Address, association_id=params["AssociationId"])
    return tx.get(Address, public_ip=params["PublicIp"]) if params.get("PublicIp") else None


def _chosen(tx: Tx, params: ec2.DescribeAddressesRequest) -> list[Address]:
    ids, ips = params.get("AllocationIds") or [], params.get("PublicIps") or []
    if not ids and not ips:
        return tx.find(Address)
    rows = [*require_all(tx, Address, ids), *(_by_ip(tx, ip) for ip in ips)]
    return list({row.id: row for row in rows}.values())


def _by_ip(tx: Tx, public_ip: str) -> Address:
    found = tx.get(Address, public_ip=public_ip)
    if found is None:
        raise ServiceError("InvalidAddress.NotFound", f"Address '{public_ip}' not found.")
    return found


def _asked(tx: Tx, params: ec2.AssociateAddressRequest) -> Address:
    allocation, public_ip = params.get("AllocationId"), params.get("PublicIp")
    if allocation and public_ip:
        raise combination("You may specify public IP or allocation id, but not both in the same call")
    if allocation:
        return require(tx, Address, allocation)
    if public_ip:
        return _by_ip(tx, public_ip)
    raise missing("allocationId")


def _associated(tx: Tx, params: ec2.DisassociateAddressRequest) -> Address:
    association, public_ip = params.get("AssociationId"), params.get("PublicIp")
    if association and public_ip:
        raise combination("You may specify public IP or association id, but not both in the same call")
    if association:
        found = tx.get(Address, association_id=association)
        if found is None:
            raise ServiceError("InvalidAssociationID.NotFound", f"The association ID '{association}' does not exist")
        return found
    if not public_ip:
        raise missing("associationId")
    found = _by_ip(tx, public_ip)
    if not found.association_id:
        raise ServiceError(
            "InvalidAssociationID.NotFound", f"The address '{public_ip}' is not associated with anything"
        )
    return found


def _interface(tx: Tx, params: ec2.AssociateAddressRequest) -> NetworkInterface:
    instance_id, interface_id = params.get("InstanceId"), params.get("NetworkInterfaceId")
    if instance_id and interface_id:
        raise combination("You may specify an instance or a network interface, but not both in the same call")
    if interface_id:
        interface = require(tx, NetworkInterface, interface_id)
        if interface.kind != "interface":
            raise _not_permitted()
        return interface
    if not instance_id:
        raise missing("instanceId or networkInterfaceId")
    instance = require(tx, Instance, instance_id)
    mine = tx.find(NetworkInterface, instance_id=instance.id)
    if instance.state not in ("running", "stopping", "stopped") or not mine:
        raise ServiceError(
            "InvalidInstanceID",
            f"The {instance.state} instance '{instance.id}' is not in a valid state for this operation.",
        )
    return only_one(instance.id, mine)


def _let_go(tx: Tx, address: Address) -> None:
    """End an association. A running server that was launched with an address of EC2's own gets one again, unless it
    has got a second interface since."""
    if address.interface_id is None or address.private_ip is None:
        return
    interface = tx.get(NetworkInterface, id=address.interface_id)
    assert interface is not None
    tx.save(address.free())
    instance = tx.get(Instance, id=interface.instance_id) if interface.instance_id else None
    again = (
        address.private_ip == interface.private_ip
        and instance is not None
        and instance.state in ("pending", "running")
        and gets_public_ip(tx, interface)
    )
    tx.save(interface.translated(address.private_ip, take_public_ip(tx) if again else None))


def _refuse_nat(tx: Tx, address: Address) -> None:
    """Refuse the address of a NAT gateway: it can be had back only by deleting the gateway."""
    interface = tx.get(NetworkInterface, id=address.interface_id) if address.interface_id else None
    if interface is not None and interface.kind != "interface":
        raise _not_permitted()


def _not_permitted() -> ServiceError:
    return ServiceError("AuthFailure", "You do not have permission to access the specified resource.", status=403)


def _refuse_other_group(caller: Caller, params: ec2.AllocateAddressRequest | ec2.ReleaseAddressRequest) -> None:
    group = params.get("NetworkBorderGroup")
    if group and group != caller.region:
        raise invalid_value(group, "networkBorderGroup", f"This cloud has one, {caller.region}.")


OPERATIONS = (
    makes(
        "AllocateAddress", allocate, "Address NetworkBorderGroup TagSpecifications " + " ".join(NEUTRAL), "elastic-ip"
    ),
    acts_on(
        "AssociateAddress",
        associate,
        "AllocationId PublicIp InstanceId NetworkInterfaceId PrivateIpAddress AllowReassociation",
        on_address,
    ),
    acts_on("DisassociateAddress", disassociate, "AssociationId PublicIp", on_address),
    acts_on("ReleaseAddress", release, "AllocationId PublicIp NetworkBorderGroup", on_address),
    reads("DescribeAddresses", describe, "AllocationIds PublicIps Filters"),
    reads("DescribeAddressesAttribute", describe_attribute, "AllocationIds Attribute MaxResults NextToken"),
)
