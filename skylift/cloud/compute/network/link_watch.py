"""Waiting until a link carries packets.

Both ends of a pair are up a little before the kernel passes packets: a work queue makes the end that came up first
ready, and its packets are dropped until then. A connection begun in that moment loses a second.
"""

from __future__ import annotations

import errno
import socket

from skylift.cloud.compute.network.error import NetlinkRefused
from skylift.cloud.compute.network.rtnetlink import (
    LINK,
    NLMSG_ERROR,
    RTM_DELLINK,
    RTM_GETLINK,
    RTM_NEWLINK,
    messages,
    packet,
)

# linux/rtnetlink.h, linux/if.h
RTMGRP_LINK = 1
IFF_RUNNING = 0x40
PATIENCE = 30.0


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
        # The kernel dropped some events, as its buffer was full. The answer to this request comes by the same socket.
        self._drain()
        self._socket.send(packet(RTM_GETLINK, 0, LINK.pack(socket.AF_UNSPEC, 0, index, 0, 0), 0))
        return b""

    def _drain(self) -> None:
        """Empties the buffer: while it is full, an answer would be dropped too."""
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
    for kind, _, payload in messages(data):
        if kind == NLMSG_ERROR:
            # The link that was asked for does not exist.
            return True
        if kind in (RTM_NEWLINK, RTM_DELLINK):
            _, _, changed, flags, _ = LINK.unpack_from(payload)
            if changed == index and (kind == RTM_DELLINK or flags & IFF_RUNNING):
                return True
    return False
