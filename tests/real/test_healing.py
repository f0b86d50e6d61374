"""What somebody has taken away of a cloud's network while the cloud runs is made again: in the real kernel."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kernel_world import DATABASE, WEB, World, ask, built_world, reaches

from skylift.cloud.compute.network import firewall
from skylift.cloud.compute.network.netlink import NAMESPACES
from skylift.cloud.compute.network.router import router_name
from skylift.cloud.compute.network.uplink import uplink_name

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


def test_names_of_namespaces_come_back(world: World) -> None:
    names = [uplink_name(world.loopback), router_name(world.loopback, "vpc-a")]
    before = [Path(NAMESPACES, name).stat().st_ino for name in names]
    for name in names:
        run("ip", "netns", "del", name)
    assert not world.network.heal()
    assert [Path(NAMESPACES, name).stat().st_ino for name in names] == before
    assert ask(world.public("web"), WEB)
