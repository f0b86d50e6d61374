"""Whose a TCP socket of this machine is, as the kernel says. Every user can connect to a loopback address, and listen
at one: whose the other end is, is asked here before anything is said to it."""

from __future__ import annotations

import errno
import os
import re
import socket
import struct
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

End = tuple[str, int]
"""An address, IPv4 or IPv6, and a port."""
_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY, _NLMSG_ERROR = 4, 20, 2
_LISTENING = 10
_PROC = Path("/proc/net")


@dataclass(frozen=True)
class Owned:
    """A socket that a process has. `number` is its own, and no later one's."""

    uid: int
    number: int


def owners() -> frozenset[int]:
    """The users that a command is for: ours, root, and whoever called sudo."""
    sudo = os.environ.get("SUDO_UID", "")
    return frozenset({0, os.geteuid(), *([int(sudo)] if os.geteuid() == 0 and sudo.isdigit() else [])})


def is_owner(peer: End, here: End, allowed: Collection[int]) -> bool:
    """Whether the other end of a connection to `here` is one of these users'. One that the kernel does not know, or
    does not tell of, is nobody's that we know."""
    with suppress(OSError):
        found = _find(peer, here)
        return found is not None and found.uid in allowed
    return False


def listener_at(here: End) -> Owned | None:
    """Who gets what connects to this address; None where nobody does. Raises OSError where the kernel does not tell."""
    return _find(here, None)


def _find(local: End, remote: End | None) -> Owned | None:
    try:
        found = _ask(local, remote)
    except OSError as error:
        # A kernel without socket diagnostics has the table still, which takes milliseconds to read.
        try:
            found = _look_up(local, remote)
        except OSError:
            if error.errno != errno.ENOENT:
                raise OSError("whose a socket is, neither netlink nor /proc/net/tcp says here") from None
            found = None
    if found is None:
        return None
    state, owned = found
    # A socket that its process has closed has no number, and says that it is root's.
    return owned if owned.number and (state == _LISTENING) == (remote is None) else None


def _ask(local: End, remote: End | None) -> tuple[int, Owned] | None:
    """See sock_diag(7): its state and the socket. Raises OSError where the kernel has none."""
    family = socket.AF_INET6 if ":" in local[0] else socket.AF_INET
    ends = struct.pack("!HH", local[1], remote[1] if remote else 0)
    for each in (local, remote):
        ends += socket.inet_pton(family, each[0]).ljust(16, b"\0") if each else bytes(16)
    wanted = struct.pack("=BBxxI", family, socket.IPPROTO_TCP, 0xFFFFFFFF) + ends + bytes(4) + b"\xff" * 8
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as kernel:
        kernel.send(struct.pack("=IHHII", 16 + len(wanted), _SOCK_DIAG_BY_FAMILY, 1, 0, 0) + wanted)
        answer = kernel.recv(8192)
    if struct.unpack_from("=H", answer, 4)[0] == _NLMSG_ERROR:
        raise OSError(-struct.unpack_from("=i", answer, 16)[0], "no such socket")
    return answer[17], Owned(*struct.unpack_from("=II", answer, 80))


def _look_up(local: End, remote: End | None) -> tuple[int, Owned] | None:
    """As the kernel does: who listens at an address comes before who listens at all addresses. Those of IPv6 have
    IPv4's among them."""
    lines = (_PROC / "tcp").read_text().splitlines()[1:]
    with suppress(FileNotFoundError):  # a kernel without IPv6
        lines += (_PROC / "tcp6").read_text().splitlines()[1:]
    rows = [(_read_end(each[1]), _read_end(each[2]), int(each[3], 16), each) for each in map(str.split, lines)]
    here, there = ip_address(local[0]), (ip_address(remote[0]), remote[1]) if remote else None
    everywhere = (IPv4Address(0), IPv6Address(0))[here.version == 6 :]
    for address in (here, *(() if there else everywhere)):
        for at, to, state, words in rows:
            if at == (address, local[1]) and (to == there if there else state == _LISTENING):
                return state, Owned(int(words[7]), int(words[9]))
    return None


def _read_end(text: str) -> tuple[IPv4Address | IPv6Address, int]:
    """As the table has it: the address in words of the machine's byte order, the port in the network's."""
    address, _, port = text.partition(":")
    found = ip_address(b"".join(struct.pack("=I", int(each, 16)) for each in re.findall("." * 8, address)))
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found, int(port, 16)
