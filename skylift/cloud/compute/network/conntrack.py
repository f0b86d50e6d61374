"""Known connections of a namespace, and how to forget an address's connections when the address changes hands.

Otherwise an ended server's connection would pass the firewall to the next server with its address, and packets for a
public address would still go to its previous server.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address

from skylift.cloud.compute.network import rtnetlink
from skylift.cloud.compute.network.error import NetlinkRefused
from skylift.cloud.compute.network.namespace import Namespace

# linux/netfilter/nfnetlink.h, linux/netfilter/nfnetlink_conntrack.h
NETLINK_NETFILTER = 12
CT_GET = (1 << 8) | 1
CT_DELETE = (1 << 8) | 2
CTA_TUPLE_ORIG = 1
CTA_TUPLE_REPLY = 2
CTA_TUPLE_IP = 1
CTA_IP_V4_SRC = 1
CTA_IP_V4_DST = 2
NLA_F_NESTED = 0x8000

_GENERAL = struct.pack("=BBH", socket.AF_INET, 0, 0)


def forget(namespace: Namespace, addresses: set[str]) -> int:
    """Forgets every connection that has one of these addresses at an end. Returns how many."""
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
    netlink.send(rtnetlink.packet(CT_GET, rtnetlink.NLM_F_DUMP, _GENERAL, 1))
    while True:
        for kind, _, payload in rtnetlink.messages(netlink.recv(1 << 18)):
            if kind == rtnetlink.NLMSG_DONE:
                return
            if kind == rtnetlink.NLMSG_ERROR:
                raise NetlinkRefused("list connections", rtnetlink.refusal(payload))
            given = rtnetlink.read_attributes(payload, len(_GENERAL))
            original, reply = given[CTA_TUPLE_ORIG], given[CTA_TUPLE_REPLY]
            yield original, _ends(original) | _ends(reply)


def _delete(netlink: socket.socket, original: bytes) -> None:
    netlink.send(
        rtnetlink.packet(
            CT_DELETE,
            rtnetlink.NLM_F_ACK,
            _GENERAL + rtnetlink.attributes({CTA_TUPLE_ORIG | NLA_F_NESTED: original}),
            2,
        )
    )
    for kind, _, payload in rtnetlink.messages(netlink.recv(1 << 18)):
        code = rtnetlink.refusal(payload) if kind == rtnetlink.NLMSG_ERROR else 0
        # It may have ended by itself in between.
        if code not in (0, errno.ENOENT):
            raise NetlinkRefused("forget a connection", code)


def _ends(direction: bytes) -> set[bytes]:
    addresses = rtnetlink.read_attributes(rtnetlink.read_attributes(direction)[CTA_TUPLE_IP])
    return {addresses[CTA_IP_V4_SRC], addresses[CTA_IP_V4_DST]}
