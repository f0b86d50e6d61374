"""What systemd is told of the process, where it is a unit's; see sd_notify(3)."""

from __future__ import annotations

import os
import socket


def notify(state: str) -> None:
    """One assignment, as `READY=1`. Nothing happens where nobody wants to know."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(state.encode(), f"\0{address[1:]}" if address.startswith("@") else address)
