"""A server's end of its network interfaces: addresses, routes and settings, as AWS's DHCP and images leave them.

Secondary addresses that we set carry a label, so that we find and remove outdated ones. A server's root may add other
addresses; the router does not forward to them.
"""

from __future__ import annotations

from ipaddress import IPv4Network

from skylift.cloud.compute.network.error import ServerGone
from skylift.cloud.compute.network.firewall import gateway
from skylift.cloud.compute.network.namespace import Namespace
from skylift.cloud.compute.network.netlink import (
    KernelRoute,
    TableRule,
    add_address,
    add_rule,
    delete_address,
    delete_rule,
    link_up,
    narrow_loopback,
    set_neighbour,
    set_route,
)
from skylift.cloud.domain.network import NetworkInterface, Subnet

FIRST_TABLE = 10_000
GATEWAY_MAC = "02:00:00:00:00:03"
"""The router's end of each server's link. The kernel has one neighbour table for all servers and the host, so there are
no neighbour requests: each end is told the other's address, and all that a server sends goes to its gateway."""


def server_link(interface: NetworkInterface) -> str:
    return f"eth{interface.index}"


def configure_server_link(server: Namespace, interface: NetworkInterface, subnet: Subnet, *, new: bool = False) -> None:
    """Idempotent: right settings stay, so that connections go on. A `new` link makes no neighbour requests. A link of
    an earlier version still makes them: its other end has another MAC."""
    name = server_link(interface)
    netlink = server.netlink
    index = netlink.link_index(name)
    if index is None:
        raise ServerGone(f"{server.name} has no {name} any more")
    network = IPv4Network(subnet.cidr)
    label = f"{name}:more"
    others = {address.private_ip for address in interface.secondary}
    known = {one.address for one in netlink.addresses(index) if one.label == label}
    # Public addresses are loopback addresses of the host. In here they must be routable, all but 127.0.0.0/16.
    server.write_settings({"ipv4/conf/all/route_localnet": "1", f"ipv6/conf/{name}/disable_ipv6": "1"})
    router = str(gateway(subnet))
    netlink.do(
        *narrow_loopback(),
        *((link_up(index, arp=False), set_neighbour(index, router, GATEWAY_MAC)) if new else ()),
        add_address(index, interface.private_ip, network.prefixlen, broadcast=str(network.broadcast_address)),
        *(delete_address(index, address, 32) for address in sorted(known - others)),
        *(add_address(index, address, 32, label=label) for address in sorted(others - known)),
        # Where two interfaces are in one subnet, the first leads there.
        set_route(KernelRoute(subnet.cidr, link=index, via=router, metric=interface.index)),
    )
    if interface.index == 0:
        # What is sent to a group would make a neighbour of it, unless its route has a gateway.
        netlink.do(*(set_route(KernelRoute(each, link=index, via=router)) for each in ("0.0.0.0/0", "224.0.0.0/4")))
        return
    # What comes in by a further interface must go out by it, or the router drops it as forged.
    table = FIRST_TABLE + interface.index
    wanted = {TableRule(table, source=address.private_ip) for address in interface.addresses}
    there = {rule for rule in netlink.rules() if rule.source and rule.table == table}
    netlink.do(
        set_route(KernelRoute("0.0.0.0/0", link=index, via=router, table=table)),
        *map(delete_rule, there - wanted),
        *map(add_rule, wanted - there),
    )
