"""Security groups, anti-spoofing and public addresses of one VPC as an nft ruleset. Pure: nothing is run here.

What a packet meets in a VPC's router, in this order:

    guard       the source address must be the sending interface's own; the packet is marked with its subnet, whose
                route table it then looks into; the next hop of a route to a NAT gateway is that gateway's address
                what a peered VPC's router sends has a source there, and no subnet's mark: it goes to servers alone
    inbound     from outside, a public address becomes the private address it belongs to
    local       to the router itself: DNS, metadata, the AWS endpoint and ping, nothing else
    border      network ACLs, where it leaves or enters a subnet (see network_acl.py)
    forward     known connections pass; new ones count against the sending interface's limit, as on AWS; its groups must
                let it out, and then, independently, the groups of the target's interface must let it in
    outbound    to outside, the private source becomes one of the NAT gateway's public addresses, or its own; a server
                with neither does not get out. To a peered VPC it becomes a private NAT gateway's, if one is on the way

Behaviour follows the Amazon VPC user guide, "Control traffic to your AWS resources using security groups": groups are
stateful, allow only, and are evaluated as one set of rules; a rule that names a group means the private addresses of
its interfaces; traffic to the DNS server, the metadata service and the router is not filtered by groups.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network

from skylift.cloud.compute.network.network_acl import NetworkAclRules
from skylift.cloud.compute.network.plan import VpcPlan
from skylift.cloud.compute.network.ruleset import Collection, Ruleset
from skylift.cloud.compute.network.traffic import (
    GATEWAY_MARK,
    OUTSIDE_MARK,
    gateway_table,
    peer_link,
    protocol_match,
    quoted,
    routed_interfaces,
    subnet_mark,
)
from skylift.cloud.domain.network import SERVICES, NatGateway, NetworkInterface, Rule, SecurityGroup, Subnet, Vpc

TABLE = "skylift"
UPLINK = "up"
METADATA = "169.254.169.254"
DNS = "169.254.169.253"
ENDPOINT = SERVICES
PART = 128
"""The kernel walks a whole count for each new connection, so an interface's count is split into parts of this size."""
_ID = re.compile(r"[a-z]+-[0-9a-z]{1,32}")


def gateway(subnet: Subnet) -> IPv4Address:
    """The router's address in a subnet: its second."""
    return IPv4Network(subnet.cidr)[1]


def dns_address(vpc: Vpc) -> IPv4Address:
    """The VPC's own DNS server: the third address of its range."""
    return IPv4Network(vpc.cidr)[2]


def vpc_ruleset(plan: VpcPlan, connections: int) -> Ruleset:
    """The table of the VPC's router. `connections` are the most that one interface may have begun."""
    return _VpcRuleset(plan, connections).whole()


class _VpcRuleset:
    def __init__(self, plan: VpcPlan, connections: int) -> None:
        self._parts = max(connections // PART, 1)
        self._bounded = f"ct state new add @begun {{ iifname . symhash mod {self._parts} ct count over {PART} }} drop"
        self._vpc = plan.vpc
        self._subnets = {subnet.id: subnet for subnet in plan.subnets}
        self._groups = {group.id: group for group in plan.groups}
        self._interfaces = plan.interfaces
        self._nats = plan.nat_gateways
        self._peers = plan.peers
        self._network_acls = NetworkAclRules(plan, UPLINK)
        self._routed = routed_interfaces(plan)
        self._through_gateway = gateway_table(plan) is not None
        self._public = [
            (_ip(address.private_ip), _ip(address.public_ip))
            for interface in self._interfaces
            for address in interface.addresses
            if address.public_ip and plan.internet_gateway is not None
        ]
        acls, interfaces = (acl.id for acl in plan.acls), (interface.id for interface in self._interfaces)
        for known in (*self._groups, *acls, *interfaces, *(peer.id for peer in self._peers)):
            if not _ID.fullmatch(known):
                raise ValueError(f"not a resource id: {known!r}")

    def whole(self) -> Ruleset:
        return Ruleset(
            TABLE,
            {**self._addresses(), **self._dispatch(), **self._network_acls.collections()},
            {
                "let_in": (
                    f'oifname "{UPLINK}" accept',
                    *self._if_peered("oifname @peers accept"),
                    "oifname vmap @in_groups",
                ),
                **self._group_chains(),
                **self._network_acls.chains(),
                "guard": self._guard(),
                "inbound": self._inbound(),
                "local": self._local(),
                "forward": self._forward(),
                "outbound": self._outbound(),
            },
        )

    def _addresses(self) -> dict[str, Collection]:
        bound = [f"{quoted(one)} . {_ip(at.private_ip)}" for one in self._interfaces for at in one.addresses]
        unchecked = [quoted(one) for one in self._interfaces if not one.source_dest_check]
        marks = {quoted(one): f"{self._mark(one):#010x}" for one in self._interfaces}
        gateways = [str(gateway(subnet)) for subnet in self._subnets.values()]
        private = {public: private for private, public in self._public}
        public = dict(self._public)
        return {
            "begun": Collection.set(f"ifname . mark; flags dynamic; size {256 * self._parts}", ()),
            "bound": Collection.set("ifname . ipv4_addr", bound),
            "unchecked": Collection.set("ifname", unchecked),
            "peers": Collection.set("ifname", [f'"{peer_link(peer)}"' for peer in self._peers]),
            "subnet_of": Collection.map("ifname : mark", marks),
            "gateways": Collection.set("ipv4_addr", gateways),
            "private_of": Collection.map("ipv4_addr : ipv4_addr", private),
            "public_of": Collection.map("ipv4_addr : ipv4_addr", public),
            "translated": Collection.set("ipv4_addr", public),
            "nat_hops": Collection.set("ipv4_addr", [_ip(nat.private_ip) for nat in self._nats]),
            "nat_of": Collection.map(
                "ipv4_addr : ipv4_addr",
                {_ip(nat.private_ip): _ip(nat.sources[0]) for nat in self._nats if len(nat.sources) == 1},
            ),
            **{f"members-{group}": Collection.set("ipv4_addr", self._members(group)) for group in self._referenced()},
        }

    def _dispatch(self) -> dict[str, Collection]:
        return {
            f"{direction}_groups": Collection.map(
                "ifname : verdict",
                {
                    quoted(one): f"jump {_chain_name(direction, self._group_ids(one))}"
                    for one in self._interfaces
                    if self._group_ids(one)
                },
            )
            for direction in ("in", "out")
        }

    def _group_chains(self) -> dict[str, tuple[str, ...]]:
        """One chain a group and direction; one a combination of groups that some interface has."""
        chains = {}
        combinations = {ids for one in self._interfaces if len(ids := self._group_ids(one)) > 1}
        for direction, verdict in (("in", "accept"), ("out", "goto let_in")):
            for group in self._groups.values():
                chains[_chain_name(direction, (group.id,))] = tuple(self._matches(group, direction, verdict))
            for ids in sorted(combinations):
                chains[_chain_name(direction, ids)] = tuple(f"jump {_chain_name(direction, (one,))}" for one in ids)
        return chains

    def _matches(self, group: SecurityGroup, direction: str, verdict: str) -> list[str]:
        side = "saddr" if direction == "in" else "daddr"
        found = []
        for rule in group.rules:
            peer = self._peer(rule, side)
            if rule.egress == (direction == "out") and peer is not None:
                found.append(" ".join(part for part in (peer, protocol_match(rule), verdict) if part))
        return found

    def _peer(self, rule: Rule, side: str) -> str | None:
        """The match on the other end; None when no packet can match: IPv6, or a group that is not in this VPC."""
        if rule.cidr is not None:
            network = IPv4Network(rule.cidr, strict=False)
            return f"ip {side} {network}" if network.prefixlen else "meta nfproto ipv4"
        if rule.group_id in self._groups:
            return f"ip {side} @members-{rule.group_id}"
        return None

    def _guard(self) -> tuple[str, ...]:
        return (
            "type filter hook prerouting priority raw; policy drop;",
            'iifname "lo" accept',
            f'iifname "{UPLINK}" meta mark set {OUTSIDE_MARK:#010x}',
            *self._if_peered(f"iifname @peers meta mark set {OUTSIDE_MARK:#010x}"),
            *self._mark_incoming(),
            f'meta nfproto ipv4 iifname "{UPLINK}" accept',
            *(f'iifname "{peer_link(peer)}" ip saddr {{ {_networks(peer.cidrs)} }} accept' for peer in self._peers),
            "meta nfproto ipv4 meta mark set iifname map @subnet_of",
            "iifname . ip saddr @bound accept",
            "meta nfproto ipv4 iifname @unchecked accept",
        )

    def _mark_incoming(self) -> list[str]:
        """Replies to a NAT gateway are checked in the gateway's subnet, not in the subnet of the server behind it."""
        if not self._through_gateway:
            return []
        nats = _networks(at.public_ip for nat in self._nats for at in nat.addresses if at.public_ip)
        others = f"ip daddr != {{ {nats} }} " if nats else ""
        return [f'meta nfproto ipv4 iifname "{UPLINK}" {others}meta mark set {GATEWAY_MARK:#010x}']

    def _inbound(self) -> tuple[str, ...]:
        hook = "type nat hook prerouting priority dstnat; policy accept;"
        return (hook, f'iifname "{UPLINK}" dnat ip to ip daddr map @private_of')

    def _outbound(self) -> tuple[str, ...]:
        hook = "type nat hook postrouting priority srcnat; policy accept;"
        return (
            hook,
            *(_in_turn(nat) for nat in self._nats if len(nat.sources) > 1),
            f'oifname "{UPLINK}" snat ip to rt ip nexthop map @nat_of',
            *self._if_private_nat("oifname @peers snat ip to rt ip nexthop map @nat_of"),
            f'oifname "{UPLINK}" snat ip to ip saddr map @public_of',
        )

    def _local(self) -> tuple[str, ...]:
        """An interface without source check may forward packets for others, but must ask for metadata as itself."""
        return (
            "type filter hook input priority filter; policy drop;",
            'iifname "lo" accept',
            "iifname . ip saddr != @bound drop",
            "ct state established,related accept",
            self._bounded,
            f"ip daddr {{ {dns_address(self._vpc)}, {DNS} }} meta l4proto {{ tcp, udp }} th dport 53 accept",
            f"ip daddr {{ {METADATA}, {ENDPOINT} }} tcp dport 80 accept",
            "ip daddr @gateways icmp type echo-request accept",
        )

    def _forward(self) -> tuple[str, ...]:
        """A NAT gateway forwards connections from inside only, not answers to connections that came another way.

        Packets for other addresses reach a server only by a route to it; an interface with the source/destination check
        on does not accept them.
        """
        peered = "oifname != @peers " if self._peers else ""
        checked = f'oifname != "{UPLINK}" {peered}oifname != @unchecked oifname . ip daddr != @bound drop'
        return (
            "type filter hook forward priority filter; policy drop;",
            *([checked] if self._routed else []),
            f'oifname "{UPLINK}" rt ip nexthop @nat_hops ct direction reply drop',
            *self._if_private_nat("oifname @peers rt ip nexthop @nat_hops ct direction reply drop"),
            f'oifname "{UPLINK}" rt ip nexthop != @nat_hops ip saddr != @translated drop',
            "ct state vmap { invalid : drop, established : accept, related : accept }",
            f'iifname "{UPLINK}" goto let_in',
            *self._if_peered("iifname @peers goto let_in"),
            self._bounded,
            "iifname vmap @out_groups",
        )

    def _if_peered(self, rule: str) -> list[str]:
        return [rule] if self._peers else []

    def _if_private_nat(self, rule: str) -> list[str]:
        return [rule] if any(nat.connectivity == "private" for nat in self._nats) else []

    def _referenced(self) -> set[str]:
        named = {rule.group_id for group in self._groups.values() for rule in group.rules if rule.group_id}
        return named & self._groups.keys()

    def _members(self, group_id: str) -> list[str]:
        members = [one for one in self._interfaces if group_id in one.group_ids]
        return [_ip(address.private_ip) for one in members for address in one.addresses]

    def _group_ids(self, interface: NetworkInterface) -> tuple[str, ...]:
        return tuple(sorted({group for group in interface.group_ids if group in self._groups}))

    def _mark(self, interface: NetworkInterface) -> int:
        return subnet_mark(self._subnets[interface.subnet_id])


def _in_turn(nat: NatGateway) -> str:
    """Each new connection through a gateway of several addresses has the next one's."""
    link = f'"{UPLINK}"' if nat.connectivity == "public" else "@peers"
    turns = ", ".join(f"{number} : {_ip(source)}" for number, source in enumerate(nat.sources))
    return (
        f"oifname {link} rt ip nexthop {_ip(nat.private_ip)} "
        f"snat ip to numgen inc mod {len(nat.sources)} map {{ {turns} }}"
    )


def _chain_name(direction: str, group_ids: tuple[str, ...]) -> str:
    return f"{direction}-{'.'.join(group_ids)}"


def _networks(cidrs: Iterable[str]) -> str:
    return ", ".join(str(IPv4Network(cidr)) for cidr in cidrs)


@lru_cache(maxsize=16384)
def _ip(address: str | None) -> str:
    return str(IPv4Address(address or ""))
