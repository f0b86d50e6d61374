"""Other users of the machine listen where the endpoint and forwarded ports are, were or will be, and
connect to them. The tests are root, so that these users can be others."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from support.ports import quiet_port
from support.strangers import as_stranger, ask, squatter

from skylift.client.errors import ConnectionLost, Unreachable, UsageError
from skylift.client.job.settings import Credentials, NewestImage, Secret, Settings
from skylift.client.remote.api import Api
from skylift.client.remote.connection import Streams
from skylift.client.remote.socket_owner import is_owner, listener_at, owners
from skylift.client.watch.forward import Forward, Forwards, loopback_addresses

pytestmark = pytest.mark.real

# The kernel's word.


def test_the_kernel_says_whose_a_connection_and_a_listener_is() -> None:
    with squatter(("0.0.0.0", 0), ("::1", 0)) as (((_, port), six), _):
        found = listener_at(("127.9.9.9", port))
        assert found is not None
        assert found.uid not in owners()
        assert getattr(listener_at(six), "uid", None) == found.uid
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        here = server.getsockname()
        as_stranger(lambda: ask_nothing(here))
        line, peer = server.accept()
        with line:
            assert not is_owner(peer, here, owners())


def ask_nothing(end: tuple[str, int]) -> bytes:
    socket.create_connection(end).detach()
    return b""


def test_a_socket_that_its_user_has_closed_is_nobodys() -> None:
    """It is there until the other end is closed, and the kernel says then that it is root's."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()) as client:
            client.sendall(b"x")
            peer = client.getsockname()
            assert is_owner(peer, server.getsockname(), owners())
        line, _ = server.accept()
        with line:
            assert line.recv(2) == b"x"
            assert not is_owner(peer, server.getsockname(), owners())


# The endpoint.


def settings(port: int, tmp_path: Path, listeners: frozenset[int]) -> Settings:
    return Settings(
        region="us-east-1",
        key_dir=tmp_path,
        image=NewestImage("none", ("self",)),
        caller_address=lambda: "127.0.0.1",
        endpoint_url=f"http://127.0.0.1:{port}",
        credentials=Credentials("AKIDEXAMPLE", Secret("secret")),
        account="111111111111",
        listeners=listeners,
    )


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_who_listens_where_the_cloud_was_is_told_nothing(tmp_path: Path, address: str) -> None:
    with squatter((address, 0)) as (((_, port),), heard):
        api = Api(settings(port, tmp_path, frozenset({0})))
        with pytest.raises(Unreachable, match="another user of this machine"):
            api.call("s3", "put_object", Bucket="jobs", Key="record", Body=b"--env of a job's")
        assert heard() == b""


def test_a_client_that_was_connected_tells_the_next_listener_nothing(tmp_path: Path) -> None:
    """The cloud ends under it, as in `kill -9`, and somebody else is quicker than its next start."""

    class Cloud(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Cloud)
    threading.Thread(target=server.serve_forever).start()
    api = Api(settings(server.server_port, tmp_path, frozenset({0})))
    put: dict[str, Any] = {"Bucket": "jobs", "Key": "record", "Body": b"--env of a job's"}
    api.call("s3", "put_object", **put)
    server.shutdown()
    server.server_close()
    with squatter(("0.0.0.0", server.server_port)) as (_, heard):
        with pytest.raises(Unreachable, match="another user of this machine"):
            api.call("s3", "put_object", **put)
        assert heard() == b""


# Forwarded ports.


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::1", "::"])
def test_a_port_that_somebody_else_has_is_refused_in_words(address: str) -> None:
    """A browser may take `localhost` for either address."""
    if ":" in address:
        assert "::1" in loopback_addresses(), "this machine has no IPv6"
    with (
        squatter((address, 0)) as (((_, port),), _),
        pytest.raises(UsageError, match=f"--forward {port}: .* not avail"),
    ):
        asyncio.run(Forwards([Forward(port, 80)]).open())


def test_a_forwarded_port_serves_its_own_user_only() -> None:
    asyncio.run(serve_two_users())


async def serve_two_users() -> None:
    there = await asyncio.start_server(greet, "127.0.0.1", 0)
    end = there.sockets[0].getsockname()

    class Here:
        reached = 0

        async def tunnel(self, port: int) -> Streams:
            Here.reached += 1
            try:
                return await asyncio.open_connection(*end)
            except OSError as error:
                raise ConnectionLost(str(error)) from None

    port = quiet_port()
    forwards = Forwards([Forward(port, end[1])])
    await forwards.open()
    forwards.connect_through(Here)  # type: ignore[arg-type]
    for address in [*loopback_addresses(), "::ffff:127.0.0.1"]:
        assert await asyncio.to_thread(as_stranger, lambda address=address: heard_at((address, port))) == b""
        assert Here.reached == 0
    for address in [*loopback_addresses(), "::ffff:127.0.0.1"]:
        assert await asyncio.to_thread(ask, (address, port)) == b"hello"
    await forwards.close()
    there.close()


def heard_at(end: tuple[str, int]) -> bytes:
    """It may be hung up on before it has said all."""
    with suppress(ConnectionError):
        return ask(end)
    return b""


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"hello")
    writer.close()
