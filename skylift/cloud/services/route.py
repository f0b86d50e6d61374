"""Route tables, their routes, and their associations with subnets."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network
from typing import Any

from skylift.cloud.error import ServiceError
from skylift.cloud.identity import Caller
from skylift.cloud.network import InternetGateway, NatGateway, Route, RouteAssociation, RouteTable, Subnet, Vpc
from skylift.cloud.services.check import association_by_id
from skylift.cloud.services.cidr import block
from skylift.cloud.services.client_token import remember, result_of
from skylift.cloud.services.listing import Listing
from skylift.cloud.services.page import Limits
from skylift.cloud.services.refusal import combination, invalid, missing
from skylift.cloud.services.resource import new_id, require
from skylift.cloud.services.tag import tag_list, tags_for
from skylift.cloud.store.database import Tx

LISTING = Listing(
    RouteTable,
    ids="RouteTableIds",
    member="RouteTables",
    key="RouteTableId",
    limits=Limits(most=100),
    filters={
        "association.gateway-id": "Associations.GatewayId",
        "association.main": "Associations.Main",
        "association.route-table-association-id": "Associations.RouteTableAssociationId",
        "association.route-table-id": "Associations.RouteTableId",
        "association.subnet-id": "Associations.SubnetId",
        "owner-id": "OwnerId",
        "route-table-id": "RouteTableId",
        "route.destination-cidr-block": "Routes.DestinationCidrBlock",
        "route.destination-ipv6-cidr-block": "Routes.DestinationIpv6CidrBlock",
        "route.destination-prefix-list-id": "Routes.DestinationPrefixListId",
        "route.egress-only-internet-gateway-id": "Routes.EgressOnlyInternetGatewayId",
        "route.gateway-id": "Routes.GatewayId",
        "route.instance-id": "Routes.InstanceId",
        "route.nat-gateway-id": "Routes.NatGatewayId",
        "route.origin": "Routes.Origin",
        "route.state": "Routes.State",
        "route.transit-gateway-id": "Routes.TransitGatewayId",
        "route.vpc-peering-connection-id": "Routes.VpcPeeringConnectionId",
        "vpc-id": "VpcId",
    },
)

ASSOCIATED = {"State": "associated"}


def view(table: RouteTable, owner: str, gateways: dict[str, str | None]) -> dict[str, Any]:
    """`gateways` maps every gateway that works to the VPC it is in; a route to another leads nowhere."""
    return {
        "RouteTableId": table.id,
        "VpcId": table.vpc_id,
        "OwnerId": owner,
        "Routes": [
            {
                "DestinationCidrBlock": route.cidr,
                ("NatGatewayId" if route.target.startswith("nat-") else "GatewayId"): route.target,
                "Origin": route.origin,
                "State": (
                    "active" if route.target == "local" or gateways.get(route.target) == table.vpc_id else "blackhole"
                ),
            }
            for route in table.routes
        ],
        "Associations": [
            {
                "RouteTableAssociationId": association.id,
                "RouteTableId": table.id,
                "Main": association.subnet_id is None,
                "AssociationState": ASSOCIATED,
                **({"SubnetId": association.subnet_id} if association.subnet_id else {}),
            }
            for association in table.associations
        ],
        "PropagatingVgws": [],
        "Tags": tag_list(table.tags),
    }


def create(tx: Tx, caller: Caller, params: Any) -> dict[str, Any]:
    made_before = result_of(tx, "CreateRouteTable", params)
    table = tx.get(RouteTable, id=made_before) if made_before else None
    if table is None:
        vpc = require(tx, Vpc, params["VpcId"])
        local = tuple(Route(cidr, "local", "CreateRouteTable") for cidr in vpc.cidrs)
        table = RouteTable(new_id("rtb"), vpc.id, routes=local, tags=tags_for(params, "route-table"))
        tx.add(table)
        if not made_before:
            remember(tx, "CreateRouteTable", params, table.id)
    answer: dict[str, Any] = {"RouteTable": view(table, caller.account, _gateways(tx))}
    return answer | ({"ClientToken": params["ClientToken"]} if params.get("ClientToken") else {})


def describe(tx: Tx, caller: Caller, params: Any) -> dict[str, Any]:
    gateways = _gateways(tx)
    return LISTING.describe(tx, params, lambda table: view(table, caller.account, gateways))


def delete(tx: Tx, _caller: Caller, params: Any) -> dict[str, Any]:
    table = require(tx, RouteTable, params["RouteTableId"])
    if table.associations:
        raise ServiceError(
            "DependencyViolation", f"The routeTable '{table.id}' has dependencies and cannot be deleted."
        )
    tx.remove(table)
    return {}


def create_route(tx: Tx, _caller: Caller, params: Any) -> dict[str, Any]:
    table = require(tx, RouteTable, params["RouteTableId"])
    destination = _destination(params)
    vpc = require(tx, Vpc, table.vpc_id)
    if any(IPv4Network(destination).subnet_of(IPv4Network(cidr)) for cidr in vpc.cidrs):
        if destination in vpc.cidrs:
            raise ServiceError("RouteAlreadyExists", f"The route identified by {destination} already exists.")
        raise invalid(
            f"The destination CIDR block {destination} is equal to or more specific than one of this VPC's CIDR "
            "blocks. This route can target only an interface or an instance."
        )
    if _route_to(table, destination) is not None:
        raise ServiceError("RouteAlreadyExists", f"The route identified by {destination} already exists.")
    tx.save(replace(table, routes=(*table.routes, Route(destination, _target(tx, table, params)))))
    return {"Return": True}


def replace_route(tx: Tx, _caller: Caller, params: Any) -> dict[str, Any]:
    table = require(tx, RouteTable, params["RouteTableId"])
    destination = _destination(params)
    old = _route_to(table, destination)
    if old is None:
        raise invalid(f"There is no route defined for '{destination}' in the route table. Use CreateRoute instead.")
    if old.target == "local":
        raise invalid(f"The local route {destination} of a route table cannot be given a gateway.")
    new = replace(old, target=_target(tx, table, params))
    tx.save(replace(table, routes=tuple(new if route is old else route for route in table.routes)))
    return {}


def delete_route(tx: Tx, _caller: Caller, params: Any) -> dict[str, Any]:
    table = require(tx, RouteTable, params["RouteTableId"])
    destination = _destination(params)
    old = _route_to(table, destination)
    if old is None:
        raise ServiceError(
            "InvalidRoute.NotFound",
            f"no route with destination-cidr-block {destination} in route table {table.id}",
        )
    if old.target == "local":
        raise invalid(f"cannot remove local route {destination} in route table {table.id}")
    tx.save(replace(table, routes=tuple(route for route in table.routes if route is not old)))
    return {}


def associate(tx: Tx, _caller: Caller, params: Any) -> dict[str, Any]:
    """A repeat answers the association that is there."""
    table = require(tx, RouteTable, params["RouteTableId"])
    if not params.get("SubnetId"):
        raise missing("subnetId")
    subnet = require(tx, Subnet, params["SubnetId"])
    if subnet.vpc_id != table.vpc_id:
        raise invalid(f"Route table {table.id} and subnet {subnet.id} belong to different networks")
    for other in tx.find(RouteTable, vpc_id=table.vpc_id):
        for association in other.associations:
            if association.subnet_id != subnet.id:
                continue
            if other.id == table.id:
                return {"AssociationId": association.id, "AssociationState": ASSOCIATED}
            raise ServiceError(
                "Resource.AlreadyAssociated",
                f"the specified association for route table {table.id} conflicts with an existing association",
            )
    made = RouteAssociation(new_id("rtbassoc"), subnet.id)
    tx.save(replace(table, associations=(*table.associations, made)))
    return {"AssociationId": made.id, "AssociationState": ASSOCIATED}


def disassociate(tx: Tx, _caller: Caller, params: Any) -> dict[str, Any]:
    table, association = _association(tx, params["AssociationId"])
    if association.subnet_id is None:
        raise invalid(f"cannot disassociate the main route table association {association.id}")
    tx.save(_without(table, association))
    return {}


def replace_association(tx: Tx, _caller: Caller, params: Any) -> dict[str, Any]:
    """For a main table's association: makes the other table the main one."""
    old, association = _association(tx, params["AssociationId"])
    new = require(tx, RouteTable, params["RouteTableId"])
    if new.vpc_id != old.vpc_id:
        raise invalid(f"Route table {new.id} and association {association.id} belong to different networks")
    tx.save(_without(old, association))
    new = require(tx, RouteTable, new.id)
    made = RouteAssociation(new_id("rtbassoc"), association.subnet_id)
    tx.save(replace(new, associations=(*new.associations, made)))
    return {"NewAssociationId": made.id, "AssociationState": ASSOCIATED}


def _gateways(tx: Tx) -> dict[str, str | None]:
    nats = {nat.id: nat.vpc_id for nat in tx.find(NatGateway) if nat.state in ("pending", "available")}
    return {gateway.id: gateway.vpc_id for gateway in tx.find(InternetGateway)} | nats


def _destination(params: Any) -> str:
    if not params.get("DestinationCidrBlock"):
        raise missing("destinationCidrBlock")
    return str(block(params["DestinationCidrBlock"], "destinationCidrBlock"))


def _route_to(table: RouteTable, destination: str) -> Route | None:
    return next((route for route in table.routes if route.cidr == destination), None)


def _target(tx: Tx, table: RouteTable, params: Any) -> str:
    gateway_id, nat_id = params.get("GatewayId"), params.get("NatGatewayId")
    if gateway_id and nat_id:
        raise combination("Only one route target may be specified: gatewayId or natGatewayId.")
    if nat_id or (gateway_id and gateway_id.startswith("nat-")):
        return _nat(tx, table, nat_id or gateway_id)
    if not gateway_id:
        raise missing("gatewayId or natGatewayId")
    gateway = tx.get(InternetGateway, id=gateway_id)
    if gateway is None:
        raise ServiceError("InvalidGatewayID.NotFound", f"The gateway ID '{gateway_id}' does not exist")
    if gateway.vpc_id != table.vpc_id:
        raise invalid(f"route table {table.id} and network gateway {gateway.id} belong to different networks")
    return gateway.id


def _nat(tx: Tx, table: RouteTable, nat_id: str) -> str:
    nat = tx.get(NatGateway, id=nat_id)
    if nat is None or nat.state not in ("pending", "available"):
        raise ServiceError("InvalidNatGatewayID.NotFound", f"The natGateway ID '{nat_id}' does not exist")
    if nat.vpc_id != table.vpc_id:
        raise invalid(f"route table {table.id} and nat gateway {nat.id} belong to different networks")
    return nat.id


def _association(tx: Tx, association_id: str) -> tuple[RouteTable, RouteAssociation]:
    table, association = association_by_id(tx, association_id)
    if table is None or association is None:
        raise ServiceError("InvalidAssociationID.NotFound", f"The association ID '{association_id}' does not exist")
    return table, association


def _without(table: RouteTable, association: RouteAssociation) -> RouteTable:
    return replace(table, associations=tuple(one for one in table.associations if one.id != association.id))
