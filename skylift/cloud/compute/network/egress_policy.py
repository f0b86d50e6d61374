"""What servers may reach besides the internet, as elements of nft sets. Pure, but for `current_policy`.

AWS's internet gateway drops packets to private, link-local and shared addresses. Here such packets would leave through
the host, which is somebody's machine in somebody's network: its LAN, its VPN and its containers. So servers reach none
of these ranges and no address of the host's own, whatever range it is in, except for openings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, collapse_addresses

from skylift.cloud.compute.network.netlink import Netlink
from skylift.cloud.domain.opening import NEVER_OPEN, Opening

CLOSED = (
    *NEVER_OPEN,
    IPv4Network("10.0.0.0/8"),
    IPv4Network("172.16.0.0/12"),
    IPv4Network("192.168.0.0/16"),
    # Shared: carriers' NAT, and many VPNs.
    IPv4Network("100.64.0.0/10"),
    # Of protocols (RFC 6890), and of test benches (RFC 2544).
    IPv4Network("192.0.0.0/24"),
    IPv4Network("198.18.0.0/15"),
    # A virtual machine's own host, in Azure.
    IPv4Network("168.63.129.16/32"),
)
"""These ranges are closed on every machine. The documentation ranges (RFC 5737) are open, because there are no hosts in
them to protect. If the machine has a route to one, it is closed as one of the machine's networks.
"""

HALF = 1 << 31
"""A link whose routes cover half of all addresses leads to the internet (a VPN, for example), not to a network."""

SETS = """\
  set closed {
    type ipv4_addr
    flags interval
  }
  set own {
    type ipv4_addr
  }
  set opened {
    type ipv4_addr
    flags interval
  }
  set opened_ports {
    type ipv4_addr . inet_proto . inet_service
    flags interval
  }
  set opened_exactly {
    type ipv4_addr . inet_proto . inet_service
  }
"""


@dataclass(frozen=True)
class EgressPolicy:
    """`own` are the host's addresses, `networks` those that it has routes to."""

    own: frozenset[IPv4Address] = frozenset()
    networks: tuple[IPv4Network, ...] = ()
    openings: tuple[Opening, ...] = ()

    @property
    def closed(self) -> list[IPv4Network]:
        return list(collapse_addresses([*CLOSED, *self.networks]))

    def is_closed(self, address: IPv4Address) -> bool:
        """Whether it takes an opening to reach this address."""
        return address in self.own or any(address in network for network in self.closed)

    def elements(self) -> Mapping[str, list[str]]:
        """The elements of each set. One address at one port is open even if it is the host's own: a proxy or an index
        on it."""
        alone = [one for one in self.openings if one.port is not None and one.network.num_addresses == 1]
        ports = [one for one in self.openings if one.port is not None and one.network.num_addresses > 1]
        whole = [one.network for one in self.openings if one.port is None]
        return {
            "closed": sorted(map(str, self.closed)),
            "own": sorted(map(str, self.own)),
            "opened": sorted(str(network) for network in collapse_addresses(whole)),
            "opened_ports": sorted(f"{one.network} . {one.protocol} . {one.port}" for one in _without_overlap(ports)),
            "opened_exactly": sorted({f"{one.network[0]} . {one.protocol} . {one.port}" for one in alone}),
        }

    def fill(self, table: str) -> str:
        """The script that makes these the elements of the sets of a table (`FAMILY NAME`), in one step."""
        lines = []
        for name, elements in self.elements().items():
            lines.append(f"flush set {table} {name}")
            if elements:
                lines.append(f"add element {table} {name} {{ {', '.join(elements)} }}")
        return "".join(f"{line}\n" for line in lines)


def rules(refuse: str, own: str = "") -> list[str]:
    """The rules of a chain that every packet on its way out passes. They end with `return` for packets that may go.

    `refuse` is the verdict; `own` matches packets for the host itself, in addition to its known addresses.
    """
    return [
        "ip daddr . meta l4proto . th dport @opened_exactly return",
        f"ip daddr @own {refuse}",
        *([f"{own} {refuse}"] if own else []),
        "ip daddr . meta l4proto . th dport @opened_ports return",
        "ip daddr @opened return",
        f"ip daddr @closed {refuse}",
    ]


def current_policy(netlink: Netlink, openings: tuple[Opening, ...] = ()) -> EgressPolicy:
    """The surroundings of the network namespace of this netlink socket at this moment."""
    own, routed = netlink.own_addresses(), netlink.routed_networks()
    return EgressPolicy(
        own=frozenset(address.ip for address, _ in own),
        networks=local_networks([*((address.network, link) for address, link in own), *routed]),
        openings=openings,
    )


def local_networks(routed: Iterable[tuple[IPv4Network, int]]) -> tuple[IPv4Network, ...]:
    """The networks that a machine has specific routes to, each by a link, without links that lead to most of the
    internet."""
    by_link: dict[int, list[IPv4Network]] = {}
    for network, link in routed:
        by_link.setdefault(link, []).append(network)
    found: list[IPv4Network] = []
    for networks in by_link.values():
        together = list(collapse_addresses(networks))
        if sum(one.num_addresses for one in together) < HALF:
            found += together
    return tuple(collapse_addresses(found))


def _without_overlap(openings: Iterable[Opening]) -> list[Opening]:
    """nft takes no two intervals that overlap."""
    kept: list[Opening] = []
    for one in sorted(openings, key=lambda opening: opening.network.prefixlen):
        same = [each for each in kept if (each.port, each.protocol) == (one.port, one.protocol)]
        if not any(one.network.subnet_of(each.network) for each in same):
            kept.append(one)
    return kept
