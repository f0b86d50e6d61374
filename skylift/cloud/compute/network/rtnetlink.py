"""The bytes of netlink(7) and rtnetlink(7): a message has a fixed part, by its kind, and attributes behind it.

Numbers are the kernel's: linux/netlink.h, linux/rtnetlink.h, linux/if_link.h, linux/veth.h, linux/if_addr.h,
linux/neighbour.h, linux/fib_rules.h. All are in the machine's byte order, but for addresses.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Mapping

NLM_F_REQUEST = 1
NLM_F_ACK = 4
NLM_F_DUMP = 0x300
NLM_F_REPLACE = 0x100
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400
NLMSG_ERROR = 2
NLMSG_DONE = 3

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWNEIGH = 28
RTM_NEWRULE, RTM_DELRULE, RTM_GETRULE = 32, 33, 34

IFLA_ADDRESS = 1
IFLA_IFNAME = 3
IFLA_MTU = 4
IFLA_LINKINFO = 18
IFLA_IFALIAS = 20
IFLA_NET_NS_FD = 28
IFLA_EXT_MASK = 29
IFLA_INFO_KIND = 1
IFLA_INFO_DATA = 2
VETH_INFO_PEER = 1
IFA_ADDRESS = 1
IFA_LOCAL = 2
IFA_LABEL = 3
IFA_BROADCAST = 4
IFA_FLAGS = 8
RTA_DST = 1
RTA_OIF = 4
RTA_GATEWAY = 5
RTA_PRIORITY = 6
RTA_TABLE = 15
NDA_DST = 1
NDA_LLADDR = 2
FRA_SRC = 2
FRA_IIFNAME = 3
FRA_PRIORITY = 6
FRA_FWMARK = 10
FRA_TABLE = 15
FRA_FWMASK = 16

HEADER = struct.Struct("=IHHII")
"""Length, type, flags, sequence number, port."""
LINK = struct.Struct("=BxHiII")
"""Family, device type, index, flags, which of these change."""
ADDRESS = struct.Struct("=BBBBI")
"""Family, prefix length, flags, scope, the link's index."""
ROUTE = struct.Struct("=BBBBBBBBI")
"""Family, length of the target's prefix, of the source's, TOS, table, protocol, scope, type, flags."""
NEIGHBOUR = struct.Struct("=BxxxiHBB")
"""Family, the link's index, state, flags, type."""
RULE = struct.Struct("=BBBBBxxBI")
"""Family, length of the target's prefix, of the source's, TOS, table, action, flags."""

Given = Mapping[int, bytes | str | int | None]
"""Attributes to be sent, by kind. Text gets a zero byte at its end, a number has 32 bits, and None is left out."""

_ATTRIBUTE = struct.Struct("=HH")
_NUMBER = struct.Struct("=I")
_KIND = 0x3FFF
"""An attribute's kind without its flags."""


def packet(kind: int, flags: int, message: bytes, sequence: int) -> bytes:
    """A request. Messages that `attributes` end are padded, as the next has to begin at a multiple of four."""
    return HEADER.pack(HEADER.size + len(message), kind, NLM_F_REQUEST | flags, sequence, 0) + message


def messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(type, sequence number, what follows the header) of each message that came together."""
    offset = 0
    while offset < len(data):
        length, kind, _, sequence, _ = HEADER.unpack_from(data, offset)
        yield kind, sequence, data[offset + HEADER.size : offset + length]
        offset += (length + 3) & ~3


def refusal(payload: bytes) -> int:
    """The errno in a message of type NLMSG_ERROR; 0 is an acknowledgement."""
    return -int(struct.unpack_from("=i", payload)[0])


def attributes(given: Given) -> bytes:
    return b"".join(_attribute(kind, content) for kind, content in given.items() if content is not None)


def read_attributes(data: bytes, offset: int = 0) -> dict[int, bytes]:
    """The attributes by kind. Trailing bytes that do not form an attribute are left out."""
    found: dict[int, bytes] = {}
    while offset + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < _ATTRIBUTE.size:
            break
        found[kind & _KIND] = data[offset + _ATTRIBUTE.size : offset + length]
        offset += (length + 3) & ~3
    return found


def number_in(given: Mapping[int, bytes], kind: int) -> int | None:
    """A number of 32 bits; None without such an attribute."""
    return int(_NUMBER.unpack_from(given[kind])[0]) if kind in given else None


def text_in(given: Mapping[int, bytes], kind: int) -> str | None:
    return given[kind].rstrip(b"\0").decode(errors="replace") if kind in given else None


def address_in(given: Mapping[int, bytes], kind: int) -> str | None:
    return socket.inet_ntoa(given[kind]) if kind in given else None


def _attribute(kind: int, content: bytes | str | int) -> bytes:
    if isinstance(content, int):
        content = _NUMBER.pack(content)
    elif isinstance(content, str):
        content = content.encode() + b"\0"
    length = _ATTRIBUTE.size + len(content)
    return _ATTRIBUTE.pack(length, kind) + content + bytes(-length % 4)
