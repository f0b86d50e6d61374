"""Whose a TCP socket of this machine is, as the kernel says. Every user can connect to a loopback address, and listen
at one: whose the other end is, is asked here before anything is said to it."""

from __future__ import annotations

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
    """Whether the other end of a connection to `here` is one of these users'. One that the kernel does not know is
    nobody's that we know."""
    found = _find(peer, here)
    return found is not None and found.uid in allowed


def listener_at(here: End) -> Owned | None:
    """Who gets what connects to this address; None where nobody does."""
    return _find(here, None)


def _find(local: End, remote: End | None, proc: Path = _PROC) -> Owned | None:
    try:
        found = _ask(local, remote)
    except OSError:
        # A kernel without socket diagnostics has the table still, which takes milliseconds to read.
        found = _look_up(local, remote, proc)
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


def _look_up(local: End, remote: End | None, proc: Path) -> tuple[int, Owned] | None:
    wanted = [(ip_address(each[0]), each[1]) for each in (local, remote) if each]
    for name in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in (proc / name).read_text().splitlines()[1:]:
                words = line.split()
                state, ends = int(words[3], 16), [_read_end(each) for each in words[1:3]]
                if ends[: len(wanted)] == wanted and (remote or state == _LISTENING):
                    return state, Owned(int(words[7]), int(words[9]))
    return None


def _read_end(text: str) -> tuple[IPv4Address | IPv6Address, int]:
    """As the table has it: the address in words of the machine's byte order, the port in the network's."""
    address, _, port = text.partition(":")
    found = ip_address(b"".join(struct.pack("=I", int(each, 16)) for each in re.findall("." * 8, address)))
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found, int(port, 16)
