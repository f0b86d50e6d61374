"""How a server's request comes to AWS: through an endpoint of its VPC, over the internet, or not at all.

The endpoint of AWS's services stands in each VPC's router, so that the kernel needs no route to it. What a route table
says of the way there is asked here, with each request: the route of a gateway endpoint, or one to the internet.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.instance import Instance
from skylift.cloud.domain.network import (
    SERVICES,
    InternetGateway,
    NatGateway,
    NetworkInterface,
    RouteTable,
    RouteTarget,
    Subnet,
    ToEndpoint,
    ToInterface,
    ToInternetGateway,
    ToNatGateway,
)
from skylift.cloud.store.database import Tx
from skylift.cloud.store.network import interface_at, prefix_lists, route_table_of

_SERVICES = IPv4Address(SERVICES)

MOST_HOPS = 4
"""The most hops from a server through NAT gateways and NAT instances; a circle of them leads nowhere."""


def by_endpoint_path(tx: Tx, caller: Caller, vpc_id: str, service: str) -> Caller:
    """The caller as AWS sees it: with the endpoint that it came through, or at its public address.

    Raises NoWayToService (403) for a server that has no way there: on AWS its connection would time out.
    """
    interface = interface_at(tx, vpc_id, caller.source_ip)
    subnet = tx.get(Subnet, id=interface.subnet_id) if interface else None
    if interface is None or subnet is None:
        raise _nowhere(caller.source_ip, service, f"{vpc_id} has no interface with that address by now")
    private_ip, past_nat = caller.source_ip, False
    for _ in range(MOST_HOPS):
        target = _target(tx, subnet, service, endpoints=not past_nat)
        if isinstance(target, ToEndpoint):
            return replace(caller, vpc_id=vpc_id, vpc_endpoint_id=target.endpoint_id, source_ip=private_ip)
        if isinstance(target, ToInternetGateway):
            attached, own = tx.get(InternetGateway, id=target.gateway_id, vpc_id=vpc_id), interface.at(private_ip)
            if attached is None or own is None or own.public_ip is None:
                break
            return replace(caller, source_ip=own.public_ip)
        further = _behind(tx, target)
        beyond = tx.get(Subnet, id=further.subnet_id, vpc_id=vpc_id) if further else None
        if further is None or beyond is None:
            break
        interface, subnet, private_ip = further, beyond, further.private_ip
        past_nat = past_nat or isinstance(target, ToNatGateway)
    gateway = ", an S3 gateway endpoint" if service == "s3" else ""
    wanted = f"an internet gateway and a public address of its own, a NAT gateway{gateway}"
    raise _nowhere(caller.source_ip, service, f"The route table of its subnet leads to none of these: {wanted}")


def _behind(tx: Tx, target: RouteTarget | None) -> NetworkInterface | None:
    """The interface that forwards packets which a route sends to a NAT gateway or instance."""
    if isinstance(target, ToNatGateway):
        gateway = tx.get(NatGateway, id=target.nat_id)
        works = gateway is not None and gateway.state in ("pending", "available")
        return tx.get(NetworkInterface, id=gateway.interface_id) if gateway is not None and works else None
    if isinstance(target, ToInterface):
        interface = tx.get(NetworkInterface, id=target.interface_id)
        server = tx.get(Instance, id=interface.instance_id) if interface and interface.instance_id else None
        if interface is None or server is None or server.state != "running" or interface.source_dest_check:
            # One that is checked does not take what is not for it.
            return None
        return interface
    return None


def _target(tx: Tx, subnet: Subnet, service: str, *, endpoints: bool) -> RouteTarget | None:
    """The target of the most specific route for the service's address. A NAT gateway's packets take no endpoint."""
    table = route_table_of(tx, subnet)
    found = list(_covering(tx, table, service)) if table is not None else []
    found = [one for one in found if endpoints or not isinstance(one.target, ToEndpoint)]
    # Of two lists the one that came first.
    best = max(found, key=lambda one: (one.prefix_length, one.named_itself), default=None)
    return best.target if best is not None else None


@dataclass(frozen=True)
class _Covering:
    """A route that has a service in it: how exactly, and whether by a range of its own rather than by a list."""

    prefix_length: int
    named_itself: bool
    target: RouteTarget


def _covering(tx: Tx, table: RouteTable, service: str) -> Iterator[_Covering]:
    """All routes that have the service in them.

    All services stand at one address here. What AWS lists as S3's is S3's alone.
    """
    lists = prefix_lists(tx) if any(route.prefix_list_id for route in table.routes) else {}
    for route in table.routes:
        if route.prefix_list_id is None:
            networks = [route.cidr] if ":" not in route.cidr else []
        else:
            listed = lists.get(route.prefix_list_id)
            foreign = listed is None or listed.family != "IPv4" or (listed.owner == "AWS" and service != "s3")
            networks = [] if listed is None or foreign else [entry.cidr for entry in listed.entries]
        for cidr in networks:
            network = IPv4Network(cidr, strict=False)
            if _SERVICES in network:
                yield _Covering(network.prefixlen, route.prefix_list_id is None, route.target)


def _nowhere(private_ip: str, service: str, why: str) -> ServiceError:
    return ServiceError(
        "NoWayToService",
        f"{private_ip} has no way to {service}. {why}. On AWS this request would time out.",
        status=403,
    )
