"""Ports for what a test starts on this machine."""

from __future__ import annotations

import random
import socket


def quiet_port() -> int:
    """One that nobody is given by chance while its owner is away: below those that the kernel hands out."""
    for port in random.SystemRandom().sample(range(20000, 30000), 100):
        with socket.socket() as knock:
            if knock.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise LookupError("a hundred ports are taken")
