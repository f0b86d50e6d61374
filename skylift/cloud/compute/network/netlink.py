"""Requests to the kernel about links, addresses, routes, rules and neighbours.

A request is a value, built by a pure function and sent by `Netlink`, many in one system call.
"""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network

from skylift.cloud.compute.network import rtnetlink
from skylift.cloud.compute.network import rtnetlink as rt
from skylift.cloud.compute.network.error import KernelRefused, NetlinkRefused

NAMESPACES = "/run/netns"
MAIN = 254
LOOPBACK_INDEX = 1
DEFAULT_ROUTE = str(IPv4Network("0.0.0.0/0").network_address)

# linux/netlink.h, linux/rtnetlink.h, linux/if.h, linux/neighbour.h, linux/fib_rules.h
SOL_NETLINK = 270
NETLINK_CAP_ACK = 10
NETLINK_EXT_ACK = 11
NLMSGERR_ATTR_MSG = 1
IFF_UP = 1
IFF_NOARP = 0x80
IFA_F_NOPREFIXROUTE = 0x200
NUD_PERMANENT = 0x80
RTPROT_STATIC = 4
RT_SCOPE_UNIVERSE = 0
RT_SCOPE_LINK = 253
RT_SCOPE_HOST = 254
RTNH_F_ONLINK = 4
RTEXT_FILTER_SKIP_STATS = 8
FR_ACT_TO_TBL = 1
FIB_RULE_INVERT = 2
ROUTE_TYPES = {"unicast": 1, "blackhole": 6, "unreachable": 7, "throw": 9}
_ROUTE_TYPE_NAMES = {number: name for name, number in ROUTE_TYPES.items()}

_ALL_LINKS = rt.LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + rtnetlink.attributes(
    {rt.IFLA_EXT_MASK: RTEXT_FILTER_SKIP_STATS}
)
_ALL_ADDRESSES = rt.ADDRESS.pack(socket.AF_INET, 0, 0, 0, 0)
_ALL_ROUTES = rt.ROUTE.pack(socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)
_ALL_RULES = rt.RULE.pack(socket.AF_INET, 0, 0, 0, 0, 0, 0)


@dataclass(frozen=True)
class Message:
    """One netlink message; `said` names it in errors, `fine` are the errnos that mean it need not be done."""

    label: str
    kind: int
    flags: int
    message: bytes
    ignored: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Link:
    index: int
    name: str
    alias: str


@dataclass(frozen=True)
class KernelRoute:
    """A route as we set it: `via` without `link` cannot be; neither is given for blackhole, unreachable and throw."""

    target: str
    kind: str = "unicast"
    link: int | None = None
    via: str | None = None
    table: int = MAIN
    metric: int = 0


@dataclass(frozen=True)
class TableRule:
    """Packets with this mark, or from this source address, use this routing table. A rule has either, not both."""

    table: int
    mark: int | None = None
    source: str | None = None
    priority: int = 1000

    def __str__(self) -> str:
        return f"rule from {self.source}" if self.mark is None else f"rule mark {self.mark:#x}"


@dataclass(frozen=True)
class LinkAddress:
    address: str
    label: str


def add_veth(
    name: str, *, mtu: int, peer: str, peer_namespace: int, mac: str | None = None, peer_mac: str | None = None
) -> Message:
    """A pair of links, both down (veth refuses to be made up): `peer` in the namespace of the file descriptor."""
    there: rtnetlink.Given = {
        rt.IFLA_IFNAME: peer,
        rt.IFLA_MTU: mtu,
        rt.IFLA_ADDRESS: _mac(peer_mac),
        rt.IFLA_NET_NS_FD: peer_namespace,
    }
    kind: rtnetlink.Given = {
        rt.IFLA_INFO_KIND: "veth",
        rt.IFLA_INFO_DATA: rtnetlink.attributes({rt.VETH_INFO_PEER: _link(there)}),
    }
    here: rtnetlink.Given = {
        rt.IFLA_IFNAME: name,
        rt.IFLA_MTU: mtu,
        rt.IFLA_ADDRESS: _mac(mac),
        rt.IFLA_LINKINFO: rtnetlink.attributes(kind),
    }
    return Message(f"create link {name}", rt.RTM_NEWLINK, rt.NLM_F_CREATE | rt.NLM_F_EXCL, _link(here))


def delete_link(name: str) -> Message:
    return Message(f"delete link {name}", rt.RTM_DELLINK, 0, _link({rt.IFLA_IFNAME: name}), frozenset({errno.ENODEV}))


def link_up(index: int, alias: str | None = None, *, arp: bool = True) -> Message:
    """`alias` is a description of up to 255 bytes, which the kernel keeps with the link. Without `arp`, neighbours are
    only those that were set: the kernel asks for none, answers for none and learns none."""
    message = _link({rt.IFLA_IFALIAS: alias}, index=index, flags=IFF_UP | (0 if arp else IFF_NOARP))
    return Message(f"set link {index} up", rt.RTM_NEWLINK, 0, message)


def add_address(
    index: int, address: str, prefix: int, *, broadcast: str | None = None, label: str | None = None
) -> Message:
    """`label` begins with the link's name and a colon. An address brings no route to its network, but on loopback."""
    more = {
        rt.IFA_BROADCAST: _ipv4(broadcast),
        rt.IFA_LABEL: label,
        rt.IFA_FLAGS: None if index == LOOPBACK_INDEX else IFA_F_NOPREFIXROUTE,
    }
    message, label = _address(index, address, prefix, more), f"add address {address}/{prefix}"
    return Message(label, rt.RTM_NEWADDR, rt.NLM_F_CREATE | rt.NLM_F_EXCL, message, frozenset({errno.EEXIST}))


def delete_address(index: int, address: str, prefix: int) -> Message:
    message = _address(index, address, prefix, {})
    return Message(f"delete address {address}/{prefix}", rt.RTM_DELADDR, 0, message, frozenset({errno.EADDRNOTAVAIL}))


def narrow_loopback() -> tuple[Message, ...]:
    """Loopback up, with 127.0.0.0/16 in place of all of 127.0.0.0/8 that the kernel gives it: the rest is routable."""
    return (
        link_up(LOOPBACK_INDEX),
        add_address(LOOPBACK_INDEX, "127.0.0.1", 16),
        delete_address(LOOPBACK_INDEX, "127.0.0.1", 8),
    )


def set_route(route: KernelRoute) -> Message:
    return Message(f"set route {route.target}", rt.RTM_NEWROUTE, rt.NLM_F_CREATE | rt.NLM_F_REPLACE, _route(route))


def delete_route(route: KernelRoute) -> Message:
    ignored = frozenset({errno.ESRCH, errno.ENODEV})
    return Message(f"delete route {route.target}", rt.RTM_DELROUTE, 0, _route(route), ignored)


def add_rule(rule: TableRule) -> Message:
    flags = rt.NLM_F_CREATE | rt.NLM_F_EXCL
    return Message(f"add {rule}", rt.RTM_NEWRULE, flags, _table_rule(rule), frozenset({errno.EEXIST}))


def serve_marked(table: int, priority: int = 1001) -> list[Message]:
    """Packets that have a mark, and those that the namespace itself sends, look into this table."""
    place: rtnetlink.Given = {rt.FRA_TABLE: table, rt.FRA_PRIORITY: priority}
    marked = _rule({**place, rt.FRA_FWMARK: 0, rt.FRA_FWMASK: 0xFFFFFFFF}, flags=FIB_RULE_INVERT)
    kind, flags, there = rt.RTM_NEWRULE, rt.NLM_F_CREATE | rt.NLM_F_EXCL, frozenset({errno.EEXIST})
    rules = (marked, _rule({**place, rt.FRA_IIFNAME: "lo"}))
    return [Message(f"add rule to look into table {table}", kind, flags, rule, there) for rule in rules]


def delete_rule(rule: TableRule) -> Message:
    return Message(f"delete {rule}", rt.RTM_DELRULE, 0, _table_rule(rule), frozenset({errno.ENOENT}))


def set_neighbour(index: int, address: str, mac: str) -> Message:
    fixed = rt.NEIGHBOUR.pack(socket.AF_INET, index, NUD_PERMANENT, 0, 0)
    message = fixed + rtnetlink.attributes({rt.NDA_DST: _ipv4(address), rt.NDA_LLADDR: _mac(mac)})
    return Message(f"set neighbour {address}", rt.RTM_NEWNEIGH, rt.NLM_F_CREATE | rt.NLM_F_REPLACE, message)


class Netlink:
    """A route netlink socket of the namespace that the calling thread is in, usable from every thread."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.bind((0, 0))
        self._socket.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
        self._socket.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
        self._lock = threading.Lock()
        self._sequence = 0

    def close(self) -> None:
        self._socket.close()

    def do(self, *requests: Message) -> None:
        """Send the requests together; the first that the kernel refuses is the error, later ones may have been done."""
        if not requests:
            return
        with self._lock:
            first = self._sequence + 1
            self._sequence += len(requests)
            packets = [
                rtnetlink.packet(request.kind, rt.NLM_F_ACK | request.flags, request.message, first + position)
                for position, request in enumerate(requests)
            ]
            self._socket.send(b"".join(packets))
            refused: NetlinkRefused | None = None
            for _ in requests:
                sequence, code, detail = self._acknowledgement()
                request = requests[sequence - first]
                if code and code not in request.ignored and refused is None:
                    refused = NetlinkRefused(request.label, code, detail)
        if refused is not None:
            if refused.code == errno.EPERM:
                raise KernelRefused(f"{refused}; the cloud needs root with CAP_NET_ADMIN") from refused
            raise refused

    def link_index(self, name: str) -> int | None:
        """The index of a link by name; None if it does not exist."""
        found = self._found(name)
        return None if found is None else int(rt.LINK.unpack_from(found)[2])

    def is_up(self, name: str) -> bool:
        """Whether there is a link of this name that was set up."""
        found = self._found(name)
        return found is not None and bool(rt.LINK.unpack_from(found)[3] & IFF_UP)

    def _found(self, name: str) -> bytes | None:
        message = _link({rt.IFLA_IFNAME: name, rt.IFLA_EXT_MASK: RTEXT_FILTER_SKIP_STATS})
        with self._lock:
            self._sequence += 1
            self._socket.send(rtnetlink.packet(rt.RTM_GETLINK, 0, message, self._sequence))
            kind, _, payload = next(self._received())
        if kind != rt.NLMSG_ERROR:
            return payload
        code = rtnetlink.refusal(payload)
        if code == errno.ENODEV:
            return None
        raise NetlinkRefused(f"look up link {name}", code)

    def link(self, name: str) -> int:
        """The index of a link that has to be there. NetlinkRefused where it is not: others may have taken it away."""
        index = self.link_index(name)
        if index is None:
            raise NetlinkRefused(f"look up link {name}", errno.ENODEV)
        return index

    def links(self) -> list[Link]:
        found = []
        for payload in self._dump(rt.RTM_GETLINK, _ALL_LINKS):
            index, given = rt.LINK.unpack_from(payload)[2], rtnetlink.read_attributes(payload, rt.LINK.size)
            found.append(
                Link(
                    index,
                    rtnetlink.text_in(given, rt.IFLA_IFNAME) or "",
                    rtnetlink.text_in(given, rt.IFLA_IFALIAS) or "",
                )
            )
        return found

    def routes(self) -> list[KernelRoute]:
        """Our own kind of routes (static, IPv4) in every table."""
        found = []
        for payload in self._dump(rt.RTM_GETROUTE, _ALL_ROUTES):
            _, length, _, _, table, protocol, _, number, _ = rt.ROUTE.unpack_from(payload)
            given, kind = rtnetlink.read_attributes(payload, rt.ROUTE.size), _ROUTE_TYPE_NAMES.get(number)
            if kind is None or protocol != RTPROT_STATIC:
                continue
            found.append(
                KernelRoute(
                    target=f"{rtnetlink.address_in(given, rt.RTA_DST) or DEFAULT_ROUTE}/{length}",
                    kind=kind,
                    link=rtnetlink.number_in(given, rt.RTA_OIF) if kind == "unicast" else None,
                    via=rtnetlink.address_in(given, rt.RTA_GATEWAY),
                    table=rtnetlink.number_in(given, rt.RTA_TABLE) or table,
                    metric=rtnetlink.number_in(given, rt.RTA_PRIORITY) or 0,
                )
            )
        return found

    def addresses(self, index: int) -> list[LinkAddress]:
        """The IPv4 addresses of a link."""
        found = []
        for payload in self._dump(rt.RTM_GETADDR, _ALL_ADDRESSES):
            given = rtnetlink.read_attributes(payload, rt.ADDRESS.size)
            if rt.ADDRESS.unpack_from(payload)[4] == index:
                found.append(
                    LinkAddress(
                        rtnetlink.address_in(given, rt.IFA_LOCAL) or "", rtnetlink.text_in(given, rt.IFA_LABEL) or ""
                    )
                )
        return found

    def own_addresses(self) -> list[tuple[IPv4Interface, int]]:
        """Every IPv4 address of the namespace with the network that it is in, and its link's index."""
        found = []
        for payload in self._dump(rt.RTM_GETADDR, _ALL_ADDRESSES):
            _, prefix, _, _, index = rt.ADDRESS.unpack_from(payload)
            given = rtnetlink.read_attributes(payload, rt.ADDRESS.size)
            local, peer = rtnetlink.address_in(given, rt.IFA_LOCAL), rtnetlink.address_in(given, rt.IFA_ADDRESS)
            # On a link to one peer the network is the peer's, and has a route.
            found.append((IPv4Interface(f"{local}/{prefix if local == peer else 32}"), index))
        return found

    def routed_networks(self) -> list[tuple[IPv4Network, int]]:
        """The networks of all routes in all tables with the index of their link, without default routes."""
        found = []
        for payload in self._dump(rt.RTM_GETROUTE, _ALL_ROUTES):
            _, length, _, _, _, _, _, kind, _ = rt.ROUTE.unpack_from(payload)
            given = rtnetlink.read_attributes(payload, rt.ROUTE.size)
            if kind == ROUTE_TYPES["unicast"] and length:
                found.append(
                    (
                        IPv4Network(f"{rtnetlink.address_in(given, rt.RTA_DST)}/{length}"),
                        rtnetlink.number_in(given, rt.RTA_OIF) or 0,
                    )
                )
        return found

    def rules(self) -> list[TableRule]:
        """Our own rules, each for one mark or for one source address."""
        found = []
        for payload in self._dump(rt.RTM_GETRULE, _ALL_RULES):
            given, source_prefix = rtnetlink.read_attributes(payload, rt.RULE.size), rt.RULE.unpack_from(payload)[2]
            source = rtnetlink.address_in(given, rt.FRA_SRC) if source_prefix == 32 else None
            mark = None if source else rtnetlink.number_in(given, rt.FRA_FWMARK)
            if mark or source:
                table, priority = (
                    rtnetlink.number_in(given, rt.FRA_TABLE) or 0,
                    rtnetlink.number_in(given, rt.FRA_PRIORITY) or 0,
                )
                found.append(TableRule(table, mark, source, priority))
        return found

    def _dump(self, kind: int, message: bytes) -> list[bytes]:
        """The payload after the header of each part of the answer."""
        parts = []
        with self._lock:
            self._sequence += 1
            self._socket.send(rtnetlink.packet(kind, rt.NLM_F_DUMP, message, self._sequence))
            for kind_of_part, _, payload in self._received():
                if kind_of_part == rt.NLMSG_DONE:
                    break
                if kind_of_part == rt.NLMSG_ERROR:
                    raise NetlinkRefused("list", rtnetlink.refusal(payload))
                parts.append(payload)
        return parts

    def _acknowledgement(self) -> tuple[int, int, str]:
        """(sequence number of the request, errno, the kernel's words)."""
        return next(
            (sequence, rtnetlink.refusal(payload), _extended_message(payload))
            for kind, sequence, payload in self._received()
            if kind == rt.NLMSG_ERROR
        )

    def _received(self) -> Iterator[tuple[int, int, bytes]]:
        """The messages that the kernel sends, as `messages` has them, until the caller has enough."""
        while True:
            yield from rtnetlink.messages(self._socket.recv(1 << 18))


def _mac(address: str | None) -> bytes | None:
    return None if address is None else bytes.fromhex(address.replace(":", ""))


def _ipv4(address: str | None) -> bytes | None:
    return None if address is None else socket.inet_aton(address)


def _link(given: rtnetlink.Given, *, index: int = 0, flags: int = 0) -> bytes:
    """`flags` are set, and no others changed."""
    return rt.LINK.pack(socket.AF_UNSPEC, 0, index, flags, flags) + rtnetlink.attributes(given)


def _address(index: int, address: str, prefix: int, more: rtnetlink.Given) -> bytes:
    scope = RT_SCOPE_HOST if index == LOOPBACK_INDEX else RT_SCOPE_UNIVERSE
    fixed = rt.ADDRESS.pack(socket.AF_INET, prefix, 0, scope, index)
    return fixed + rtnetlink.attributes({rt.IFA_LOCAL: _ipv4(address), rt.IFA_ADDRESS: _ipv4(address), **more})


def _route(route: KernelRoute) -> bytes:
    network = IPv4Network(route.target)
    direct = route.kind == "unicast" and route.via is None
    scope = RT_SCOPE_LINK if direct else RT_SCOPE_UNIVERSE
    flags = RTNH_F_ONLINK if route.via is not None else 0
    # The table is an attribute: there are more tables than a byte can number.
    fixed = rt.ROUTE.pack(
        socket.AF_INET, network.prefixlen, 0, 0, 0, RTPROT_STATIC, scope, ROUTE_TYPES[route.kind], flags
    )
    return fixed + rtnetlink.attributes(
        {
            rt.RTA_DST: network.network_address.packed,
            rt.RTA_TABLE: route.table,
            rt.RTA_PRIORITY: route.metric or None,
            rt.RTA_OIF: route.link,
            rt.RTA_GATEWAY: _ipv4(route.via),
        }
    )


def _table_rule(rule: TableRule) -> bytes:
    given: rtnetlink.Given = {
        rt.FRA_FWMARK: rule.mark,
        rt.FRA_SRC: _ipv4(rule.source),
        rt.FRA_TABLE: rule.table,
        rt.FRA_PRIORITY: rule.priority,
    }
    return _rule(given, source_prefix=0 if rule.source is None else 32)


def _rule(given: rtnetlink.Given, source_prefix: int = 0, flags: int = 0) -> bytes:
    return rt.RULE.pack(socket.AF_INET, 0, source_prefix, 0, 0, FR_ACT_TO_TBL, flags) + rtnetlink.attributes(given)


def _extended_message(payload: bytes) -> str:
    """The kernel's own words on a refusal: an attribute after the errno and the header it answers."""
    return rtnetlink.text_in(rtnetlink.read_attributes(payload, 4 + rt.HEADER.size), NLMSGERR_ATTR_MSG) or ""
