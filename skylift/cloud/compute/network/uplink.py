"""The uplink: the namespace between the host, the internet and the routers of a cloud's VPCs.

It is to a cloud what the internet is to AWS: it knows public addresses only. Links to it from routers carry public
addresses on both ends of every packet, because the routers have translated theirs.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from skylift.cloud.compute.network import egress_policy, pasta
from skylift.cloud.compute.network.egress_policy import EgressPolicy
from skylift.cloud.compute.network.error import NetworkError
from skylift.cloud.compute.network.firewall import TABLE
from skylift.cloud.compute.network.loopback_range import LoopbackRange
from skylift.cloud.compute.network.namespace import Namespace
from skylift.cloud.compute.network.netlink import (
    LOOPBACK_INDEX,
    KernelRoute,
    add_address,
    delete_route,
    link_up,
    narrow_loopback,
    set_neighbour,
    set_route,
)
from skylift.cloud.compute.network.traffic import link_name
from skylift.cloud.domain.upstream import FORWARDER

log = logging.getLogger(__name__)

HOST_LINK = "host"
# Every link of the uplink joins exactly two ends, so the same two addresses serve on each of them. Neighbours are set,
# not asked for: nothing waits for ARP, and nothing can lie in it.
INNER_ADDRESS = "169.254.1.1"
INNER_MAC = "02:00:00:00:00:01"
OUTER_ADDRESS = "169.254.1.2"
OUTER_MAC = "02:00:00:00:00:02"

# In namespaces that only route. The reverse-path check is off because each of them checks sources itself, in nft.
ROUTER_SETTINGS = {
    "ipv4/ip_forward": "1",
    "ipv4/conf/all/route_localnet": "1",
    "ipv4/conf/all/rp_filter": "0",
    "ipv4/conf/default/rp_filter": "0",
    "ipv4/conf/all/send_redirects": "0",
    "ipv4/conf/default/send_redirects": "0",
    "ipv4/conf/all/accept_redirects": "0",
    "ipv4/conf/default/accept_redirects": "0",
    "ipv6/conf/all/disable_ipv6": "1",
    "ipv6/conf/default/disable_ipv6": "1",
}


def uplink_name(loopback: LoopbackRange) -> str:
    return f"{loopback.prefix}edge"


def router_link(vpc_id: str) -> str:
    """The uplink's end of the link to a VPC's router."""
    return link_name(vpc_id, "v")


# The kernel's default, without the limit on `destination unreachable`: a refusal is answered at once, each time. Only
# the uplink answers so, and only to servers.
REFUSAL_SETTINGS = {"ipv4/icmp_ratemask": "6160"}

REFUSE = "reject with icmpx type admin-prohibited"
"""AWS drops such packets. An immediate error, `No route to host`, saves the client a timeout."""


def ruleset(loopback: LoopbackRange, connections: int) -> str:
    """Who may talk to whom by public addresses: the host to servers, servers to each other and to the internet.

    Every packet that leaves passes `outward`, also on a known connection: a newly closed address is closed at once.
    `EgressPolicy.fill` fills its sets. `counted` limits the new connections in pasta.LINGER seconds. It drops the
    others, so that their senders retry with growing pauses. Traffic between servers is not tracked: it could fill the
    table, and so block all VPCs.
    """
    outward = "\n    ".join(egress_policy.rules(REFUSE))
    return f"""\
table inet {TABLE}
delete table inet {TABLE}
table inet {TABLE} {{
{egress_policy.SETS}  set recent {{
    type ipv4_addr . inet_proto . inet_service . ipv4_addr . inet_service
    size {connections}
    flags dynamic,timeout
    timeout {pasta.LINGER}s
  }}
  chain outward {{
    {outward}
  }}
  chain counted {{
    meta l4proto {{ tcp, udp }} add @recent {{ ip saddr . meta l4proto . th sport . ip daddr . th dport }} accept
    meta l4proto icmp accept
  }}
  chain between_servers {{
    type filter hook prerouting priority raw; policy accept;
    iifname "v*" ip daddr {loopback.addresses} ip daddr != {loopback.host_address} notrack
  }}
  chain from_carrier {{
    type nat hook prerouting priority dstnat; policy accept;
    iifname "{HOST_LINK}" dnat ip prefix to ip daddr map {{ {loopback.carrier} : {loopback.addresses} }}
  }}
  chain local {{
    type filter hook input priority filter; policy drop;
    iifname "lo" accept
    ct state established,related accept
    iifname "v*" ip saddr {loopback.addresses} ip daddr {FORWARDER} tcp dport >= 1024 accept
  }}
  chain forward {{
    type filter hook forward priority filter; policy drop;
    oifname "{pasta.LINK}" jump outward
    ct state vmap {{ invalid : drop, established : accept, related : accept }}
    iifname "{HOST_LINK}" ip saddr {loopback.host_address} oifname "v*" accept
    iifname "v*" ip saddr {loopback.addresses} oifname "v*" accept
    iifname "v*" ip saddr {loopback.addresses} oifname "{pasta.LINK}" jump counted
  }}
  chain as_edge {{
    type nat hook postrouting priority srcnat; policy accept;
    oifname "{pasta.LINK}" masquerade
  }}
}}
"""


class Uplink:
    """The open uplink of one cloud. `public` is what it routes: VPC by public address."""

    def __init__(self, loopback: LoopbackRange, namespace: Namespace) -> None:
        self._loopback = loopback
        self.namespace = namespace
        self._routes: dict[str, KernelRoute] | None = None

    def configure(self, policy: EgressPolicy) -> None:
        """Everything but the links to routers. Idempotent."""
        netlink = self.namespace.netlink
        self.namespace.write_settings({**ROUTER_SETTINGS, **REFUSAL_SETTINGS})
        self.namespace.load(ruleset(self._loopback, pasta.share_of_connections()) + policy.fill(f"inet {TABLE}"))
        netlink.do(*narrow_loopback(), add_address(LOOPBACK_INDEX, FORWARDER, 32))
        # A packet to an unassigned public address is not forwarded.
        netlink.do(
            set_route(KernelRoute(str(self._loopback.addresses), "unreachable")),
            set_route(KernelRoute("127.0.0.0/8", "blackhole")),
            set_route(KernelRoute("169.254.0.0/16", "blackhole")),
            set_route(KernelRoute("0.0.0.0/8", "blackhole")),
            set_route(KernelRoute("224.0.0.0/3", "blackhole")),
        )

    def keep(self) -> bool:
        """Whether its rules and the host's link are there. Its name is, afterwards."""
        return self.namespace.keeps(HOST_LINK)

    def close_off(self, policy: EgressPolicy) -> None:
        """Refuse servers these networks from now on, except for the openings."""
        self.namespace.load(policy.fill(f"inet {TABLE}"))

    def connect_host(self) -> None:
        index = self.namespace.netlink.link(HOST_LINK)
        host = str(self._loopback.host_address)
        self.namespace.netlink.do(
            link_up(index),
            add_address(index, INNER_ADDRESS, 32),
            set_neighbour(index, OUTER_ADDRESS, OUTER_MAC),
            set_route(KernelRoute(f"{host}/32", link=index, via=OUTER_ADDRESS)),
        )

    def connect_router(self, vpc_id: str) -> None:
        """Dress the end of a router's link that the router has put here."""
        index = self.router_index(vpc_id)
        self.namespace.netlink.do(
            link_up(index), add_address(index, INNER_ADDRESS, 32), set_neighbour(index, OUTER_ADDRESS, OUTER_MAC)
        )

    def start_pasta(self) -> str | None:
        """Starts pasta unless it runs and has its link. Returns its error if it fails: servers then lack the internet,
        and nothing else."""
        if pasta.running(self._loopback):
            if self.namespace.netlink.is_up(pasta.LINK):
                return None
            pasta.stop(self._loopback)
        try:
            pasta.start(self._loopback, self.namespace)
        except NetworkError as error:
            log.warning("servers cannot reach the internet: %s", error)
            return str(error)
        return None

    def look_anew(self) -> None:
        """Its routes may not be what they were: the next time they are asked for."""
        self._routes = None

    def route(self, public: Mapping[str, int]) -> None:
        """Route public addresses (address -> index of the link to their VPC's router), and no others."""
        if self._routes is None:
            self._routes = {
                known.target: known
                for known in self.namespace.netlink.routes()
                if known.via == OUTER_ADDRESS and known.target != f"{self._loopback.host_address}/32"
            }
        wanted = {
            f"{address}/32": KernelRoute(f"{address}/32", link=index, via=OUTER_ADDRESS)
            for address, index in public.items()
        }
        self._change(
            gone=[route for target, route in self._routes.items() if target not in wanted],
            new=[route for target, route in wanted.items() if self._routes.get(target) != route],
        )
        self._routes = wanted

    def _change(self, gone: Iterable[KernelRoute], new: Iterable[KernelRoute]) -> None:
        self.namespace.netlink.do(*map(delete_route, gone), *map(set_route, new))

    def router_index(self, vpc_id: str) -> int:
        """The index of the uplink's end of the link to a VPC's router."""
        return self.namespace.netlink.link(router_link(vpc_id))
