"""What runs on a cluster's servers: when the lease is over, and what one broken connection does to others."""

from __future__ import annotations

import os
import socket
import ssl
import struct
import threading
import time
from pathlib import Path

import pytest
from tornado.iostream import SSLIOStream

from skylift.client.dask import node
from skylift.client.dask.authority import issue


@pytest.mark.parametrize(
    ("client", "outside"),
    [
        ("Client-skylift-4f1c", True),
        ("Client-4f1c", True),
        ("Client-worker-4f1c", False),
        ("fire-and-forget", False),
        ("", False),
    ],
)
def test_who_holds_the_lease(client: str, outside: bool) -> None:
    assert node.is_outside(client) == outside


def test_a_broken_connection_ends_no_other(tmp_path: Path) -> None:
    """With Python 3.13 the error of the one was what the next read of the other raised."""
    node.forget_tls_errors()
    node.forget_tls_errors()
    whole, _theirs = streams(tmp_path)
    broken, peer = streams(tmp_path)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    os.close(peer.detach())
    with pytest.raises(OSError):
        for _ in range(100):
            SSLIOStream.write_to_fd(broken, memoryview(b"x"))  # type: ignore[arg-type]
            time.sleep(0.01)
    assert SSLIOStream.read_from_fd(whole, bytearray(10)) is None, "there is nothing to read, and no error"  # type: ignore[arg-type]


class Stream:
    """As much of tornado's stream as its reads and writes need."""

    def __init__(self, line: ssl.SSLSocket) -> None:
        self.socket = line
        self._ssl_accepting = False


def streams(folder: Path) -> tuple[Stream, ssl.SSLSocket]:
    identity = issue("one", ("worker",), time.time(), time.time() + 60)["worker"]
    for name, text in (("cert", identity.certificate), ("key", identity.key)):
        (folder / name).write_text(text)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(folder / "cert", folder / "key")
    calling = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    calling.check_hostname = False
    calling.load_verify_locations(cadata=identity.authority)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        peers: list[ssl.SSLSocket] = []
        connect = lambda: peers.append(calling.wrap_socket(socket.create_connection(listening.getsockname())))  # noqa: E731
        thread = threading.Thread(target=connect)
        thread.start()
        line, _ = listening.accept()
        ours = serving.wrap_socket(line, server_side=True)
        thread.join()
    ours.setblocking(False)
    return Stream(ours), peers[0]
