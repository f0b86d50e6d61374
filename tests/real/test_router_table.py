"""Tables of tracked connections: what a server can take of its router's, and of the uplink's, which all VPCs share."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import pytest
from support.kernel_world import MUTE, PATIENCE, WEB, World, ask, built_world

from skylift.cloud.compute.network import pasta
from skylift.cloud.compute.network.namespace import Namespace
from skylift.cloud.compute.network.router import router_name
from skylift.cloud.compute.network.uplink import uplink_name

pytestmark = pytest.mark.real

MOST = pasta.HOST_TABLE.with_name("nf_conntrack_max")
COUNT = pasta.HOST_TABLE.with_name("nf_conntrack_count")
PORTS = range(1100, 61_100)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with built_world(tmp_path_factory.getbasetemp()) as built:
        yield built


@contextmanager
def tracked(name: str) -> Iterator[Namespace]:
    namespace = Namespace.open(name)
    try:
        yield namespace
    finally:
        namespace.close()


def connections(namespace: Namespace) -> int:
    return namespace.run(lambda: int(COUNT.read_text()))


def flood(world: World, name: str, target: str) -> None:
    """A datagram from each port: the kernel tracks each for 30 seconds, answered or not."""

    def send() -> None:
        for port in PORTS:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sender.bind(("0.0.0.0", port))
                sender.sendto(b"x", (target, MUTE))

    world.servers[name].namespace.run(send)


def bound() -> int:
    return int(MOST.read_text()) // 8


def test_one_server_has_a_part_of_its_routers_table(world: World) -> None:
    """Two of them leave most of it to a third, which does not notice."""
    with tracked(router_name(world.loopback, "vpc-a")) as router:
        before = connections(router)
        both = [Thread(target=flood, args=(world, name, world.private("mute"))) for name in ("web", "peer")]
        for each in both:
            each.start()
        for each in both:
            each.join(PATIENCE * 2)
        taken = connections(router) - before
        assert bound() // 2 < taken <= 2 * bound() + 1000, (taken, bound())
        assert world.seen("hidden", world.private("mute")) == world.private("hidden")


def test_what_servers_send_each_other_takes_nothing_of_the_uplinks_table(world: World) -> None:
    """By their public addresses, also in one VPC. Without room in it, the host would not reach any server."""
    with tracked(uplink_name(world.loopback)) as uplink:
        before = connections(uplink)
        flood(world, "other", world.public("mute"))
        assert connections(uplink) - before < 100
        assert ask(world.public("web"), WEB) == str(world.loopback.host_address)
