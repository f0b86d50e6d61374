"""The router of one VPC: a namespace that every packet of the VPC passes through.

Routing follows the VPC's route tables by a table for each subnet, chosen by the mark that the firewall gives a packet
for the interface it came from. A subnet's `local` route throws the packet on to the table of servers, which has one /32
for each attached interface and nothing else. Without a mark no packet looks into any table but the main one, which has
no way to anybody: a router that has lost its firewall passes nothing on.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from ipaddress import IPv4Network

from skylift.cloud.compute.network import firewall, pasta, uplink
from skylift.cloud.compute.network.conntrack import forget
from skylift.cloud.compute.network.error import NetworkError
from skylift.cloud.compute.network.link_watch import LinkWatch
from skylift.cloud.compute.network.loopback_range import LoopbackRange
from skylift.cloud.compute.network.namespace import Namespace, remove_namespace
from skylift.cloud.compute.network.netlink import (
    LOOPBACK_INDEX,
    MAIN,
    KernelRoute,
    Message,
    TableRule,
    add_address,
    add_rule,
    add_veth,
    delete_link,
    delete_route,
    delete_rule,
    link_up,
    narrow_loopback,
    serve_marked,
    set_neighbour,
    set_route,
)
from skylift.cloud.compute.network.plan import Peer, VpcPlan
from skylift.cloud.compute.network.ruleset import Ruleset
from skylift.cloud.compute.network.server_link import GATEWAY_MAC, configure_server_link, server_link
from skylift.cloud.compute.network.traffic import (
    GATEWAY_MARK,
    SERVERS,
    gateway_table,
    interface_link,
    peer_link,
    routed_interfaces,
    subnet_mark,
)
from skylift.cloud.domain.network import (
    NatGateway,
    NetworkInterface,
    RouteTable,
    RouteTarget,
    Subnet,
    ToInterface,
    ToInternetGateway,
    ToLocal,
    ToNatGateway,
    ToPeering,
)

log = logging.getLogger(__name__)

# Jumbo frames, as in a VPC.
MTU = 9001

EVERYTHING = IPv4Network("0.0.0.0/0")

PEER_LINK = re.compile("p[0-9a-f]{1,14}")

_Belonging = tuple[str, str | None]
"""An interface, and the public address that one of its private addresses is translated to."""

FALLBACK = 1000
"""The metric of the blackhole behind each route to a server: without the server's link, its traffic goes nowhere else.
"""


@dataclass(frozen=True)
class PlannedRoute:
    """A route in a subnet's table, before links have numbers. `kind`: `throw` (local), `unicast` (out), `blackhole`.

    `nat` is the private address of the NAT gateway that it goes through; `through` is the interface of a server
    that it leads to, `via` that one's address; `peering` is a connection that it leads into. Of two to the same target
    the one with the smaller metric counts.
    """

    table: int
    target: str
    kind: str
    nat: str | None = None
    through: str | None = None
    via: str | None = None
    metric: int = 0
    peering: str | None = None


def router_name(loopback: LoopbackRange, vpc_id: str) -> str:
    return f"{loopback.prefix}{vpc_id}"


def planned_routes(plan: VpcPlan) -> set[PlannedRoute]:
    """The routes of each subnet's table. A route to a missing target, or to one of another VPC, drops its packets."""
    nats = {nat.id: nat for nat in plan.nat_gateways}
    interfaces = {interface.id: interface for interface in plan.interfaces}
    peerings = {peer.id for peer in plan.peers}
    found: set[PlannedRoute] = set()
    for subnet in plan.subnets:
        table = subnet_mark(subnet)
        own = _targets(_table_of(subnet, plan))
        if any(isinstance(target, ToInterface) and target.interface_id in interfaces for target in own.values()):
            # The way that the VPC's own range leads: no route table applies within a subnet.
            own[IPv4Network(subnet.cidr)] = ToLocal()
        planned = {EVERYTHING: PlannedRoute(table, str(EVERYTHING), "blackhole")}
        for network, target in own.items():
            match target:
                case ToInterface(interface_id) if interface_id in interfaces:
                    planned[network] = PlannedRoute(table, str(network), "blackhole", metric=FALLBACK)
                    found.add(_through(interfaces[interface_id], table, network))
                case ToPeering(peering_id) if peering_id in peerings:
                    planned[network] = PlannedRoute(table, str(network), "blackhole", metric=FALLBACK)
                    found.add(PlannedRoute(table, str(network), "unicast", peering=peering_id))
                case ToNatGateway(nat_id) if nat_id in nats:
                    for part, beyond in _beyond(nats[nat_id], network, plan).items():
                        if _longest(part, own) != network:
                            continue
                        if nats[nat_id].connectivity == "private":
                            planned[part] = PlannedRoute(table, str(part), "blackhole", metric=FALLBACK)
                            if isinstance(beyond, ToPeering) and beyond.peering_id in peerings:
                                hop, peer = nats[nat_id].private_ip, beyond.peering_id
                                found.add(PlannedRoute(table, str(part), "unicast", hop, peering=peer))
                            continue
                        kind = _route_kind(beyond, plan)
                        through = nats[nat_id].private_ip if kind == "unicast" else None
                        planned[part] = PlannedRoute(table, str(part), kind, through)
                case _:
                    planned[network] = PlannedRoute(table, str(network), _route_kind(target, plan))
        found.update(planned.values())
    found.update(_incoming_routes(plan, interfaces))
    return found


def _incoming_routes(plan: VpcPlan, interfaces: Mapping[str, NetworkInterface]) -> Iterator[PlannedRoute]:
    """The first targets of traffic from the internet gateway. Without such a route it goes to its own target."""
    table = gateway_table(plan)
    if table is None:
        return
    for network, target in {EVERYTHING: ToLocal(), **_targets(table)}.items():
        if isinstance(target, ToLocal):
            yield PlannedRoute(GATEWAY_MARK, str(network), "throw")
            continue
        yield PlannedRoute(GATEWAY_MARK, str(network), "blackhole", metric=FALLBACK)
        if isinstance(target, ToInterface) and target.interface_id in interfaces:
            yield _through(interfaces[target.interface_id], GATEWAY_MARK, network)


def _through(interface: NetworkInterface, table: int, network: IPv4Network) -> PlannedRoute:
    return PlannedRoute(table, str(network), "unicast", through=interface.id, via=interface.private_ip)


def _beyond(nat: NatGateway, network: IPv4Network, plan: VpcPlan) -> dict[IPv4Network, RouteTarget | None]:
    """Where a NAT gateway forwards packets for this network to, by its own subnet's route table."""
    subnet = next(subnet for subnet in plan.subnets if subnet.id == nat.subnet_id)
    targets = _targets(_table_of(subnet, plan))
    covering = _longest(network, targets)
    found: dict[IPv4Network, RouteTarget | None] = {network: targets[covering] if covering is not None else None}
    for part, target in targets.items():
        if part != network and part.subnet_of(network):
            found[part] = target
    return found


def _targets(table: RouteTable) -> dict[IPv4Network, RouteTarget]:
    return {IPv4Network(route.cidr, strict=False): route.target for route in table.routes if ":" not in route.cidr}


def _longest(network: IPv4Network, among: Iterable[IPv4Network]) -> IPv4Network | None:
    """The smallest of these networks that has all of this one in it."""
    return max((one for one in among if network.subnet_of(one)), key=lambda one: one.prefixlen, default=None)


def _table_of(subnet: Subnet, plan: VpcPlan) -> RouteTable:
    """The table the subnet is associated with, else the VPC's main table."""
    for table in plan.route_tables:
        if any(association.subnet_id == subnet.id for association in table.associations):
            return table
    main = next((table for table in plan.route_tables if table.is_main), None)
    return main or RouteTable("rtb-none", plan.vpc.id)


def _route_kind(target: RouteTarget | None, plan: VpcPlan) -> str:
    match target:
        case ToLocal():
            return "throw"
        case ToInternetGateway(gateway_id) if gateway_id == plan.internet_gateway:
            return "unicast"
    return "blackhole"


class Router:
    """The open router of one VPC; `adopted` if an earlier process may have used it."""

    def __init__(self, vpc_id: str, namespace: Namespace, *, adopted: bool) -> None:
        self.vpc_id = vpc_id
        self.namespace = namespace
        self._adopted = adopted
        self._used: set[str] = set()
        self.plan: VpcPlan | None = None
        self._ruleset: Ruleset | None = None
        self._routes: set[KernelRoute] | None = None
        self._rules: set[TableRule] | None = None
        self._attached = {link.alias: link.name for link in namespace.netlink.links() if link.alias}
        self._belonged: dict[str, set[_Belonging]] = {}
        """The interfaces that each private address has belonged to since a plan was last applied completely."""
        self._translated: set[str] = set()
        """Likewise, as which addresses NAT gateways have been seen."""
        self._unforgotten: set[str] = set()

    def holds(self, interface_id: str) -> bool:
        """Whether the interface is plugged into a server. When the server ends, the kernel takes both ends away."""
        link = self._attached.get(interface_id)
        return link is not None and self.namespace.netlink.link_index(link) is not None

    def configure(self, plan: VpcPlan, uplink_namespace: Namespace) -> None:
        """Everything that stays for the VPC's life. Idempotent."""
        netlink = self.namespace.netlink
        self.namespace.write_settings(uplink.ROUTER_SETTINGS)
        netlink.do(
            *narrow_loopback(),
            *(
                add_address(LOOPBACK_INDEX, str(address), 32)
                for address in (firewall.METADATA, firewall.DNS, firewall.ENDPOINT, firewall.dns_address(plan.vpc))
            ),
            set_route(KernelRoute("0.0.0.0/0", "blackhole")),
            *serve_marked(SERVERS),
        )
        if netlink.link_index(firewall.UPLINK) is None:
            netlink.do(
                add_veth(
                    firewall.UPLINK,
                    mtu=MTU,
                    mac=uplink.OUTER_MAC,
                    peer=uplink.router_link(plan.vpc.id),
                    peer_mac=uplink.INNER_MAC,
                    peer_namespace=uplink_namespace.descriptor,
                )
            )
        netlink.do(
            link_up(self._uplink),
            add_address(self._uplink, uplink.OUTER_ADDRESS, 32),
            set_neighbour(self._uplink, uplink.INNER_ADDRESS, uplink.INNER_MAC),
        )

    def apply(self, plan: VpcPlan) -> set[str]:
        """Make the router agree with the plan, in an order that never lets through what neither plan allows.

        Answers the addresses that belong to somebody else from now on.
        """
        if plan == self.plan:
            return set()
        self._note_belongings(plan)
        self._load(plan)
        self._route(plan)
        self._detach(self._attached.keys() - {interface.id for interface in plan.interfaces})
        self._readdress(plan)
        moved = self._forget_moved(plan)
        self.plan = plan
        return moved

    def keep(self) -> bool:
        """Whether its rules and its link to the uplink are there. Its name is, afterwards."""
        try:
            return self.namespace.keeps(firewall.UPLINK)
        except NetworkError as error:
            log.error("the router of %s: %s", self.vpc_id, error)
            return False

    def begin_anew(self) -> None:
        """After a failure the state of the router is unknown: the next plan is applied as this process's first plan, to
        a router that others have used.
        """
        self.plan = self._ruleset = self._routes = self._rules = None
        self._adopted = True

    def attach(self, interface: NetworkInterface, subnet: Subnet, server: Namespace) -> None:
        """Plug an interface into a server's namespace, replacing what was plugged in under the same id."""
        netlink = self.namespace.netlink
        here = interface_link(interface)
        netlink.do(
            delete_link(here),
            add_veth(
                here,
                mtu=MTU,
                mac=GATEWAY_MAC,
                peer=server_link(interface),
                peer_mac=interface.mac,
                peer_namespace=server.descriptor,
            ),
        )
        self._attached[interface.id] = here
        index = netlink.link(here)
        addresses = {one.private_ip for one in interface.addresses}
        if self._adopted or addresses & self._used:
            # Whatever connections these addresses had, their server has ended.
            forget(self.namespace, addresses)
        self._used |= addresses
        gateway = str(firewall.gateway(subnet))
        with closing(self.namespace.run(LinkWatch)) as watch:
            netlink.do(
                link_up(index, interface.id, arp=False),
                add_address(index, gateway, 32),
                *_lead(index, interface, addresses),
            )
            configure_server_link(server, interface, subnet, new=True)
            watch.until_running(index)
        if self.plan is not None and interface.id in routed_interfaces(self.plan):
            self._route(self.plan)

    def has_link(self, peer: Peer) -> bool:
        return self.namespace.netlink.link_index(peer_link(peer)) is not None

    def link_to(self, peer: Peer, other: Router) -> None:
        """Make the link to the router of a peered VPC. Both ends look the same: each calls the other by one address."""
        name = peer_link(peer)
        self.namespace.netlink.do(
            add_veth(
                name,
                mtu=MTU,
                mac=uplink.OUTER_MAC,
                peer=name,
                peer_mac=uplink.INNER_MAC,
                peer_namespace=other.namespace.descriptor,
            )
        )

    def dress_link(self, peer: Peer) -> None:
        """This end of the link to a peered VPC's router."""
        index = self.namespace.netlink.link(peer_link(peer))
        beyond = _mac_beyond(self.vpc_id, peer)
        self.namespace.netlink.do(
            link_up(index),
            add_address(index, uplink.OUTER_ADDRESS, 32),
            set_neighbour(index, uplink.INNER_ADDRESS, beyond),
        )

    def reroute(self) -> None:
        """Routes into a link that has come since the plan was applied."""
        if self.plan is not None:
            self._route(self.plan)

    def joined(self) -> set[str]:
        """The links that join this router to those of other VPCs."""
        return {link.name for link in self.namespace.netlink.links() if PEER_LINK.fullmatch(link.name)}

    def part(self, link: str) -> None:
        self.namespace.netlink.do(delete_link(link))

    def detach(self, interface_id: str) -> None:
        self._detach({interface_id})

    def close(self) -> None:
        """Closes the handles; the router goes on."""
        self.namespace.close()

    def remove(self) -> None:
        """End the router. Its links go first, because the kernel ends namespaces when it finds the time."""
        self._detach(set(self._attached))
        self.namespace.netlink.do(delete_link(firewall.UPLINK))
        remove_namespace(self.namespace.name)
        self.close()

    @property
    def _uplink(self) -> int:
        return self.namespace.netlink.link(firewall.UPLINK)

    def _load(self, plan: VpcPlan) -> None:
        """The first time whole, whatever is there; then only what changes."""
        wanted = firewall.vpc_ruleset(plan, pasta.room_for_connections() // 8)
        script = wanted.change_from(self._ruleset) if self._ruleset else wanted.script()
        # After a refusal the state is unknown: the next plan is applied as the first one.
        self._ruleset = None
        if script:
            self.namespace.load(script)
        self._ruleset = wanted

    def _route(self, plan: VpcPlan) -> None:
        netlink = self.namespace.netlink
        outward = self._uplink
        # A NAT gateway is a second name for the uplink: the firewall distinguishes them by the next hop.
        netlink.do(*(set_neighbour(outward, nat.private_ip, uplink.INNER_MAC) for nat in plan.nat_gateways))
        planned = planned_routes(plan)
        links = {
            interface_id: netlink.link_index(self._attached[interface_id])
            for interface_id in {route.through for route in planned if route.through}
            if interface_id in self._attached
        }
        peers = {peer.id: netlink.link_index(peer_link(peer)) for peer in plan.peers}
        for peer in plan.peers:
            index = peers[peer.id]
            if index is not None:
                # In the same way a private one is a second name for the router of each peer.
                mac = _mac_beyond(plan.vpc.id, peer)
                private = (nat.private_ip for nat in plan.nat_gateways if nat.connectivity == "private")
                netlink.do(*(set_neighbour(index, hop, mac) for hop in private))
        wanted = set()
        for route in planned:
            if route.kind != "unicast":
                wanted.add(KernelRoute(route.target, route.kind, table=route.table, metric=route.metric))
            elif route.peering is not None:
                link = peers.get(route.peering)
                if link is not None:
                    via = route.nat or uplink.INNER_ADDRESS
                    wanted.add(KernelRoute(route.target, "unicast", link, via, route.table))
            elif route.through is None:
                via = route.nat or uplink.INNER_ADDRESS
                wanted.add(KernelRoute(route.target, "unicast", outward, via, route.table))
            elif links.get(route.through) is not None:
                wanted.add(KernelRoute(route.target, "unicast", links[route.through], route.via, route.table))
        marks = {subnet_mark(subnet) for subnet in plan.subnets}
        marks |= {GATEWAY_MARK} if gateway_table(plan) else set()
        rules = {TableRule(mark, mark) for mark in marks}
        if self._routes is None or self._rules is None:
            self._routes = {route for route in netlink.routes() if route.table not in (MAIN, SERVERS)}
            self._rules = {rule for rule in netlink.rules() if rule.mark}
        kept = {(route.table, route.target, route.metric) for route in wanted}
        gone = [route for route in self._routes - wanted if (route.table, route.target, route.metric) not in kept]
        netlink.do(
            *map(set_route, wanted - self._routes),
            *map(delete_route, gone),
            *map(add_rule, rules - self._rules),
            *map(delete_rule, self._rules - rules),
        )
        self._routes, self._rules = wanted, rules

    def _readdress(self, plan: VpcPlan) -> None:
        """Route to the interfaces that are attached now, and to nothing else. The first call looks at all of them."""
        netlink = self.namespace.netlink
        before = {one.id: _private_ips(one) for one in self.plan.interfaces} if self.plan else {}
        changed = [
            one for one in plan.interfaces if one.id in self._attached and before.get(one.id) != _private_ips(one)
        ]
        if not changed:
            return
        # An earlier version has them in the main table.
        led = [route for route in netlink.routes() if route.link is not None and not route.via]
        for interface in changed:
            index = netlink.link_index(self._attached[interface.id])
            if index is None:
                continue
            wanted = {_route_to(address, index): address for address in _private_ips(interface)}
            new = {address for route, address in wanted.items() if route not in led}
            gone = [route for route in led if route.link == index and route not in wanted]
            netlink.do(*_lead(index, interface, new), *map(delete_route, gone))

    def forget(self, addresses: set[str]) -> None:
        """Forgets connections that have one of these addresses at an end; retries addresses that failed before."""
        self._unforgotten |= addresses
        if self._unforgotten:
            forget(self.namespace, self._unforgotten)
            self._unforgotten = set()

    def _forget_moved(self, plan: VpcPlan) -> set[str]:
        """Connections of addresses that belong to another interface, or translate to another address, than before."""
        after, translated = _belongings(plan), _nat_addresses(plan)
        moved = {address for address, had in self._belonged.items() if had != {after.get(address)}}
        moved |= self._translated - translated
        if moved:
            forget(self.namespace, moved)
            # The next owner of an address begins without connections; the current one keeps its own.
            self._used -= moved - {
                address for one in plan.interfaces if one.id in self._attached for address in _private_ips(one)
            }
        self._belonged = {address: {belongs} for address, belongs in after.items()}
        self._translated = translated
        return moved

    def _note_belongings(self, plan: VpcPlan) -> None:
        """Before anything of the plan is in force: it may come no further than that."""
        for address, belongs in _belongings(plan).items():
            self._belonged.setdefault(address, set()).add(belongs)
        self._translated |= _nat_addresses(plan)

    def _detach(self, interface_ids: set[str]) -> None:
        known = interface_ids & self._attached.keys()
        self.namespace.netlink.do(*(delete_link(self._attached[one]) for one in known))
        for one in known:
            del self._attached[one]


def _mac_beyond(vpc_id: str, peer: Peer) -> str:
    """The MAC address of a peer's end of the link: the VPC whose id sorts first has made it (see `join`)."""
    return uplink.INNER_MAC if vpc_id < peer.vpc_id else uplink.OUTER_MAC


def _nat_addresses(plan: VpcPlan) -> set[str]:
    """At which what goes through NAT gateways is seen beyond them."""
    return {at.seen for nat in plan.nat_gateways for at in nat.addresses}


def _private_ips(interface: NetworkInterface) -> set[str]:
    return {address.private_ip for address in interface.addresses}


def _belongings(plan: VpcPlan) -> dict[str, _Belonging]:
    """For each private address, its interface and the public address that it is translated to."""
    return {at.private_ip: (one.id, at.public_ip) for one in plan.interfaces for at in one.addresses}


def _lead(index: int, interface: NetworkInterface, addresses: set[str]) -> list[Message]:
    """Routes these addresses to the interface's link, with its MAC as a fixed neighbour."""
    return [
        request
        for address in sorted(addresses)
        for request in (set_neighbour(index, address, interface.mac), set_route(_route_to(address, index)))
    ]


def _route_to(address: str, index: int) -> KernelRoute:
    return KernelRoute(f"{address}/32", link=index, table=SERVERS)
