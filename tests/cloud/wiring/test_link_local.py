"""What listens in a VPC's router: all of it, or nothing."""

from __future__ import annotations

import asyncio
import http.client
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from skylift.cloud.compute.network.error import ListenRefused
from skylift.cloud.compute.network.firewall import METADATA
from skylift.cloud.compute.network.metadata import Answer
from skylift.cloud.compute.network.plan import VpcPlan
from skylift.cloud.domain.network import NetworkInterface, PrivateAddress, Vpc
from skylift.cloud.domain.upstream import FORWARDER
from skylift.cloud.wire.sender import Senders
from skylift.cloud.wiring.link_local import LinkLocalServices


class Router:
    """Opens sockets at one place of this machine for each address and port, but for the one that it is to refuse."""

    def __init__(self, refused: int | None) -> None:
        self.refused = refused
        self.sockets: dict[tuple[str, int, str], socket.socket] = {}

    def listen(self, _vpc_id: str, address: str, port: int, kind: str = "tcp") -> socket.socket:
        place = (address, port, kind)
        if len(self.sockets) == self.refused or (place in self.sockets and self.sockets[place].fileno() != -1):
            raise ListenRefused(f"{address} {port}")
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
        made.setblocking(False)
        made.bind(("127.0.0.1", 0))
        self.sockets[place] = made
        return made

    def open(self) -> int:
        return sum(one.fileno() != -1 for one in self.sockets.values())


class Api:
    """The AWS endpoint, as far as sockets and senders go."""

    def __init__(self) -> None:
        self.senders = Senders()

    async def add_socket(self, _sock: socket.socket, *, vpc_id: str) -> None:
        assert vpc_id == "vpc-1"

    async def remove_socket(self, sock: socket.socket) -> None:
        sock.close()


@pytest.mark.parametrize("refused", range(6))
def test_what_could_not_listen_is_tried_again(refused: int) -> None:
    router = Router(refused)
    parts: Any = (router, Api(), None, None)
    vpcs = [VpcPlan(Vpc("vpc-1", "10.0.0.0/16"))]

    async def follow() -> None:
        link_local = LinkLocalServices(*parts)
        assert (await asyncio.to_thread(link_local.follow, vpcs)).keys() == {"vpc-1"}
        await asyncio.sleep(0)
        assert router.open() == 0
        router.refused = None
        assert await asyncio.to_thread(link_local.follow, vpcs) == {}
        assert router.open() == 6
        await link_local.close()

    asyncio.run(follow())


def test_a_vpc_where_nothing_can_listen_keeps_no_other_from_it() -> None:
    router = Router(None)
    listen = router.listen

    def refuse(vpc_id: str, address: str, port: int, kind: str = "tcp") -> socket.socket:
        if vpc_id == "vpc-0":
            raise ListenRefused(f"{address} {port}")
        return listen(vpc_id, address, port, kind)

    router.listen = refuse  # type: ignore[method-assign]
    parts: Any = (router, Api(), None, None)

    async def follow() -> None:
        link_local = LinkLocalServices(*parts)
        vpcs = [VpcPlan(Vpc(name, "10.0.0.0/16")) for name in ("vpc-0", "vpc-1")]
        refused = await asyncio.to_thread(link_local.follow, vpcs)
        assert {name: type(error) for name, error in refused.items()} == {"vpc-0": ListenRefused}
        assert router.open() == 6
        await link_local.close()

    asyncio.run(follow())


class Metadata:
    """Answers nobody but one address before it is let go."""

    def __init__(self, other: str) -> None:
        self.other = other
        self.let_go = threading.Event()
        self.asking: list[str] = []

    def answer(self, _method: str, _path: str, _headers: Any, vpc_id: str, source: str) -> Answer:
        assert vpc_id == "vpc-1"
        self.asking.append(source)
        if source != self.other:
            assert self.let_go.wait(60)
        return Answer(200, {}, b"")


def interface(number: int, instance_id: str | None, *addresses: str) -> NetworkInterface:
    first, *others = (PrivateAddress(address, None) for address in addresses)
    return NetworkInterface(
        *(f"eni-{number}", "vpc-1", "subnet-1", "02:00:00:00:00:01", first.private_ip, ("sg-1",)),
        *(datetime.now(UTC),),
        instance_id=instance_id,
        secondary=tuple(others),
    )


def test_a_server_with_many_addresses_asks_for_metadata_as_one() -> None:
    """Also by an address that nobody knows yet it gets one more thread, however many there are of these."""
    router, metadata = Router(None), Metadata("127.0.1.1")
    parts: Any = (router, Api(), metadata, None)
    mine = [f"127.0.0.{number}" for number in range(1, 9)]
    plan = VpcPlan(
        Vpc("vpc-1", "127.0.0.0/16"),
        interfaces=(interface(1, "i-1", *mine[:3]), interface(2, "i-1", *mine[3:]), interface(3, "i-2", "127.0.1.1")),
    )

    def ask(source: str) -> int:
        port = router.sockets[METADATA, 80, "tcp"].getsockname()[1]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60, source_address=(source, 0))
        connection.request("GET", "/latest/meta-data/mac")
        return connection.getresponse().status

    async def follow() -> None:
        link_local = LinkLocalServices(*parts)
        assert await asyncio.to_thread(link_local.follow, [plan]) == {}
        loop, unknown = asyncio.get_running_loop(), [f"127.0.2.{number}" for number in range(1, 9)]
        with ThreadPoolExecutor(32) as clients:
            many = [loop.run_in_executor(clients, ask, source) for source in (*mine, *unknown)]
            async with asyncio.timeout(60):
                while len(metadata.asking) < 2:
                    await asyncio.sleep(0.01)
            for _ in range(8):
                assert await loop.run_in_executor(clients, ask, "127.0.1.1") == 200
            asking = [source.rpartition(".")[0] for source in metadata.asking]
            metadata.let_go.set()
            assert set(await asyncio.gather(*many)) == {200}
        assert (asking.count("127.0.0"), asking.count("127.0.2")) == (1, 1)
        await link_local.close()

    asyncio.run(follow())


def test_a_server_is_one_sender_by_its_public_addresses_too() -> None:
    one = replace(interface(1, "i-1", "10.0.0.4", "10.0.0.5"), public_ip="127.80.0.1")
    plan = VpcPlan(Vpc("vpc-1", "10.0.0.0/16"), interfaces=(one.translated("10.0.0.5", "127.80.0.2"),))
    parts: Any = (Router(None), Api(), None, None)

    async def follow() -> None:
        link_local = LinkLocalServices(*parts)
        await asyncio.to_thread(link_local.follow, [plan])
        await link_local.close()

    asyncio.run(follow())
    of = parts[1].senders.of
    assert {of(FORWARDER, "127.80.0.1"), of(FORWARDER, "127.80.0.2"), of("vpc-1", "10.0.0.5")} == {"i-1"}
    # A program of the host may take any of these addresses, and is not that server.
    assert (of("", "127.80.0.1"), of("vpc-2", "10.0.0.5")) == ("127.80.0.1", "vpc-2")
