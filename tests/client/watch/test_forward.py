"""Ports that lead through a connection: to and fro, half closed, busy, and away."""

from __future__ import annotations

import asyncio

import pytest
from support.ports import quiet_port

from skylift.client.errors import ConnectionLost, UsageError
from skylift.client.remote.connection import Streams
from skylift.client.watch.forward import Forward, Forwards, read_forward


class Here:
    """An SSH connection as far as it leads to ports: this machine is the server."""

    async def tunnel(self, port: int) -> Streams:
        try:
            return await asyncio.open_connection("127.0.0.1", port)
        except OSError as error:
            raise ConnectionLost(str(error)) from None


@pytest.mark.parametrize(("text", "ports"), [("8888", (8888, 8888)), ("8888:80", (8888, 80))])
def test_what_is_a_forward(text: str, ports: tuple[int, int]) -> None:
    found = read_forward(text)
    assert (found.local, found.remote) == ports


@pytest.mark.parametrize("text", ["", "http", "0", "70000", "80:", ":80", "80:0", "1:2:3", "127.0.0.1:80"])
def test_what_is_none(text: str) -> None:
    with pytest.raises(UsageError, match="--forward"):
        read_forward(text)


def test_bytes_go_both_ways_and_each_may_end_first() -> None:
    async def echo_at_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        whole = await reader.read()
        writer.write(whole[::-1])
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(echo_at_the_end, "127.0.0.1", 0)
        there, here = server.sockets[0].getsockname()[1], quiet_port()
        forwards = Forwards([Forward(here, there)])
        await forwards.open()
        forwards.connect_through(Here)  # type: ignore[arg-type]
        sent = bytes(range(256)) * 10000
        for _ in range(2):
            reader, writer = await asyncio.open_connection("127.0.0.1", here)
            writer.write(sent)
            writer.write_eof()
            assert await reader.read() == sent[::-1]
            writer.close()
        await forwards.close()
        with pytest.raises(OSError, match=r"refused|Connect"):
            await asyncio.open_connection("127.0.0.1", here)
        server.close()

    asyncio.run(main())


@pytest.mark.parametrize("connected", [False, True])
def test_who_knocks_too_early_is_sent_away(connected: bool) -> None:
    async def main() -> None:
        here = quiet_port()
        forwards = Forwards([Forward(here, quiet_port())])
        await forwards.open()
        if connected:
            forwards.connect_through(Here)  # type: ignore[arg-type]
        reader, writer = await asyncio.open_connection("127.0.0.1", here)
        assert await reader.read() == b""
        writer.close()
        await forwards.close()

    asyncio.run(main())


def test_a_port_that_is_taken_is_told_and_the_others_are_let_go() -> None:
    async def main() -> None:
        taken = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
        port, other = taken.sockets[0].getsockname()[1], quiet_port()
        with pytest.raises(UsageError, match=f"--forward {port}"):
            await Forwards([Forward(other, 80), Forward(port, 80)]).open()
        again = Forwards([Forward(other, 80)])
        await again.open()
        await again.close()
        taken.close()

    asyncio.run(main())
