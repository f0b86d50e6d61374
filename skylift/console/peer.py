"""Finds the user at the other end of a loopback connection: other users of this machine can reach the port too."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Collection
from pathlib import Path

_TABLE = Path("/proc/net/tcp")


def owners() -> frozenset[int]:
    """The users that the console is for: ours, root, and whoever called sudo."""
    sudo = os.environ.get("SUDO_UID", "")
    return frozenset({0, os.geteuid(), *([int(sudo)] if os.geteuid() == 0 and sudo.isdigit() else [])})


def is_owner(peer: tuple[str, int], console: tuple[str, int], allowed: Collection[int], table: Path = _TABLE) -> bool:
    """The kernel says whose the other socket is. One that it does not list is nobody's that we know."""
    try:
        lines = table.read_text().splitlines()[1:]
    except OSError:
        return False
    wanted = (_hex(peer), _hex(console))
    for line in lines:
        words = line.split()
        if (words[1], words[2]) == wanted:
            return int(words[7]) in allowed
    return False


def _hex(end: tuple[str, int]) -> str:
    """As the table has it: the address in the machine's byte order, the port in the network's."""
    number = int.from_bytes(socket.inet_aton(end[0]), sys.byteorder)
    return f"{number:08X}:{end[1]:04X}"
