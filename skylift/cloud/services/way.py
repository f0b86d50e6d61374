"""How a server's request comes to AWS: through an endpoint of its VPC, over the internet, or not at all.

The endpoint of AWS's services stands in each VPC's router, so that the kernel needs no route to it. What a route table
says of the way there is asked here, with each request: the route of a gateway endpoint, or one to the internet.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

from skylift.cloud.error import ServiceError
from skylift.cloud.identity import Caller
from skylift.cloud.instance import Instance
from skylift.cloud.network import SERVICES, InternetGateway, NatGateway, NetworkInterface, RouteTable, Subnet
from skylift.cloud.store.database import Tx
from skylift.cloud.store.network import interface_at, prefix_lists, route_table_of

_SERVICES = IPv4Address(SERVICES)

MOST_HOPS = 4
"""From a server through NAT gateways and NAT instances; whoever leads in a circle leads nowhere."""


def by_way(tx: Tx, caller: Caller, vpc_id: str, service: str) -> Caller:
    """The caller as AWS sees it: with the endpoint that it came through, or at its public address.

    Raises NoWayToService (403) for a server that has no way there: on AWS its connection would time out.
    """
    interface = interface_at(tx, vpc_id, caller.source_ip)
    subnet = tx.get(Subnet, id=interface.subnet_id) if interface else None
    if interface is None or subnet is None:
        raise _nowhere(caller.source_ip, service, f"{vpc_id} has no interface with that address by now")
    target = _target(tx, subnet, service)
    if target is not None and target.startswith("vpce-"):
        return replace(caller, vpc_id=vpc_id, vpc_endpoint_id=target)
    public = _public(tx, subnet, interface, caller.source_ip, service, MOST_HOPS)
    if public is None:
        gateway = ", an S3 gateway endpoint" if service == "s3" else ""
        wanted = f"an internet gateway and a public address of its own, a NAT gateway{gateway}"
        raise _nowhere(caller.source_ip, service, f"The route table of {subnet.id} leads to none of these: {wanted}")
    return replace(caller, source_ip=public)


def _public(
    tx: Tx, subnet: Subnet, interface: NetworkInterface, private_ip: str, service: str, hops: int
) -> str | None:
    """The public address behind which an interface's packets come to AWS; None when they do not."""
    target = _target(tx, subnet, service)
    if target is None or hops == 0:
        return None
    if target.startswith("igw-"):
        attached = tx.get(InternetGateway, id=target, vpc_id=subnet.vpc_id)
        own = interface.at(private_ip)
        return own.public_ip if attached is not None and own is not None else None
    further = _behind(tx, target)
    beyond = tx.get(Subnet, id=further.subnet_id) if further else None
    if further is None or beyond is None or beyond.vpc_id != subnet.vpc_id:
        return None
    return _public(tx, beyond, further, further.private_ip, service, hops - 1)


def _behind(tx: Tx, target: str) -> NetworkInterface | None:
    """The interface that sends on what is led to a NAT gateway or a NAT instance."""
    if target.startswith("nat-"):
        gateway = tx.get(NatGateway, id=target)
        works = gateway is not None and gateway.state in ("pending", "available")
        return tx.get(NetworkInterface, id=gateway.interface_id) if gateway is not None and works else None
    if target.startswith("eni-"):
        interface = tx.get(NetworkInterface, id=target)
        server = tx.get(Instance, id=interface.instance_id) if interface and interface.instance_id else None
        return interface if server is not None and server.state == "running" else None
    return None


def _target(tx: Tx, subnet: Subnet, service: str) -> str | None:
    """Where the most specific route for the service's address leads."""
    table = route_table_of(tx, subnet)
    found = list(_covering(tx, table, service)) if table is not None else []
    return max(found)[2] if found else None


def _covering(tx: Tx, table: RouteTable, service: str) -> Iterator[tuple[int, bool, str]]:
    """(length of the prefix, whether the route names it itself, target) of all routes that have the service in them.

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
                yield network.prefixlen, route.prefix_list_id is None, route.target


def _nowhere(private_ip: str, service: str, why: str) -> ServiceError:
    return ServiceError(
        "NoWayToService",
        f"{private_ip} has no way to {service}. {why}. On AWS this request would time out.",
        status=403,
    )
