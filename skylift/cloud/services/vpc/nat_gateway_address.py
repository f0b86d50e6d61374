"""Secondary addresses of NAT gateways: each gives a gateway more connections at a time to one place.

https://docs.aws.amazon.com/vpc/latest/userguide/nat-gateway-working-with.html#nat-gateway-edit-secondary
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Literal, TypedDict

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.network import Address, NatAddress, NatGateway, NetworkInterface, PrivateAddress, Subnet
from skylift.cloud.services.api.check import on, on_row
from skylift.cloud.services.api.ec2_operation import acts, writes
from skylift.cloud.services.api.operation import Check
from skylift.cloud.services.api.refusal import invalid, invalid_value, missing
from skylift.cloud.services.api.resource import require
from skylift.cloud.services.vpc.nat_gateway import free_elastic_ip, give_addresses, slots_for, tie, view_address
from skylift.cloud.services.vpc.private_address import Slots
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import ec2

DRAIN_SECONDS = 350
LONGEST_DRAIN = 4000


class _Named(TypedDict):
    NatGatewayId: str


class _Answer(TypedDict):
    """The answer of each of these operations."""

    NatGatewayId: str
    NatGatewayAddresses: list[ec2.NatGatewayAddress]


def associate(
    tx: Tx, _caller: Caller, params: ec2.AssociateNatGatewayAddressRequest
) -> ec2.AssociateNatGatewayAddressResult:
    gateway = _changeable(tx, params, "public")
    elastic = [free_elastic_ip(tx, one) for one in dict.fromkeys(params["AllocationIds"])]
    if not elastic:
        raise missing("AllocationIds")
    wanted = slots_for(
        "PrivateIpAddresses", params.get("PrivateIpAddresses") or [], "PrivateIpAddressCount", None, len(elastic)
    )
    private_ips = _grow(tx, gateway, wanted)
    pairs = zip(elastic, private_ips, strict=True)
    return {**_added(tx, gateway, [tie(tx, gateway.interface_id, address, at) for address, at in pairs])}


def assign(
    tx: Tx, _caller: Caller, params: ec2.AssignPrivateNatGatewayAddressRequest
) -> ec2.AssignPrivateNatGatewayAddressResult:
    gateway = _changeable(tx, params, "private")
    wanted = slots_for(
        "PrivateIpAddresses",
        params.get("PrivateIpAddresses") or [],
        "PrivateIpAddressCount",
        params.get("PrivateIpAddressCount"),
        None,
    )
    if not wanted:
        raise missing("PrivateIpAddresses or PrivateIpAddressCount")
    return {**_added(tx, gateway, [NatAddress(one) for one in _grow(tx, gateway, wanted)])}


def disassociate(
    tx: Tx, _caller: Caller, params: ec2.DisassociateNatGatewayAddressRequest
) -> ec2.DisassociateNatGatewayAddressResult:
    gateway = _changeable(tx, params, "public")
    known = {at.association_id: at for at in gateway.addresses}
    for asked in params["AssociationIds"]:
        if asked not in known:
            raise ServiceError("InvalidAssociationID.NotFound", f"The association ID '{asked}' does not exist")
    gone = {known[one].private_ip for one in params["AssociationIds"]}
    return {**_released(tx, gateway, params, gone)}


def unassign(
    tx: Tx, _caller: Caller, params: ec2.UnassignPrivateNatGatewayAddressRequest
) -> ec2.UnassignPrivateNatGatewayAddressResult:
    gateway = _changeable(tx, params, "private")
    known = {at.private_ip for at in gateway.addresses}
    for asked in params["PrivateIpAddresses"]:
        if asked not in known:
            raise invalid(f"The address {asked} is not assigned to the NAT gateway {gateway.id}")
    return {**_released(tx, gateway, params, set(params["PrivateIpAddresses"]))}


def check_disassociate(tx: Tx, caller: Caller, params: ec2.DisassociateNatGatewayAddressRequest) -> Iterator[Check]:
    """The gateway, each address that it loses, and its interface, which has them."""
    action = "ec2:DisassociateNatGatewayAddress"
    yield from on(action, "NatGatewayId")(tx, caller, params)
    gateway = tx.get(NatGateway, id=params["NatGatewayId"])
    for at in gateway.addresses if gateway else ():
        if at.allocation_id and at.association_id in params["AssociationIds"]:
            yield on_row(tx, caller, action, Address, at.allocation_id)
    if gateway:
        yield on_row(tx, caller, action, NetworkInterface, gateway.interface_id)


def _changeable(tx: Tx, params: _Named, connectivity: Literal["public", "private"]) -> NatGateway:
    """One that works, of the kind that has such addresses. While some are being given up, no others come or go."""
    gateway = require(tx, NatGateway, params["NatGatewayId"])
    if gateway.connectivity != connectivity:
        raise invalid(f"The NAT gateway {gateway.id} is {gateway.connectivity}; this is for {connectivity} ones.")
    draining = any(at.released for at in gateway.secondary)
    if gateway.state != "available" or draining:
        what = "connections of its addresses are being drained" if draining else f"it is {gateway.state}"
        raise ServiceError("IncorrectState", f"The NAT gateway {gateway.id} cannot be changed: {what}.")
    return gateway


def _grow(tx: Tx, gateway: NatGateway, wanted: Slots) -> tuple[str, ...]:
    """More private addresses for the gateway's interface."""
    interface = require(tx, NetworkInterface, gateway.interface_id)
    given = give_addresses(tx, require(tx, Subnet, gateway.subnet_id), wanted, len(gateway.addresses))
    more = tuple(PrivateAddress(one) for one in given)
    tx.save(replace(interface, secondary=(*interface.secondary, *more)))
    return given


def _added(tx: Tx, gateway: NatGateway, more: list[NatAddress]) -> _Answer:
    tx.save(replace(gateway, secondary=(*gateway.secondary, *more)))
    return _answer(gateway, more)


def _released(
    tx: Tx,
    gateway: NatGateway,
    params: ec2.DisassociateNatGatewayAddressRequest | ec2.UnassignPrivateNatGatewayAddressRequest,
    private_ips: set[str],
) -> _Answer:
    """They get no new connections from now on, and are free when those that there are have had their time."""
    if gateway.private_ip in private_ips:
        raise invalid(f"The primary address of the NAT gateway {gateway.id} cannot be taken from it.")
    seconds = params.get("MaxDrainDurationSeconds", DRAIN_SECONDS)
    if not 1 <= seconds <= LONGEST_DRAIN:
        raise invalid_value(seconds, "maxDrainDurationSeconds", f"It has to be between 1 and {LONGEST_DRAIN}.")
    until = tx.now + timedelta(seconds=seconds)
    changed = tuple(replace(at, released=until) if at.private_ip in private_ips else at for at in gateway.secondary)
    tx.save(replace(gateway, secondary=changed))
    return _answer(gateway, [at for at in changed if at.private_ip in private_ips])


def _answer(gateway: NatGateway, addresses: Iterable[NatAddress]) -> _Answer:
    """The addresses that the request names."""
    return {"NatGatewayId": gateway.id, "NatGatewayAddresses": [view_address(gateway, at) for at in addresses]}


OPERATIONS = (
    acts(
        "AssociateNatGatewayAddress",
        associate,
        "NatGatewayId AllocationIds PrivateIpAddresses",
        "NatGatewayId",
        "AllocationIds",
    ),
    writes(
        "DisassociateNatGatewayAddress",
        disassociate,
        "NatGatewayId AssociationIds MaxDrainDurationSeconds",
        check_disassociate,
    ),
    acts(
        "AssignPrivateNatGatewayAddress",
        assign,
        "NatGatewayId PrivateIpAddresses PrivateIpAddressCount",
        "NatGatewayId",
    ),
    acts(
        "UnassignPrivateNatGatewayAddress",
        unassign,
        "NatGatewayId PrivateIpAddresses MaxDrainDurationSeconds",
        "NatGatewayId",
    ),
)
