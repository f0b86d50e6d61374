"""More connections than there may be: who is there is served, who comes is told to come again, the log stays short."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import pytest

from skylift.cloud.wire import connection_limit
from skylift.cloud.wire.call import Response
from skylift.cloud.wire.connection_limit import QUIET, ConnectionLimit
from skylift.cloud.wire.sender import Senders
from skylift.cloud.wire.server import HttpServer, blocking

ASK = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def of(connection: socket.socket) -> bytes:
    """What is answered there, up to the end of the headers or of the connection."""
    said = b""
    while b"\r\n\r\n" not in said and (more := connection.recv(65536)):
        said += more
    return said


def asked(connection: socket.socket) -> bytes:
    connection.sendall(ASK)
    return of(connection)


def against(server: Callable[[], HttpServer], act: Callable[[int], Any]) -> Any:
    """What `act(port)` returns, run beside a server."""

    async def run() -> Any:
        serving = server()
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        await serving.add_socket(sock)
        try:
            return await asyncio.to_thread(act, sock.getsockname()[1])
        finally:
            await serving.stop(0)

    return asyncio.run(run())


def serving(crowd: ConnectionLimit) -> Callable[[], HttpServer]:
    return lambda: HttpServer(blocking(lambda request: Response(200, {}, b"")), crowd)


def test_a_server_with_many_addresses_has_the_seats_of_one() -> None:
    senders = Senders()
    senders.servers = {("", f"127.0.0.{number}"): "i-1" for number in range(1, 9)}

    def flood(port: int) -> None:
        def enter(source: str) -> bytes:
            guest = end.enter_context(socket.create_connection(("127.0.0.1", port), 30, (source, 0)))
            return asked(guest)[:12]

        with ExitStack() as end:
            said = [enter(f"127.0.0.{number}") for number in range(1, 9)]
            assert said == [b"HTTP/1.1 200"] * 4 + [b"HTTP/1.1 503"] * 4
            assert enter("127.0.1.1") == b"HTTP/1.1 200"

    against(lambda: HttpServer(blocking(lambda request: Response(200, {}, b"")), ConnectionLimit(8), senders), flood)


def test_those_who_are_there_go_on_and_seats_are_given_again(caplog: pytest.LogCaptureFixture) -> None:
    clock = [0.0]

    def flood(port: int) -> None:
        with ExitStack() as end:
            guests = [end.enter_context(connect(port)) for _ in range(4)]
            assert all(asked(each).startswith(b"HTTP/1.1 200 ") for each in guests)
            for _ in range(200):
                with connect(port) as refused:
                    assert of(refused).startswith(b"HTTP/1.1 503 ")
            assert asked(guests[0]).startswith(b"HTTP/1.1 200 ")
            assert len(caplog.records) == 1
            clock[0] += QUIET
            with connect(port) as refused:
                assert of(refused).startswith(b"HTTP/1.1 503 ")
            assert [record.getMessage().split(":")[0] for record in caplog.records] == [
                "1 connections were refused",
                "200 connections were refused",
            ]
        await_room(port)

    with caplog.at_level(logging.WARNING):
        against(serving(ConnectionLimit(8, lambda: clock[0])), flood)


def await_room(port: int) -> None:
    """Seats are given back when the server has seen the end of a connection."""
    while True:
        with connect(port) as tried:
            try:
                if asked(tried).startswith(b"HTTP/1.1 200 "):
                    return
            except ConnectionError:
                # Refused before it could ask.
                continue


@contextmanager
def connect(port: int, source: str = "127.0.0.1") -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), 20, source_address=(source, 0)) as connection:
        yield connection


def test_one_sender_does_not_keep_another_out() -> None:
    def flood(port: int) -> None:
        with ExitStack() as end:
            for _ in range(4):
                end.enter_context(connect(port))
            with connect(port) as refused:
                assert of(refused).startswith(b"HTTP/1.1 503 ")
            with connect(port, "127.0.0.2") as other:
                assert asked(other).startswith(b"HTTP/1.1 200 ")

    against(serving(ConnectionLimit(8)), flood)


def test_out_of_descriptors_who_comes_is_turned_away_at_once(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever else has taken them. Those who are there are served, and afterwards everybody is."""

    def flood(port: int) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with connect(port) as guest, ExitStack() as end:
            assert asked(guest).startswith(b"HTTP/1.1 200 ")
            comers = [end.enter_context(closing(socket.socket())) for _ in range(100)]
            lowest = os.open(os.devnull, os.O_RDONLY)
            os.close(lowest)
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
            try:
                for comer in comers:
                    comer.settimeout(20)
                    comer.connect(("127.0.0.1", port))
                assert all(of(comer).startswith(b"HTTP/1.1 503 ") for comer in comers)
                assert asked(guest).startswith(b"HTTP/1.1 200 ")
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            assert len(caplog.records) == 1, [record.getMessage() for record in caplog.records]
        await_room(port)

    with caplog.at_level(logging.WARNING):
        against(serving(ConnectionLimit(10_000)), flood)


def test_a_connection_that_never_gets_to_speak_gives_its_seat_back() -> None:
    """One that fails to begin TLS, and one that is gone at once."""
    import ssl

    most = ConnectionLimit(2)

    async def run() -> None:
        server = HttpServer(blocking(lambda request: Response(200, {}, b"")), most)
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        await server.add_socket(sock, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        for _ in range(20):
            reader, writer = await asyncio.open_connection(*sock.getsockname())
            writer.write(ASK)
            assert not (await reader.read()).startswith(b"HTTP/1.1 503 ")
            writer.close()
        await server.stop(0)

    asyncio.run(run())


def test_a_descriptor_that_another_thread_takes_meanwhile_stays_that_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that is kept for turning away is closed for a moment. Where it is lost, nobody else's is closed later."""
    taken: list[int] = []

    def quicker(connection: socket.socket) -> None:
        connection.close()
        taken.append(os.open(os.devnull, os.O_RDONLY))

    monkeypatch.setattr(connection_limit, "refuse", quicker)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.create_server(("127.0.0.1", 0)) as listening, ExitStack() as end:
        listening.setblocking(False)
        found = ConnectionLimit(8)
        comers = [end.enter_context(closing(socket.create_connection(listening.getsockname()))) for _ in range(2)]
        lowest = os.open(os.devnull, os.O_RDONLY)
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
        try:
            assert found.accept(listening) is None
            assert len(taken) == 1
            assert found.accept(listening) is None
            os.fstat(taken[0])
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for each in taken:
                os.close(each)
        assert len(comers) == 2
