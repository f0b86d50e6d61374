"""NAT gateways: one public address through which servers without their own reach the internet.

https://docs.aws.amazon.com/vpc/latest/userguide/nat-gateway-basics.html
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from skylift.cloud.error import ServiceError
from skylift.cloud.identity import Caller
from skylift.cloud.network import Address, InternetGateway, NatGateway, NetworkInterface, Subnet
from skylift.cloud.services.address import join
from skylift.cloud.services.client_token import remember, result_of
from skylift.cloud.services.interface import new_mac
from skylift.cloud.services.listing import Listing
from skylift.cloud.services.refusal import missing, refuse_other_values
from skylift.cloud.services.resource import new_id, require
from skylift.cloud.services.subnet import free_addresses, wanted_address
from skylift.cloud.services.tag import tag_list, tags_for
from skylift.cloud.store.database import Tx

REMEMBERED = timedelta(hours=1)
"""How long a deleted gateway is still described."""

LISTING = Listing(
    NatGateway,
    ids="NatGatewayIds",
    member="NatGateways",
    key="NatGatewayId",
    filters={
        "nat-gateway-id": "NatGatewayId",
        "state": "State",
        "subnet-id": "SubnetId",
        "vpc-id": "VpcId",
    },
)

NEUTRAL: dict[str, tuple[Any, ...]] = {"AvailabilityMode": ("zonal",), "ConnectivityType": ("public",)}


def view(gateway: NatGateway) -> dict[str, Any]:
    address = {
        "AllocationId": gateway.allocation_id,
        "AssociationId": gateway.association_id,
        "IsPrimary": True,
        "NetworkInterfaceId": gateway.interface_id,
        "PrivateIp": gateway.private_ip,
        "PublicIp": gateway.public_ip,
        "Status": "associating" if gateway.state == "pending" else "succeeded",
    }
    return {
        "NatGatewayId": gateway.id,
        "VpcId": gateway.vpc_id,
        "SubnetId": gateway.subnet_id,
        "State": gateway.state,
        "CreateTime": gateway.created,
        "ConnectivityType": "public",
        "AvailabilityMode": "zonal",
        "NatGatewayAddresses": [address],
        **({"DeleteTime": gateway.deleted} if gateway.deleted else {}),
        "Tags": tag_list(gateway.tags),
    }


def create(tx: Tx, _caller: Caller, params: Any) -> dict[str, Any]:
    refuse_other_values(params, NEUTRAL)
    made_before = result_of(tx, "CreateNatGateway", params)
    gateway = tx.get(NatGateway, id=made_before) if made_before else None
    if gateway is None:
        gateway = _make(tx, params)
        remember(tx, "CreateNatGateway", params, gateway.id)
    answer: dict[str, Any] = {"NatGateway": view(gateway)}
    return answer | ({"ClientToken": params["ClientToken"]} if params.get("ClientToken") else {})


def describe(tx: Tx, _caller: Caller, params: Any) -> dict[str, Any]:
    """The model spells this one's parameter `Filter`."""
    asked = {**params, "Filters": params.get("Filter")}
    return LISTING.describe(tx, asked, view)


def delete(tx: Tx, _caller: Caller, params: Any) -> dict[str, Any]:
    """Its address and its place in the subnet are free once the kernel has let go of it; routes to it lead nowhere."""
    gateway = require(tx, NatGateway, params["NatGatewayId"])
    if gateway.state in ("pending", "available"):
        tx.save(replace(gateway, state="deleting", deleted=tx.now))
    return {"NatGatewayId": gateway.id}


def forget_deleted(tx: Tx) -> None:
    for gateway in tx.find(NatGateway, state="deleted"):
        if gateway.deleted is not None and gateway.deleted <= tx.now - REMEMBERED:
            tx.remove(gateway)


def _make(tx: Tx, params: Any) -> NatGateway:
    if not params.get("SubnetId"):
        raise missing("SubnetId")
    if not params.get("AllocationId"):
        raise missing("AllocationId")
    subnet = require(tx, Subnet, params["SubnetId"])
    address = require(tx, Address, params["AllocationId"])
    if address.association_id:
        raise ServiceError("Resource.AlreadyAssociated", f"Elastic IP address [{address.id}] is already associated")
    if tx.get(InternetGateway, vpc_id=subnet.vpc_id) is None:
        raise ServiceError("Gateway.NotAttached", f"Network {subnet.vpc_id} has no Internet gateway attached")
    gateway_id = new_id("nat")
    interface = NetworkInterface(
        id=new_id("eni"),
        vpc_id=subnet.vpc_id,
        subnet_id=subnet.id,
        mac=new_mac(),
        private_ip=_private_ip(tx, subnet, params.get("PrivateIpAddress")),
        group_ids=(),
        created=tx.now,
        attachment_id=new_id("ela-attach"),
        delete_on_termination=False,
        source_dest_check=False,
        description=f"Interface for NAT Gateway {gateway_id}",
        kind="nat_gateway",
        attachment="attached",
        attached=tx.now,
    )
    tx.add(interface)
    joined = join(tx, address, interface, interface.private_ip)
    assert joined.association_id is not None
    gateway = NatGateway(
        id=gateway_id,
        vpc_id=subnet.vpc_id,
        subnet_id=subnet.id,
        interface_id=interface.id,
        private_ip=interface.private_ip,
        public_ip=address.public_ip,
        allocation_id=address.id,
        association_id=joined.association_id,
        created=tx.now,
        tags=tags_for(params, "natgateway"),
    )
    tx.add(gateway)
    return gateway


def _private_ip(tx: Tx, subnet: Subnet, asked: str | None) -> str:
    if asked:
        return wanted_address(tx, subnet, asked)
    found = next(free_addresses(tx, subnet), None)
    if found is None:
        raise ServiceError(
            "InsufficientFreeAddressesInSubnet", f"There is no free address in subnet '{subnet.id}' for a NAT gateway."
        )
    return found
