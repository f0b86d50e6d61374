"""Requests to the kernel about links, addresses, routes, rules and neighbours.

A request is a value, built by a pure function and sent by `Netlink`, many in one system call. pyroute2 is the codec:
its own sockets belong to an event loop and a thread, and open again in whatever namespace another thread is in.
"""

from __future__ import annotations

import errno
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv4Network
from typing import Any

from pyroute2 import netns
from pyroute2.netlink import NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST
from pyroute2.netlink.rtnl import (
    RTM_DELADDR,
    RTM_DELLINK,
    RTM_DELROUTE,
    RTM_DELRULE,
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_GETROUTE,
    RTM_GETRULE,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWNEIGH,
    RTM_NEWROUTE,
    RTM_NEWRULE,
)
from pyroute2.netlink.rtnl.fibmsg import fibmsg
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from skylift.cloud.compute.network_error import NetlinkRefused, NotPermitted

NAMESPACES = "/run/netns"
MAIN = 254
LOOPBACK_INDEX = 1
DEFAULT_ROUTE = str(IPv4Network("0.0.0.0/0").network_address)

# linux/netlink.h, linux/rtnetlink.h, linux/if.h, linux/neighbour.h
SOL_NETLINK = 270
NETLINK_CAP_ACK = 10
NETLINK_EXT_ACK = 11
NLMSG_ERROR = 2
NLMSG_DONE = 3
NLMSGERR_ATTR_MSG = 1
IFF_UP = 1
NUD_PERMANENT = 0x80
RTPROT_STATIC = 4
RT_SCOPE_UNIVERSE = 0
RT_SCOPE_LINK = 253
RT_SCOPE_HOST = 254
RTNH_F_ONLINK = 4
RTEXT_FILTER_SKIP_STATS = 8
FR_ACT_TO_TBL = 1
ROUTE_TYPES = {"unicast": 1, "blackhole": 6, "unreachable": 7, "throw": 9}
_ROUTE_TYPE_NAMES = {number: name for name, number in ROUTE_TYPES.items()}

_HEADER = struct.Struct("=IHHII")


@dataclass(frozen=True)
class Request:
    """One netlink message; `said` names it in errors, `fine` are the errnos that mean it need not be done."""

    said: str
    kind: int
    flags: int
    message: Any = field(compare=False)
    fine: frozenset[int] = frozenset()


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
class MarkRule:
    """Packets with this mark look into this table."""

    mark: int
    table: int
    priority: int = 1000


@dataclass(frozen=True)
class SourceRule:
    """Packets that carry this source address look into this table."""

    source: str
    table: int
    priority: int = 1000


@dataclass(frozen=True)
class LinkAddress:
    address: str
    label: str


def add_veth(
    name: str,
    *,
    mtu: int,
    peer: str,
    peer_namespace: int,
    mac: str | None = None,
    peer_mac: str | None = None,
) -> Request:
    """A pair of links, both down (veth refuses to be made up): `peer` in the namespace of the file descriptor."""
    here = [("IFLA_IFNAME", name), ("IFLA_MTU", mtu), ("IFLA_ADDRESS", mac)]
    there = [
        ("IFLA_IFNAME", peer),
        ("IFLA_MTU", mtu),
        ("IFLA_ADDRESS", peer_mac),
        ("IFLA_NET_NS_FD", peer_namespace),
    ]
    veth = {"attrs": [("VETH_INFO_PEER", {"attrs": _given(there)})]}
    kind = {"attrs": [("IFLA_INFO_KIND", "veth"), ("IFLA_INFO_DATA", veth)]}
    message = _link_message([*_given(here), ("IFLA_LINKINFO", kind)])
    return Request(f"create link {name}", RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, message)


def delete_link(name: str) -> Request:
    message = _link_message([("IFLA_IFNAME", name)])
    return Request(f"delete link {name}", RTM_DELLINK, 0, message, frozenset({errno.ENODEV}))


def link_up(index: int, alias: str | None = None) -> Request:
    """`alias` is a name of any length, up to 255 bytes, that the link can be told by."""
    message = _link_message(_given([("IFLA_IFALIAS", alias)]), up=True)
    message["index"] = index
    return Request(f"set link {index} up", RTM_NEWLINK, 0, message)


def add_address(
    index: int, address: str, prefix: int, *, broadcast: str | None = None, label: str | None = None
) -> Request:
    """`label` begins with the link's name and a colon."""
    message = _address_message(index, address, prefix)
    message["attrs"] += _given([("IFA_BROADCAST", broadcast), ("IFA_LABEL", label)])
    said = f"add address {address}/{prefix}"
    return Request(said, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, message, frozenset({errno.EEXIST}))


def delete_address(index: int, address: str, prefix: int) -> Request:
    message = _address_message(index, address, prefix)
    return Request(f"delete address {address}/{prefix}", RTM_DELADDR, 0, message, frozenset({errno.EADDRNOTAVAIL}))


def narrow_loopback() -> tuple[Request, ...]:
    """Loopback up, with 127.0.0.0/16 in place of all of 127.0.0.0/8 that the kernel gives it: the rest is routable."""
    return (
        link_up(LOOPBACK_INDEX),
        add_address(LOOPBACK_INDEX, "127.0.0.1", 16),
        delete_address(LOOPBACK_INDEX, "127.0.0.1", 8),
    )


def set_route(route: KernelRoute) -> Request:
    return Request(f"set route {route.target}", RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, _route_message(route))


def delete_route(route: KernelRoute) -> Request:
    message = _route_message(route)
    return Request(f"delete route {route.target}", RTM_DELROUTE, 0, message, frozenset({errno.ESRCH, errno.ENODEV}))


def add_rule(rule: MarkRule) -> Request:
    said = f"add rule mark {rule.mark:#x}"
    return Request(said, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, _rule_message(rule), frozenset({errno.EEXIST}))


def delete_rule(rule: MarkRule) -> Request:
    message = _rule_message(rule)
    return Request(f"delete rule mark {rule.mark:#x}", RTM_DELRULE, 0, message, frozenset({errno.ENOENT}))


def add_source_rule(rule: SourceRule) -> Request:
    said = f"add rule from {rule.source}"
    return Request(said, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, _source_message(rule), frozenset({errno.EEXIST}))


def delete_source_rule(rule: SourceRule) -> Request:
    said = f"delete rule from {rule.source}"
    return Request(said, RTM_DELRULE, 0, _source_message(rule), frozenset({errno.ENOENT}))


def set_neighbour(index: int, address: str, mac: str) -> Request:
    message = _blank(ndmsg)
    message["family"] = socket.AF_INET
    message["ifindex"] = index
    message["state"] = NUD_PERMANENT
    message["attrs"] = [("NDA_DST", address), ("NDA_LLADDR", mac)]
    return Request(f"set neighbour {address}", RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, message)


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

    def do(self, *requests: Request) -> None:
        """Send the requests together; the first that the kernel refuses is the error, later ones may have been done."""
        if not requests:
            return
        with self._lock:
            first = self._sequence + 1
            self._sequence += len(requests)
            packets = [
                self._encode(request.kind, NLM_F_ACK | request.flags, request.message, first + position)
                for position, request in enumerate(requests)
            ]
            self._socket.send(b"".join(packets))
            refused: NetlinkRefused | None = None
            for _ in requests:
                sequence, code, detail = self._acknowledgement()
                request = requests[sequence - first]
                if code and code not in request.fine and refused is None:
                    refused = NetlinkRefused(request.said, code, detail)
        if refused is not None:
            if refused.code == errno.EPERM:
                raise NotPermitted(f"{refused}; the cloud needs root with CAP_NET_ADMIN") from refused
            raise refused

    def link_index(self, name: str) -> int | None:
        """The index of a link by name; None when there is none."""
        message = _link_message([("IFLA_IFNAME", name), ("IFLA_EXT_MASK", RTEXT_FILTER_SKIP_STATS)])
        with self._lock:
            self._sequence += 1
            self._socket.send(self._encode(RTM_GETLINK, 0, message, self._sequence))
            kind, _, payload = next(self._messages())
        if kind != NLMSG_ERROR:
            return int(struct.unpack_from("=i", payload, 4)[0])
        code = -struct.unpack_from("=i", payload)[0]
        if code == errno.ENODEV:
            return None
        raise NetlinkRefused(f"look up link {name}", code)

    def links(self) -> list[Link]:
        message = _link_message([("IFLA_EXT_MASK", RTEXT_FILTER_SKIP_STATS)])
        found = []
        for decoded in self._dump(RTM_GETLINK, message, ifinfmsg):
            alias = decoded.get_attr("IFLA_IFALIAS") or ""
            found.append(Link(decoded["index"], decoded.get_attr("IFLA_IFNAME"), alias))
        return found

    def routes(self) -> list[KernelRoute]:
        """Our own kind of routes (static, IPv4) in every table."""
        message = _blank(rtmsg)
        message["family"] = socket.AF_INET
        found = []
        for decoded in self._dump(RTM_GETROUTE, message, rtmsg):
            kind = _ROUTE_TYPE_NAMES.get(decoded["type"])
            if kind is None or decoded["proto"] != RTPROT_STATIC:
                continue
            target = f"{decoded.get_attr('RTA_DST') or DEFAULT_ROUTE}/{decoded['dst_len']}"
            link = decoded.get_attr("RTA_OIF") if kind == "unicast" else None
            table = decoded.get_attr("RTA_TABLE") or decoded["table"]
            metric = decoded.get_attr("RTA_PRIORITY") or 0
            found.append(KernelRoute(target, kind, link, decoded.get_attr("RTA_GATEWAY"), table, metric))
        return found

    def addresses(self, index: int) -> list[LinkAddress]:
        """The IPv4 addresses of a link."""
        message = _blank(ifaddrmsg)
        message["family"] = socket.AF_INET
        return [
            LinkAddress(decoded.get_attr("IFA_LOCAL"), decoded.get_attr("IFA_LABEL") or "")
            for decoded in self._dump(RTM_GETADDR, message, ifaddrmsg)
            if decoded["index"] == index
        ]

    def own_addresses(self) -> list[tuple[IPv4Interface, int]]:
        """Every IPv4 address of the namespace with the network that it is in, and its link's index."""
        message = _blank(ifaddrmsg)
        message["family"] = socket.AF_INET
        found = []
        for decoded in self._dump(RTM_GETADDR, message, ifaddrmsg):
            local, peer = decoded.get_attr("IFA_LOCAL"), decoded.get_attr("IFA_ADDRESS")
            # On a link to one peer the network is the peer's, and has a route.
            length = decoded["prefixlen"] if local == peer else 32
            found.append((IPv4Interface(f"{local}/{length}"), decoded["index"]))
        return found

    def routed_networks(self) -> list[tuple[IPv4Network, int]]:
        """What routes of every table lead to, whoever made them, and the index of the link; default routes left out."""
        message = _blank(rtmsg)
        message["family"] = socket.AF_INET
        return [
            (IPv4Network(f"{decoded.get_attr('RTA_DST')}/{decoded['dst_len']}"), decoded.get_attr("RTA_OIF") or 0)
            for decoded in self._dump(RTM_GETROUTE, message, rtmsg)
            if decoded["type"] == ROUTE_TYPES["unicast"] and decoded["dst_len"]
        ]

    def source_rules(self) -> list[SourceRule]:
        """Those of our own kind: for one address."""
        message = _blank(fibmsg)
        message["family"] = socket.AF_INET
        found = []
        for decoded in self._dump(RTM_GETRULE, message, fibmsg):
            source = decoded.get_attr("FRA_SRC")
            if source and decoded["src_len"] == 32:
                found.append(SourceRule(source, decoded.get_attr("FRA_TABLE"), decoded.get_attr("FRA_PRIORITY") or 0))
        return found

    def mark_rules(self) -> list[MarkRule]:
        message = _blank(fibmsg)
        message["family"] = socket.AF_INET
        found = []
        for decoded in self._dump(RTM_GETRULE, message, fibmsg):
            mark = decoded.get_attr("FRA_FWMARK")
            if mark:
                found.append(MarkRule(mark, decoded.get_attr("FRA_TABLE"), decoded.get_attr("FRA_PRIORITY")))
        return found

    def _dump(self, kind: int, message: Any, shape: Callable[[bytes], Any]) -> list[Any]:
        with self._lock:
            self._sequence += 1
            self._socket.send(self._encode(kind, NLM_F_DUMP, message, self._sequence))
            raw = []
            for kind_of_part, whole, payload in self._messages():
                if kind_of_part == NLMSG_DONE:
                    break
                if kind_of_part == NLMSG_ERROR:
                    raise NetlinkRefused("list", -struct.unpack_from("=i", payload)[0])
                raw.append(whole)
        decoded = []
        for part in raw:
            one = shape(part)
            one.decode()
            decoded.append(one)
        return decoded

    def _encode(self, kind: int, flags: int, message: Any, sequence: int) -> bytes:
        message["header"] = {"type": kind, "flags": NLM_F_REQUEST | flags, "sequence_number": sequence, "pid": 0}
        message.reset()
        message.encode()
        encoded = bytes(message.data)
        return encoded + bytes(-len(encoded) % 4)

    def _acknowledgement(self) -> tuple[int, int, str]:
        while True:
            for kind, whole, payload in self._messages():
                if kind == NLMSG_ERROR:
                    sequence = _HEADER.unpack_from(whole)[3]
                    return sequence, -struct.unpack_from("=i", payload)[0], _extended_message(payload)

    def _messages(self) -> Iterator[tuple[int, bytes, bytes]]:
        """(type, whole message, payload) of what the kernel sends, until the caller has enough."""
        while True:
            data = self._socket.recv(1 << 18)
            offset = 0
            while offset < len(data):
                length, kind, *_ = _HEADER.unpack_from(data, offset)
                yield kind, data[offset : offset + length], data[offset + _HEADER.size : offset + length]
                offset += (length + 3) & ~3


def enter_namespace(descriptor: int) -> None:
    """Move the calling thread into a network namespace."""
    netns.setns(descriptor)


def name_namespace(name: str, process: str) -> None:
    """Give the network namespace of /proc/PROCESS a name in /run/netns, as `ip netns add` does."""
    netns.attach(name, process)


def unname_namespace(name: str) -> None:
    """The namespace ends once its last process and socket has."""
    netns.remove(name)


def _blank(shape: Callable[[], Any]) -> Any:
    """pyroute2 has no types; this is the one place that says so."""
    return shape()


def _given(attributes: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in attributes if value is not None]


def _link_message(attributes: list[tuple[str, Any]], *, up: bool = False) -> Any:
    message = _blank(ifinfmsg)
    if up:
        message["flags"] = message["change"] = IFF_UP
    message["attrs"] = attributes
    return message


def _address_message(index: int, address: str, prefix: int) -> Any:
    message = _blank(ifaddrmsg)
    message["family"] = socket.AF_INET
    message["index"] = index
    message["prefixlen"] = prefix
    message["scope"] = RT_SCOPE_HOST if index == LOOPBACK_INDEX else RT_SCOPE_UNIVERSE
    message["attrs"] = [("IFA_LOCAL", address), ("IFA_ADDRESS", address)]
    return message


def _route_message(route: KernelRoute) -> Any:
    network = IPv4Network(route.target)
    message = _blank(rtmsg)
    message["family"] = socket.AF_INET
    message["dst_len"] = network.prefixlen
    message["proto"] = RTPROT_STATIC
    message["type"] = ROUTE_TYPES[route.kind]
    direct = route.kind == "unicast" and route.via is None
    message["scope"] = RT_SCOPE_LINK if direct else RT_SCOPE_UNIVERSE
    message["attrs"] = [("RTA_DST", str(network.network_address)), ("RTA_TABLE", route.table)]
    if route.metric:
        message["attrs"].append(("RTA_PRIORITY", route.metric))
    if route.link is not None:
        message["attrs"].append(("RTA_OIF", route.link))
    if route.via is not None:
        message["flags"] = RTNH_F_ONLINK
        message["attrs"].append(("RTA_GATEWAY", route.via))
    return message


def _rule_message(rule: MarkRule) -> Any:
    message = _blank(fibmsg)
    message["family"] = socket.AF_INET
    message["action"] = FR_ACT_TO_TBL
    message["attrs"] = [("FRA_FWMARK", rule.mark), ("FRA_TABLE", rule.table), ("FRA_PRIORITY", rule.priority)]
    return message


def _source_message(rule: SourceRule) -> Any:
    message = _blank(fibmsg)
    message["family"] = socket.AF_INET
    message["action"] = FR_ACT_TO_TBL
    message["src_len"] = 32
    message["attrs"] = [("FRA_SRC", rule.source), ("FRA_TABLE", rule.table), ("FRA_PRIORITY", rule.priority)]
    return message


def _extended_message(payload: bytes) -> str:
    """The kernel's own words on a refusal: an attribute after the errno and the header it answers."""
    offset = 4 + _HEADER.size
    while offset + 4 <= len(payload):
        length, kind = struct.unpack_from("=HH", payload, offset)
        if length < 4:
            break
        if kind == NLMSGERR_ATTR_MSG:
            return payload[offset + 4 : offset + length].rstrip(b"\0").decode(errors="replace")
        offset += (length + 3) & ~3
    return ""
