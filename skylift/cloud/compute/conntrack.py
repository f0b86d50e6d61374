"""Known connections of a namespace, and how to forget those of an address that changes hands.

Without it a connection of an ended server would pass the firewall to the next server that gets its address, and packets
for a public address would follow it to where it was.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address

from skylift.cloud.compute.namespace import Namespace
from skylift.cloud.compute.network_error import NetlinkRefused

# linux/netfilter/nfnetlink.h, linux/netfilter/nfnetlink_conntrack.h
NETLINK_NETFILTER = 12
CT_GET = (1 << 8) | 1
CT_DELETE = (1 << 8) | 2
NLM_F_REQUEST = 1
NLM_F_ACK = 4
NLM_F_DUMP = 0x300
NLMSG_ERROR = 2
NLMSG_DONE = 3
CTA_TUPLE_ORIG = 1
CTA_TUPLE_REPLY = 2
CTA_TUPLE_IP = 1
CTA_IP_V4_SRC = 1
CTA_IP_V4_DST = 2
NLA_TYPE = 0x3FFF

_HEADER = struct.Struct("=IHHII")
_GENERAL = struct.pack("=BBH", socket.AF_INET, 0, 0)


def forget(namespace: Namespace, addresses: set[str]) -> int:
    """Forget every connection that has one of these addresses at an end. How many there were."""
    wanted = {IPv4Address(address).packed for address in addresses}

    def run() -> int:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER) as netlink:
            netlink.bind((0, 0))
            originals = [original for original, ends in _connections(netlink) if ends & wanted]
            for original in originals:
                _delete(netlink, original)
            return len(originals)

    return namespace.run(run)


def _connections(netlink: socket.socket) -> Iterator[tuple[bytes, set[bytes]]]:
    """(the original direction as the kernel encodes it, the addresses of both directions)."""
    netlink.send(_HEADER.pack(_HEADER.size + len(_GENERAL), CT_GET, NLM_F_REQUEST | NLM_F_DUMP, 1, 0) + _GENERAL)
    while True:
        for kind, payload in _messages(netlink):
            if kind == NLMSG_DONE:
                return
            if kind == NLMSG_ERROR:
                raise NetlinkRefused("list connections", -struct.unpack_from("=i", payload)[0])
            attributes = dict(_attributes(payload[len(_GENERAL) :]))
            original, reply = attributes[CTA_TUPLE_ORIG], attributes[CTA_TUPLE_REPLY]
            yield original, _ends(original) | _ends(reply)


def _delete(netlink: socket.socket, original: bytes) -> None:
    attribute = struct.pack("=HH", 4 + len(original), CTA_TUPLE_ORIG | 0x8000) + original
    length = _HEADER.size + len(_GENERAL) + len(attribute)
    netlink.send(_HEADER.pack(length, CT_DELETE, NLM_F_REQUEST | NLM_F_ACK, 2, 0) + _GENERAL + attribute)
    for kind, payload in _messages(netlink):
        code = -struct.unpack_from("=i", payload)[0] if kind == NLMSG_ERROR else 0
        # It may have ended by itself in between.
        if code not in (0, errno.ENOENT):
            raise NetlinkRefused("forget a connection", code)


def _ends(direction: bytes) -> set[bytes]:
    addresses = dict(_attributes(dict(_attributes(direction))[CTA_TUPLE_IP]))
    return {addresses[CTA_IP_V4_SRC], addresses[CTA_IP_V4_DST]}


def _messages(netlink: socket.socket) -> Iterator[tuple[int, bytes]]:
    data = netlink.recv(1 << 18)
    offset = 0
    while offset < len(data):
        length, kind, *_ = _HEADER.unpack_from(data, offset)
        yield kind, data[offset + _HEADER.size : offset + length]
        offset += (length + 3) & ~3


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        yield kind & NLA_TYPE, data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
