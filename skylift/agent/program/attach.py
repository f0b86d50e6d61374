"""Connects stdin and stdout to the socket, for servers with an sshd that does not forward to sockets."""

from __future__ import annotations

import os
import socket
import sys
import threading


def join_socket(root: str, job: str) -> None:
    """Copy stdin to the socket, and the socket to stdout, until the socket closes."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as control:
        control.connect(os.path.join(root, "run/skylift", job + ".sock"))

        def forward() -> None:
            for data in iter(lambda: os.read(0, 65536), b""):
                control.sendall(data)

        threading.Thread(target=forward, daemon=True).start()
        for data in iter(lambda: control.recv(65536), b""):
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
