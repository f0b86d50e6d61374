"""NAT gateways: public addresses through which servers without their own reach the internet, or private ones through
which they reach peered VPCs.

https://docs.aws.amazon.com/vpc/latest/userguide/nat-gateway-basics.html
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.network import (
    Address,
    InternetGateway,
    NatAddress,
    NatGateway,
    NetworkInterface,
    PrivateAddress,
    Subnet,
)
from skylift.cloud.services.api.client_token import echoed, remember, result_of
from skylift.cloud.services.api.ec2_operation import acts, makes, reads
from skylift.cloud.services.api.filter import same_named
from skylift.cloud.services.api.list_response import Listing
from skylift.cloud.services.api.refusal import combination, invalid, invalid_value, missing, refuse_other_values
from skylift.cloud.services.api.resource import new_id, require
from skylift.cloud.services.api.tag import tag_list, tags_for
from skylift.cloud.services.api.transition import in_transition
from skylift.cloud.services.vpc.address import join
from skylift.cloud.services.vpc.interface import new_mac
from skylift.cloud.services.vpc.private_address import AddressAllocator, Slots, too_few
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import ec2

REMEMBERED = timedelta(hours=1)
"""DescribeNatGateways shows a deleted gateway for this long."""

LISTING = Listing(
    NatGateway,
    ids="NatGatewayIds",
    key="NatGatewayId",
    filtered_by="Filter",
    filters=same_named("nat-gateway-id state subnet-id vpc-id"),
)

NEUTRAL: dict[str, tuple[object, ...]] = {"AvailabilityMode": ("zonal",), "ConnectivityType": ("public", "private")}

MOST_ADDRESSES = 8
"""The most addresses of a gateway, with its primary one."""


def view_address(gateway: NatGateway, address: NatAddress) -> ec2.NatGatewayAddress:
    coming, going = ("associating", "disassociating") if address.public_ip else ("assigning", "unassigning")
    return {
        **({"AllocationId": address.allocation_id} if address.allocation_id else {}),
        **({"AssociationId": address.association_id} if address.association_id else {}),
        "IsPrimary": address.private_ip == gateway.private_ip,
        "NetworkInterfaceId": gateway.interface_id,
        "PrivateIp": address.private_ip,
        **({"PublicIp": address.public_ip} if address.public_ip else {}),
        "Status": going if address.released else "succeeded" if address.settled else coming,
    }


def view(gateway: NatGateway) -> ec2.NatGateway:
    return {
        "NatGatewayId": gateway.id,
        "VpcId": gateway.vpc_id,
        "SubnetId": gateway.subnet_id,
        "State": gateway.state,
        "CreateTime": gateway.created,
        "ConnectivityType": gateway.connectivity,
        "AvailabilityMode": "zonal",
        "NatGatewayAddresses": [view_address(gateway, address) for address in gateway.addresses],
        **({"DeleteTime": gateway.deleted} if gateway.deleted else {}),
        "Tags": tag_list(gateway.tags),
    }


def create(tx: Tx, _caller: Caller, params: ec2.CreateNatGatewayRequest) -> ec2.CreateNatGatewayResult:
    refuse_other_values(params, NEUTRAL)
    made_before = result_of(tx, "CreateNatGateway", params)
    gateway = require(tx, NatGateway, made_before) if made_before else _make(tx, params)
    if not made_before:
        remember(tx, "CreateNatGateway", params, gateway.id)
    return {"NatGateway": view(gateway), **echoed(params)}


def describe(tx: Tx, _caller: Caller, params: ec2.DescribeNatGatewaysRequest) -> ec2.DescribeNatGatewaysResult:
    shown = LISTING.describe(tx, params, view)
    return {"NatGateways": shown.items, **shown.next}


def delete(tx: Tx, _caller: Caller, params: ec2.DeleteNatGatewayRequest) -> ec2.DeleteNatGatewayResult:
    """Delete a gateway. Its addresses are free once the kernel has removed it; routes to it become blackholes."""
    gateway = require(tx, NatGateway, params["NatGatewayId"])
    if gateway.state in ("pending", "available"):
        tx.save(replace(gateway, state="deleting", deleted=tx.now))
    return {"NatGatewayId": gateway.id}


def forget_deleted(tx: Tx) -> None:
    for gateway in tx.find(NatGateway, state="deleted"):
        if gateway.deleted is not None and gateway.deleted <= tx.now - REMEMBERED:
            tx.remove(gateway)


def slots_for(names: str, named: list[str], count: str, number: int | None, public: int | None) -> Slots:
    """The private addresses for secondary ones: those named, or a number of free ones.

    `names` and `count` are what the parameters are called that say so. A public gateway has one for each of its
    `public` addresses.
    """
    if named and number is not None:
        raise combination(f"The parameter {count} cannot be used with the parameter {names}")
    if public is not None:
        if number is not None:
            raise combination(f"The parameter {count} is for private NAT gateways only.")
        if named and len(named) != public:
            raise combination(f"{names} has to name one private address for each Elastic IP address.")
        return tuple(named) or (None,) * public
    if number is not None and not 1 <= number < MOST_ADDRESSES:
        raise invalid_value(number, count, f"A NAT gateway has at most {MOST_ADDRESSES} addresses.")
    return tuple(named) or (None,) * (number or 0)


def free_elastic_ip(tx: Tx, allocation_id: str) -> Address:
    address = require(tx, Address, allocation_id)
    if address.association_id:
        raise ServiceError("Resource.AlreadyAssociated", f"Elastic IP address [{address.id}] is already associated")
    return address


def give_addresses(tx: Tx, subnet: Subnet, wanted: Slots, have: int = 0) -> tuple[str, ...]:
    """Private addresses for a gateway that has so many already."""
    if have + len(wanted) > MOST_ADDRESSES:
        raise ServiceError(
            "NatGatewayAddressLimitExceeded", f"A NAT gateway can have at most {MOST_ADDRESSES} addresses."
        )
    given = AddressAllocator(tx, (subnet, wanted)).allocate()
    if given is None:
        raise too_few(subnet)
    return given[0]


def tie(tx: Tx, interface_id: str, address: Address, private_ip: str) -> NatAddress:
    """Have a gateway's interface seen at an Elastic IP, with one of its private addresses."""
    joined = join(tx, address, require(tx, NetworkInterface, interface_id), private_ip)
    return NatAddress(private_ip, address.public_ip, address.id, joined.association_id)


def _make(tx: Tx, params: ec2.CreateNatGatewayRequest) -> NatGateway:
    if not params.get("SubnetId"):
        raise missing("SubnetId")
    public = params.get("ConnectivityType", "public") == "public"
    allocations = _allocations(params, public=public)
    subnet = require(tx, Subnet, params["SubnetId"])
    elastic = [free_elastic_ip(tx, allocation) for allocation in allocations]
    if public and tx.get(InternetGateway, vpc_id=subnet.vpc_id) is None:
        raise ServiceError("Gateway.NotAttached", f"Network {subnet.vpc_id} has no Internet gateway attached")
    more = slots_for(
        "SecondaryPrivateIpAddresses",
        params.get("SecondaryPrivateIpAddresses") or [],
        "SecondaryPrivateIpAddressCount",
        params.get("SecondaryPrivateIpAddressCount"),
        len(elastic) - 1 if public else None,
    )
    private_ips = give_addresses(tx, subnet, (params.get("PrivateIpAddress"), *more))
    gateway_id = new_id("nat")
    interface = NetworkInterface(
        id=new_id("eni"),
        vpc_id=subnet.vpc_id,
        subnet_id=subnet.id,
        mac=new_mac(),
        private_ip=private_ips[0],
        group_ids=(),
        created=tx.now,
        attachment_id=new_id("ela-attach"),
        delete_on_termination=False,
        source_dest_check=False,
        description=f"Interface for NAT Gateway {gateway_id}",
        kind="nat_gateway",
        secondary=tuple(PrivateAddress(one) for one in private_ips[1:]),
        attachment="attached",
        attached=tx.now,
    )
    tx.add(interface)
    if public:
        addresses = [tie(tx, interface.id, *pair) for pair in zip(elastic, private_ips, strict=True)]
    else:
        addresses = [NatAddress(one) for one in private_ips]
    gateway = NatGateway(
        id=gateway_id,
        vpc_id=subnet.vpc_id,
        subnet_id=subnet.id,
        interface_id=interface.id,
        private_ip=interface.private_ip,
        public_ip=addresses[0].public_ip,
        allocation_id=addresses[0].allocation_id,
        association_id=addresses[0].association_id,
        created=tx.now,
        tags=tags_for(params, "natgateway"),
        connectivity="public" if public else "private",
        secondary=tuple(addresses[1:]),
    )
    tx.add(gateway)
    return gateway


def _allocations(params: ec2.CreateNatGatewayRequest, *, public: bool) -> list[str]:
    """The Elastic IPs of a public gateway, its primary one first."""
    first, more = params.get("AllocationId"), params.get("SecondaryAllocationIds") or []
    if not public:
        if first or more:
            raise combination("A private NAT gateway has no Elastic IP address: AllocationId is for public ones.")
        return []
    if not first:
        raise missing("AllocationId")
    if len({first, *more}) != 1 + len(more):
        raise invalid("Each Elastic IP address can be given to a NAT gateway once only.")
    return [first, *more]


OPERATIONS = (
    makes(
        "CreateNatGateway",
        create,
        "SubnetId AllocationId PrivateIpAddress SecondaryAllocationIds SecondaryPrivateIpAddresses "
        "SecondaryPrivateIpAddressCount ClientToken TagSpecifications " + " ".join(NEUTRAL),
        "natgateway",
        "SubnetId",
        "AllocationId",
        "SecondaryAllocationIds",
    ),
    reads(
        "DescribeNatGateways",
        describe,
        "NatGatewayIds Filter MaxResults NextToken",
        unsettled=in_transition("NatGatewayIds", ("NatGateways.State", "pending", "deleting")),
    ),
    acts("DeleteNatGateway", delete, "NatGatewayId", "NatGatewayId"),
)
