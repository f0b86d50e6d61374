"""What listens in a VPC's router: all of it, or nothing."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from skylift.cloud.compute.network.error import ListenRefused
from skylift.cloud.domain.network import Vpc
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
    """The AWS endpoint, as far as sockets go."""

    async def add_socket(self, _sock: socket.socket, *, vpc_id: str) -> None:
        assert vpc_id == "vpc-1"

    async def remove_socket(self, sock: socket.socket) -> None:
        sock.close()


@pytest.mark.parametrize("refused", range(6))
def test_what_could_not_listen_is_tried_again(refused: int) -> None:
    router = Router(refused)
    parts: Any = (router, Api(), None, None)
    vpcs = {"vpc-1": Vpc("vpc-1", "10.0.0.0/16")}

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
        vpcs = {name: Vpc(name, "10.0.0.0/16") for name in ("vpc-0", "vpc-1")}
        refused = await asyncio.to_thread(link_local.follow, vpcs)
        assert {name: type(error) for name, error in refused.items()} == {"vpc-0": ListenRefused}
        assert router.open() == 6
        await link_local.close()

    asyncio.run(follow())
