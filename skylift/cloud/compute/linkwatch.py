"""Waiting until a link carries packets.

Both ends of a pair are up before the kernel lets the first through: a work queue of its own makes the end that came up
first ready, a little later, and until then drops what it is given. A connection begun in that moment loses a second.
"""

from __future__ import annotations

import errno
import socket
import struct

from skylift.cloud.compute.network_error import NetlinkRefused

# linux/rtnetlink.h, linux/if.h
RTMGRP_LINK = 1
RTM_NEWLINK = 16
RTM_DELLINK = 17
RTM_GETLINK = 18
NLM_F_REQUEST = 1
NLMSG_ERROR = 2
IFF_RUNNING = 0x40
PATIENCE = 30.0

_HEADER = struct.Struct("=IHHII")
_LINK = struct.Struct("=BxHiII")
_QUESTION = _HEADER.size + _LINK.size


class LinkWatch:
    """Changes of links, since it was made, in the namespace of the thread that made it."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.bind((0, RTMGRP_LINK))
        self._socket.settimeout(PATIENCE)

    def close(self) -> None:
        self._socket.close()

    def until_running(self, index: int) -> None:
        """Return once the link runs, or is gone; it must have been down when the watch was made."""
        try:
            while not _settled(self._next(index), index):
                pass
        except TimeoutError as error:
            raise NetlinkRefused(f"bring up link {index}", errno.ETIMEDOUT) from error

    def _next(self, index: int) -> bytes:
        try:
            return self._socket.recv(1 << 16)
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
        # So much has changed at once that the kernel dropped some of it. The answer to a question comes the same way.
        self._drain()
        self._socket.send(_HEADER.pack(_QUESTION, RTM_GETLINK, NLM_F_REQUEST, 0, 0) + _LINK.pack(0, 0, index, 0, 0))
        return b""

    def _drain(self) -> None:
        """As long as there is no room, an answer would be dropped too."""
        patience = self._socket.gettimeout()
        self._socket.setblocking(False)
        while True:
            try:
                self._socket.recv(1 << 16)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
        self._socket.settimeout(patience)


def _settled(data: bytes, index: int) -> bool:
    offset = 0
    while offset < len(data):
        length, kind, *_ = _HEADER.unpack_from(data, offset)
        if kind == NLMSG_ERROR:
            # Asked for, and not there.
            return True
        if kind in (RTM_NEWLINK, RTM_DELLINK):
            _, _, changed, flags, _ = _LINK.unpack_from(data, offset + _HEADER.size)
            if changed == index and (kind == RTM_DELLINK or flags & IFF_RUNNING):
                return True
        offset += (length + 3) & ~3
    return False
