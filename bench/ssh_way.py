"""What is waited for at the end of a boot: sshd's banner, and the output of a command."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path

PATIENCE = 30.0
TRY = 0.05
"""Seconds of one attempt. Where nothing is yet, a packet is lost, and TCP would wait a second before the next."""


def await_banner(address: str, patience: float = PATIENCE) -> None:
    """Return as soon as an SSH server says who it is."""
    give_up = time.monotonic() + patience
    while True:
        try:
            with socket.create_connection((address, 22), TRY) as connection:
                connection.settimeout(PATIENCE)
                if connection.recv(64).startswith(b"SSH-"):
                    return
        except OSError:
            if time.monotonic() > give_up:
                raise
        # Nearly nothing, so that one who waits does not take the processor from those who work.
        time.sleep(0.001)


def ssh_argv(address: str, key: Path, user: str) -> list[str]:
    """What a command goes behind. Host keys are not looked at: both ends are this program's."""
    options = {
        "BatchMode": "yes",
        "IdentitiesOnly": "yes",
        "LogLevel": "ERROR",
        "StrictHostKeyChecking": "no",
        "UserKnownHostsFile": os.devnull,
    }
    return [
        *("ssh", "-F", os.devnull, "-i", str(key)),
        *(word for name, value in options.items() for word in ("-o", f"{name}={value}")),
        f"{user}@{address}",
    ]


def say_hello(address: str, key: Path, user: str) -> None:
    """`ssh HOST python3 -c 'print(1)'`, and its answer."""
    done = subprocess.run(
        [*ssh_argv(address, key, user), "python3 -c 'print(1)'"],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.stdout != "1\n":
        raise SystemExit(f"ssh answered {done.stdout!r} {done.stderr!r}")
