"""What somebody has taken away of a cloud's network while the cloud runs is made again: in the real kernel."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.kernel_world import DATABASE, MUTE, WEB, World, ask, built_world, reaches
from support.real_server import until

from skylift.cloud.compute.network import firewall, pasta
from skylift.cloud.compute.network.netlink import NAMESPACES
from skylift.cloud.compute.network.router import router_name
from skylift.cloud.compute.network.traffic import OUTSIDE_MARK, subnet_mark
from skylift.cloud.compute.network.uplink import HOST_LINK, uplink_name

pytestmark = pytest.mark.real


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with built_world(tmp_path) as built:
        # The first look says what there is to be.
        assert not built.network.heal()
        yield built


def run(*command: str) -> None:
    subprocess.run(command, check=True)


def within(name: str, *command: str) -> None:
    run("ip", "netns", "exec", name, *command)


BLOWS: dict[str, Callable[[World], None]] = {
    "the host's table": lambda world: run("nft", "delete", "table", "ip", world.loopback.table),
    "the rules of the host's table": lambda world: run("nft", "flush", "table", "ip", world.loopback.table),
    "the host's link": lambda world: run("ip", "link", "del", world.loopback.host_link),
    "the uplink's rules": lambda world: within(uplink_name(world.loopback), "nft", "flush", "ruleset"),
    "a router's rules": lambda world: within(router_name(world.loopback, "vpc-a"), "nft", "flush", "ruleset"),
    "a router's link": lambda world: within(
        router_name(world.loopback, "vpc-a"), "ip", "link", "del", "dev", firewall.UPLINK
    ),
    "the host's link is down": lambda world: run("ip", "link", "set", world.loopback.host_link, "down"),
    "the uplink's end of it is down": lambda world: within(
        uplink_name(world.loopback), "ip", "link", "set", HOST_LINK, "down"
    ),
    "a router's link is down": lambda world: within(
        router_name(world.loopback, "vpc-a"), "ip", "link", "set", "dev", firewall.UPLINK, "down"
    ),
}


@pytest.mark.parametrize("blow", BLOWS)
def test_what_is_gone_is_made_again(world: World, blow: str) -> None:
    BLOWS[blow](world)
    assert world.network.heal()
    assert world.network.apply(world.plans()) == {}
    assert ask(world.public("web"), WEB)
    assert ask(world.public("other"), WEB)
    assert not reaches(world.public("web"), DATABASE), "a closed port is closed again"
    assert not world.network.heal()


def test_the_hosts_route_comes_back(world: World) -> None:
    """A network manager that is started again removes the routes that it does not know."""
    run("ip", "route", "flush", "dev", world.loopback.host_link)
    assert not reaches(world.public("web"), WEB)
    world.network.heal()
    assert ask(world.public("web"), WEB)


@dataclass
class Prober:
    """Tries the closed ports of a neighbour all the time, also with marks of its own on what it sends."""

    tries: int = 0
    opened: int = 0

    def go_on(self, stop: threading.Event, address: str, marks: tuple[int, ...]) -> None:
        while not stop.is_set():
            for port, mark in [(port, mark) for port in (DATABASE, MUTE) for mark in marks]:
                with socket.socket() as probe:
                    probe.settimeout(0.02)
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
                    self.opened += probe.connect_ex((address, port)) == 0
                    self.tries += 1

    def again(self) -> None:
        before = self.tries
        until(lambda: self.tries > before + 20, "further tries")


@contextmanager
def probing(world: World, client: str, address: str) -> Iterator[Prober]:
    prober, stop = Prober(), threading.Event()
    marks = (0, OUTSIDE_MARK, subnet_mark(world.subnets["public"]))
    namespace = world.servers[client].namespace
    thread = threading.Thread(target=lambda: namespace.run(lambda: prober.go_on(stop, address, marks)))
    thread.start()
    try:
        prober.again()
        yield prober
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("blow", ["flush ruleset", f"delete table inet {firewall.TABLE}"])
def test_a_router_without_rules_opens_no_port_until_it_has_them_again(world: World, blow: str) -> None:
    with probing(world, "web", world.private("peer")) as prober:
        for _ in range(3):
            within(router_name(world.loopback, "vpc-a"), "nft", *blow.split())
            prober.again()
            assert not world.reaches("web", world.private("peer"), WEB), "it passes nothing on"
            world.network.heal()
            assert world.network.apply(world.plans()) == {}
            prober.again()
            assert world.seen("web", world.private("peer")) == world.private("web")
    assert prober.opened == 0


def test_no_router_without_rules_passes_anything_on(world: World) -> None:
    """Neither within a subnet, nor between two, nor from outside."""
    for name in ("vpc-a", "vpc-b"):
        within(router_name(world.loopback, name), "nft", "flush", "ruleset")
    for client, address in [("web", "database"), ("web", "inner"), ("inner", "hidden")]:
        for port in (WEB, DATABASE, MUTE):
            assert not world.reaches(client, world.private(address), port)
    assert not reaches(world.public("web"), WEB)


def test_routes_of_an_earlier_version_go(world: World) -> None:
    """They were in the table that every packet looks into."""
    router, web = router_name(world.loopback, "vpc-a"), world.private("web")
    link = f"e{world.interfaces['web'].id.rpartition('-')[2]}"
    within(router, "ip", "route", "add", f"{web}/32", "dev", link, "proto", "static")
    within(router, "ip", "route", "flush", "table", "2")
    world.network.release()
    world.network.open()
    assert world.network.apply(world.plans()) == {}
    listed = subprocess.run(["ip", "-n", router, "route"], capture_output=True, text=True, check=True).stdout
    assert listed == "blackhole default proto static \n"
    assert world.seen("peer", web) == world.private("peer")


def test_names_of_namespaces_come_back(world: World) -> None:
    names = [uplink_name(world.loopback), router_name(world.loopback, "vpc-a")]
    before = [Path(NAMESPACES, name).stat().st_ino for name in names]
    for name in names:
        run("ip", "netns", "del", name)
    assert not world.network.heal()
    assert [Path(NAMESPACES, name).stat().st_ino for name in names] == before
    assert ask(world.public("web"), WEB)


def test_the_next_cloud_has_a_link_of_its_own_where_the_last_ones_namespace_is_on_its_way_out(world: World) -> None:
    """Until the kernel has come to that, the link leads into a namespace that has no name any more."""
    name = uplink_name(world.loopback)
    with Path(NAMESPACES, name).open("rb"):
        world.network.release()
        run("ip", "netns", "del", name)
        world.network.open()
    # The loop tries VPCs again whose routers still have a link into the last one's.
    until(lambda: not world.network.apply(world.plans()), "the routers' links")
    assert ask(world.public("web"), WEB)


def test_pasta_starts_again_in_a_namespace_that_was_named_again(world: World) -> None:
    run("ip", "netns", "del", uplink_name(world.loopback))
    assert not world.network.heal()
    (before,) = pasta.running(world.loopback)
    pasta.stop(world.loopback)
    assert not world.network.heal()
    assert (world.network.pasta_problem, world.network.lost) == (None, "")
    (after,) = pasta.running(world.loopback)
    assert after != before


def test_pastas_link_that_is_down_is_made_again(world: World) -> None:
    """pasta itself goes on, and knows nothing of it."""
    within(uplink_name(world.loopback), "ip", "link", "set", pasta.LINK, "down")
    (before,) = pasta.running(world.loopback)
    assert not world.network.heal()
    assert pasta.running(world.loopback) not in ([], [before])
    listed = ("ip", "-n", uplink_name(world.loopback), "route", "show", "default")
    assert f"dev {pasta.LINK} " in subprocess.run(listed, capture_output=True, text=True, check=True).stdout
