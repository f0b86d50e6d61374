"""Route tables, their routes, and their associations with subnets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

from skylift.cloud.domain import network
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.instance import Instance
from skylift.cloud.domain.peering import JOINED, Peering
from skylift.cloud.domain.vpc_endpoint import VpcEndpoint
from skylift.cloud.services.api.check import association_by_id, on_association
from skylift.cloud.services.api.client_token import echoed, remember, result_of
from skylift.cloud.services.api.ec2_operation import PAGES, acts, acts_on, makes, reads, writes
from skylift.cloud.services.api.filter import same_named
from skylift.cloud.services.api.list_response import Listing
from skylift.cloud.services.api.operation import Nothing
from skylift.cloud.services.api.page import Limits
from skylift.cloud.services.api.refusal import combination, invalid, missing
from skylift.cloud.services.api.resource import new_id, require
from skylift.cloud.services.api.tag import tag_list, tags_for
from skylift.cloud.services.vpc import prefix_list
from skylift.cloud.services.vpc.cidr import block
from skylift.cloud.services.vpc.interface_attachment import only_one
from skylift.cloud.store.database import Tx
from skylift.cloud.store.network import joined

if TYPE_CHECKING:
    from aws_shapes import ec2

LISTING = Listing(
    network.RouteTable,
    ids="RouteTableIds",
    key="RouteTableId",
    limits=Limits(most=100),
    filters={
        **same_named("owner-id route-table-id vpc-id"),
        **same_named(
            "gateway-id main route-table-association-id route-table-id subnet-id", "association", "Associations"
        ),
        **same_named(
            "destination-cidr-block destination-ipv6-cidr-block destination-prefix-list-id "
            "egress-only-internet-gateway-id gateway-id instance-id network-interface-id "
            "nat-gateway-id origin state transit-gateway-id vpc-peering-connection-id",
            "route",
            "Routes",
        ),
    },
)

ASSOCIATED: ec2.RouteTableAssociationState = {"State": "associated"}


@dataclass(frozen=True)
class Targets:
    """What there is for routes to lead to: gateways and endpoints by the VPC that they work in, interfaces, and which
    of the servers that have them run."""

    works_in: dict[network.RouteTarget, str | None]
    interfaces: dict[str, network.NetworkInterface]
    running: frozenset[str]
    peerings: frozenset[str]

    @classmethod
    def of(cls, tx: Tx, tables: list[network.RouteTable]) -> Targets:
        works_in: dict[network.RouteTarget, str | None] = {
            network.ToInternetGateway(gateway.id): gateway.vpc_id for gateway in tx.find(network.InternetGateway)
        }
        nats = [nat for nat in tx.find(network.NatGateway) if nat.state in ("pending", "available")]
        works_in |= {network.ToNatGateway(nat.id): nat.vpc_id for nat in nats}
        works_in |= {network.ToEndpoint(endpoint.id): endpoint.vpc_id for endpoint in tx.find(VpcEndpoint)}
        wanted = {
            route.target for table in tables for route in table.routes if isinstance(route.target, network.ToInterface)
        }
        found = [tx.get(network.NetworkInterface, id=target.interface_id) for target in wanted]
        interfaces = {one.id: one for one in found if one is not None}
        servers = [tx.get(Instance, id=one.instance_id) for one in interfaces.values() if one.instance_id]
        running = frozenset(one.id for one in servers if one is not None and one.state == "running")
        return cls(works_in, interfaces, running, frozenset(one.id for one in joined(tx)))

    def view(self, route: network.Route, vpc_id: str, owner: str) -> ec2.Route:
        there = _state(self.works_in.get(route.target) == vpc_id)
        match route.target:
            case network.ToLocal():
                return {"GatewayId": "local", "State": "active"}
            case network.ToInternetGateway(gateway_id):
                return {"GatewayId": gateway_id, "State": there}
            case network.ToEndpoint(endpoint_id):
                return {"GatewayId": endpoint_id, "State": there}
            case network.ToNatGateway(nat_id):
                return {"NatGatewayId": nat_id, "State": there}
            case network.ToPeering(peering_id):
                return {"VpcPeeringConnectionId": peering_id, "State": _state(peering_id in self.peerings)}
            case network.ToInterface(interface_id):
                interface = self.interfaces.get(interface_id)
                server = interface.instance_id if interface else None
                return {
                    "NetworkInterfaceId": interface_id,
                    **({"InstanceId": server, "InstanceOwnerId": owner} if server else {}),
                    "State": _state(server in self.running),
                }


def _state(works: bool) -> str:
    return "active" if works else "blackhole"


def view(table: network.RouteTable, owner: str, targets: Targets) -> ec2.RouteTable:
    return {
        "RouteTableId": table.id,
        "VpcId": table.vpc_id,
        "OwnerId": owner,
        "Routes": [
            {**_led(route), "Origin": route.origin, **targets.view(route, table.vpc_id, owner)}
            for route in table.routes
        ],
        "Associations": [
            {
                "RouteTableAssociationId": association.id,
                "RouteTableId": table.id,
                "Main": association.is_main,
                "AssociationState": ASSOCIATED,
                **({"SubnetId": association.subnet_id} if association.subnet_id else {}),
                **({"GatewayId": association.gateway_id} if association.gateway_id else {}),
            }
            for association in table.associations
        ],
        "PropagatingVgws": [],
        "Tags": tag_list(table.tags),
    }


def _led(route: network.Route) -> ec2.Route:
    """The destination of a route."""
    if route.prefix_list_id:
        return {"DestinationPrefixListId": route.prefix_list_id}
    return {"DestinationCidrBlock": route.cidr}


def create(tx: Tx, caller: Caller, params: ec2.CreateRouteTableRequest) -> ec2.CreateRouteTableResult:
    made_before = result_of(tx, "CreateRouteTable", params)
    if made_before:
        table = require(tx, network.RouteTable, made_before)
    else:
        vpc = require(tx, network.Vpc, params["VpcId"])
        local = tuple(network.Route(cidr, network.ToLocal(), "CreateRouteTable") for cidr in vpc.cidrs)
        table = network.RouteTable(new_id("rtb"), vpc.id, routes=local, tags=tags_for(params, "route-table"))
        tx.add(table)
        remember(tx, "CreateRouteTable", params, table.id)
    return {"RouteTable": view(table, caller.account, Targets.of(tx, [table])), **echoed(params)}


def describe(tx: Tx, caller: Caller, params: ec2.DescribeRouteTablesRequest) -> ec2.DescribeRouteTablesResult:
    targets = Targets.of(tx, tx.find(network.RouteTable))
    shown = LISTING.describe(tx, params, lambda table: view(table, caller.account, targets))
    return {"RouteTables": shown.items, **shown.next}


def delete(tx: Tx, _caller: Caller, params: ec2.DeleteRouteTableRequest) -> Nothing:
    table = require(tx, network.RouteTable, params["RouteTableId"])
    if table.associations:
        raise ServiceError(
            "DependencyViolation", f"The routeTable '{table.id}' has dependencies and cannot be deleted."
        )
    tx.remove(table)
    return {}


def create_route(tx: Tx, _caller: Caller, params: ec2.CreateRouteRequest) -> ec2.CreateRouteResult:
    table = require(tx, network.RouteTable, params["RouteTableId"])
    destination = _destination(params)
    if _route_to(table, destination) is not None:
        raise ServiceError("RouteAlreadyExists", f"The route identified by {destination} already exists.")
    if params.get("DestinationPrefixListId"):
        listed = network.Route("", _target(tx, table, params), prefix_list_id=prefix_list.known(tx, destination).id)
        return _with_route(tx, table, listed)
    vpc = require(tx, network.Vpc, table.vpc_id)
    if any(IPv4Network(destination).subnet_of(IPv4Network(cidr)) for cidr in vpc.cidrs):
        _refuse_within(tx, vpc, destination, params)
    return _with_route(tx, table, network.Route(destination, _target(tx, table, params)))


def _with_route(tx: Tx, table: network.RouteTable, route: network.Route) -> ec2.CreateRouteResult:
    if any(association.gateway_id for association in table.associations):
        _refuse_for_gateway(tx, table, route)
    tx.save(replace(table, routes=(*table.routes, route)))
    return {"Return": True}


def _refuse_within(tx: Tx, vpc: network.Vpc, destination: str, params: ec2.CreateRouteRequest) -> None:
    """Inside of a VPC traffic to a whole subnet may be led through a server, and nothing else."""
    if not {"networkInterfaceId", "instanceId"}.intersection(_named_targets(params)):
        raise invalid(
            f"The destination CIDR block {destination} is equal to or more specific than one of this VPC's CIDR "
            "blocks. This route can target only an interface or an instance."
        )
    if destination not in {subnet.cidr for subnet in tx.find(network.Subnet, vpc_id=vpc.id)}:
        raise invalid(
            f"The destination CIDR block {destination} is more specific than one of this VPC's CIDR blocks, "
            "so it has to be the whole CIDR block of a subnet."
        )


def replace_route(tx: Tx, _caller: Caller, params: ec2.ReplaceRouteRequest) -> Nothing:
    """A local route can lead through a server instead, and be made what it was with `LocalTarget`."""
    table = require(tx, network.RouteTable, params["RouteTableId"])
    destination = _destination(params)
    old = _route_to(table, destination)
    if old is None:
        raise invalid(f"There is no route defined for '{destination}' in the route table. Use CreateRoute instead.")
    _refuse_of_endpoint(table, old, "replace")
    if params.get("LocalTarget"):
        if _named_targets(params):
            raise combination(f"Only one route target may be specified: localTarget or {_named_targets(params)[0]}.")
        if not _is_local(old):
            raise invalid(f"The route {destination} is no local route of the route table.")
        target: network.RouteTarget = network.ToLocal()
    else:
        target = _target(tx, table, params)
        if _is_local(old) and not isinstance(target, network.ToInterface):
            raise invalid(f"The local route {destination} of a route table cannot be given a gateway.")
    new = replace(old, target=target)
    if any(association.gateway_id for association in table.associations):
        _refuse_for_gateway(tx, table, new)
    tx.save(replace(table, routes=tuple(new if route is old else route for route in table.routes)))
    return {}


def _is_local(route: network.Route) -> bool:
    """Whether it came with the table, wherever it leads by now."""
    return route.origin == "CreateRouteTable"


def delete_route(tx: Tx, _caller: Caller, params: ec2.DeleteRouteRequest) -> Nothing:
    table = require(tx, network.RouteTable, params["RouteTableId"])
    destination = _destination(params)
    old = _route_to(table, destination)
    if old is None:
        raise ServiceError(
            "InvalidRoute.NotFound", f"no route with destination-cidr-block {destination} in route table {table.id}"
        )
    if _is_local(old):
        raise invalid(f"cannot remove local route {destination} in route table {table.id}")
    _refuse_of_endpoint(table, old, "remove")
    tx.save(replace(table, routes=tuple(route for route in table.routes if route is not old)))
    return {}


def _refuse_of_endpoint(table: network.RouteTable, route: network.Route, what: str) -> None:
    """Routes to a VPC endpoint are added and removed by ModifyVpcEndpoint alone."""
    if isinstance(route.target, network.ToEndpoint):
        raise invalid(f"cannot {what} VPC endpoint route {route.destination} in route table {table.id}")


def associate(tx: Tx, _caller: Caller, params: ec2.AssociateRouteTableRequest) -> ec2.AssociateRouteTableResult:
    """A repeat answers the association that is there."""
    table = require(tx, network.RouteTable, params["RouteTableId"])
    if params.get("SubnetId") and params.get("GatewayId"):
        raise combination("Only one of subnetId and gatewayId may be specified.")
    if not (params.get("SubnetId") or params.get("GatewayId")):
        raise missing("subnetId or gatewayId")
    made = _of_gateway(tx, table, params) if params.get("GatewayId") else _of_subnet(tx, table, params)
    for other in tx.find(network.RouteTable, vpc_id=table.vpc_id):
        for association in other.associations:
            if (association.subnet_id, association.gateway_id) != (made.subnet_id, made.gateway_id):
                continue
            if other.id == table.id:
                return {"AssociationId": association.id, "AssociationState": ASSOCIATED}
            raise ServiceError(
                "Resource.AlreadyAssociated",
                f"the specified association for route table {table.id} conflicts with an existing association",
            )
    tx.save(replace(table, associations=(*table.associations, made)))
    return {"AssociationId": made.id, "AssociationState": ASSOCIATED}


def _of_subnet(tx: Tx, table: network.RouteTable, params: ec2.AssociateRouteTableRequest) -> network.RouteAssociation:
    subnet = require(tx, network.Subnet, params["SubnetId"])
    if subnet.vpc_id != table.vpc_id:
        raise invalid(f"Route table {table.id} and subnet {subnet.id} belong to different networks")
    return network.RouteAssociation(new_id("rtbassoc"), subnet_id=subnet.id)


def _of_gateway(tx: Tx, table: network.RouteTable, params: ec2.AssociateRouteTableRequest) -> network.RouteAssociation:
    gateway = _gateway(tx, table, params["GatewayId"])
    for route in table.routes:
        _refuse_for_gateway(tx, table, route)
    return network.RouteAssociation(new_id("rtbassoc"), gateway_id=gateway.id)


def _refuse_for_gateway(tx: Tx, table: network.RouteTable, route: network.Route) -> None:
    """What comes in by a gateway is for its own VPC, and is led through a server there or straight on."""
    vpc = require(tx, network.Vpc, table.vpc_id)
    inside = bool(route.cidr) and any(IPv4Network(route.cidr).subnet_of(IPv4Network(cidr)) for cidr in vpc.cidrs)
    if not inside or not isinstance(route.target, network.ToLocal | network.ToInterface):
        raise invalid(
            f"The route to {route.destination} of route table {table.id} is not one that a gateway can have: its "
            "destination has to be in the VPC, its target a network interface or local."
        )


def disassociate(tx: Tx, _caller: Caller, params: ec2.DisassociateRouteTableRequest) -> Nothing:
    table, association = _association(tx, params["AssociationId"])
    if association.is_main:
        raise invalid(f"cannot disassociate the main route table association {association.id}")
    tx.save(_without(table, association))
    return {}


def replace_association(
    tx: Tx, _caller: Caller, params: ec2.ReplaceRouteTableAssociationRequest
) -> ec2.ReplaceRouteTableAssociationResult:
    """For a main table's association: makes the other table the main one."""
    old, association = _association(tx, params["AssociationId"])
    new = require(tx, network.RouteTable, params["RouteTableId"])
    if new.vpc_id != old.vpc_id:
        raise invalid(f"Route table {new.id} and association {association.id} belong to different networks")
    tx.save(_without(old, association))
    new = require(tx, network.RouteTable, new.id)
    if association.gateway_id:
        for route in new.routes:
            _refuse_for_gateway(tx, new, route)
    made = replace(association, id=new_id("rtbassoc"))
    tx.save(replace(new, associations=(*new.associations, made)))
    return {"NewAssociationId": made.id, "AssociationState": ASSOCIATED}


def _destination(params: ec2.CreateRouteRequest | ec2.DeleteRouteRequest | ec2.ReplaceRouteRequest) -> str:
    listed, cidr = params.get("DestinationPrefixListId"), params.get("DestinationCidrBlock")
    if listed and cidr:
        raise combination("Only one of destinationCidrBlock and destinationPrefixListId may be specified.")
    if listed:
        return str(listed)
    if not cidr:
        raise missing("destinationCidrBlock")
    return str(block(params["DestinationCidrBlock"], "destinationCidrBlock"))


def _route_to(table: network.RouteTable, destination: str) -> network.Route | None:
    return next((route for route in table.routes if route.destination == destination), None)


def _named_targets(params: ec2.CreateRouteRequest | ec2.ReplaceRouteRequest) -> list[str]:
    known = ("gatewayId", "natGatewayId", "networkInterfaceId", "instanceId", "vpcPeeringConnectionId")
    return [name for name in known if params.get(name[0].upper() + name[1:])]


def _target(
    tx: Tx, table: network.RouteTable, params: ec2.CreateRouteRequest | ec2.ReplaceRouteRequest
) -> network.RouteTarget:
    """What a request names, which has to be there and of the table's VPC."""
    named = _named_targets(params)
    if len(named) > 1:
        raise combination(f"Only one route target may be specified: {' or '.join(named)}.")
    if not named:
        raise missing("gatewayId, natGatewayId, networkInterfaceId, instanceId or vpcPeeringConnectionId")
    if params.get("InstanceId"):
        return _interface(table, _only_interface(tx, params["InstanceId"]))
    if params.get("NetworkInterfaceId"):
        return _interface(table, require(tx, network.NetworkInterface, params["NetworkInterfaceId"]))
    if params.get("VpcPeeringConnectionId"):
        return _peering(tx, table, params["VpcPeeringConnectionId"])
    gateway_id = params.get("NatGatewayId") or params["GatewayId"]
    if params.get("NatGatewayId") or gateway_id.startswith("nat-"):
        return _nat(tx, table, gateway_id)
    return network.ToInternetGateway(_gateway(tx, table, gateway_id).id)


def _gateway(tx: Tx, table: network.RouteTable, gateway_id: str) -> network.InternetGateway:
    gateway = tx.get(network.InternetGateway, id=gateway_id)
    if gateway is None:
        raise ServiceError("InvalidGatewayID.NotFound", f"The gateway ID '{gateway_id}' does not exist")
    if gateway.vpc_id != table.vpc_id:
        raise invalid(f"route table {table.id} and network gateway {gateway.id} belong to different networks")
    return gateway


def _interface(table: network.RouteTable, interface: network.NetworkInterface) -> network.ToInterface:
    if interface.vpc_id != table.vpc_id:
        raise invalid(f"route table {table.id} and interface {interface.id} belong to different networks")
    return network.ToInterface(interface.id)


def _only_interface(tx: Tx, instance_id: str) -> network.NetworkInterface:
    instance = require(tx, Instance, instance_id)
    mine = tx.find(network.NetworkInterface, instance_id=instance.id)
    if not mine:
        raise ServiceError("InvalidInstanceID.NotFound", f"The instance ID '{instance.id}' does not exist")
    return only_one(instance.id, mine)


def _nat(tx: Tx, table: network.RouteTable, nat_id: str) -> network.ToNatGateway:
    nat = tx.get(network.NatGateway, id=nat_id)
    if nat is None or nat.state not in ("pending", "available"):
        raise ServiceError("InvalidNatGatewayID.NotFound", f"The natGateway ID '{nat_id}' does not exist")
    if nat.vpc_id != table.vpc_id:
        raise invalid(f"route table {table.id} and nat gateway {nat.id} belong to different networks")
    return network.ToNatGateway(nat.id)


def _peering(tx: Tx, table: network.RouteTable, peering_id: str) -> network.ToPeering:
    found = require(tx, Peering, peering_id)
    if table.vpc_id not in found.vpc_ids:
        raise invalid(f"route table {table.id} and vpc peering connection {found.id} belong to different networks")
    if found.state not in JOINED:
        raise ServiceError(
            "InvalidStateTransition", f"The VPC peering connection {found.id} is not active: it is {found.state}."
        )
    return network.ToPeering(found.id)


def _association(tx: Tx, association_id: str) -> tuple[network.RouteTable, network.RouteAssociation]:
    table, association = association_by_id(tx, association_id)
    if table is None or association is None:
        raise ServiceError("InvalidAssociationID.NotFound", f"The association ID '{association_id}' does not exist")
    return table, association


def _without(table: network.RouteTable, association: network.RouteAssociation) -> network.RouteTable:
    return replace(table, associations=tuple(one for one in table.associations if one.id != association.id))


_ROUTE = (
    "RouteTableId DestinationCidrBlock DestinationPrefixListId GatewayId NatGatewayId NetworkInterfaceId InstanceId "
    "VpcPeeringConnectionId"
)


OPERATIONS = (
    makes("CreateRouteTable", create, "VpcId ClientToken TagSpecifications", "route-table", "VpcId"),
    reads("DescribeRouteTables", describe, f"RouteTableIds {PAGES}"),
    acts("DeleteRouteTable", delete, "RouteTableId", "RouteTableId"),
    acts("CreateRoute", create_route, _ROUTE, "RouteTableId"),
    acts("ReplaceRoute", replace_route, f"{_ROUTE} LocalTarget", "RouteTableId"),
    acts("DeleteRoute", delete_route, "RouteTableId DestinationCidrBlock DestinationPrefixListId", "RouteTableId"),
    acts("AssociateRouteTable", associate, "RouteTableId SubnetId GatewayId", "RouteTableId", "SubnetId", "GatewayId"),
    acts_on("DisassociateRouteTable", disassociate, "AssociationId", on_association),
    writes(
        "ReplaceRouteTableAssociation",
        replace_association,
        "AssociationId RouteTableId",
        on_association("ec2:ReplaceRouteTableAssociation", "RouteTableId"),
    ),
)
