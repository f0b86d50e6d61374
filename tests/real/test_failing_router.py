"""A VPC whose router cannot be made as planned, beside one that can: in the real kernel."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from support.kernel_world import ANYWHERE, DATABASE, WEB, World, allow, ask, built_world, reaches

from skylift.cloud.compute.network import firewall
from skylift.cloud.compute.network.conntrack import forget
from skylift.cloud.compute.network.error import RouterBehind
from skylift.cloud.compute.network.namespace import Namespace
from skylift.cloud.compute.network.netlink import NAMESPACES
from skylift.cloud.compute.network.plan import Peer, VpcPlan
from skylift.cloud.compute.network.router import router_name
from skylift.cloud.domain.network import Route, Vpc, route_target

pytestmark = pytest.mark.real

OTHER = 8001


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with built_world(tmp_path) as built:
        yield built


@contextmanager
def another_owner_of_the_table(namespace: str) -> Iterator[None]:
    """Somebody holds a table of the name that the rules of a router have, so that nft refuses these."""
    held = subprocess.Popen(
        ["ip", "netns", "exec", namespace, "nft", "--interactive"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert held.stdin is not None and held.stdout is not None
    try:
        held.stdin.write(f"delete table inet {firewall.TABLE}\n".encode())
        held.stdin.write(f"add table inet {firewall.TABLE} {{ flags owner; }}\nlist tables\n".encode())
        held.stdin.flush()
        while b"table inet" not in (line := held.stdout.readline()):
            assert line
        yield
    finally:
        held.stdin.close()
        held.wait()
        held.stdout.close()


def with_another_rule(plans: list[VpcPlan]) -> list[VpcPlan]:
    """What every server lets in, from everywhere, is more."""
    rule = allow(False, "tcp", DATABASE, cidr=ANYWHERE)
    return [
        replace(plan, groups=tuple(replace(one, rules=(*one.rules, rule)) for one in plan.groups)) for plan in plans
    ]


def test_others_do_not_wait_for_a_router_that_takes_no_rules(world: World) -> None:
    network, plans = world.network, with_another_rule(world.plans())
    with another_owner_of_the_table(router_name(world.loopback, "vpc-b")):
        # Twice: it is tried again each time.
        for _ in range(2):
            behind = network.apply(plans[::-1])
            assert behind.keys() == {"vpc-b"}
            assert "not permitted" in str(behind["vpc-b"])
        assert ask(world.public("web"), DATABASE)
        world.attach("web")
        assert ask(world.public("web"), WEB)
        network.listen("vpc-a", firewall.METADATA, OTHER).close()
        with pytest.raises(RouterBehind, match="vpc-b"):
            world.attach("other")
        with pytest.raises(RouterBehind, match="vpc-b"):
            network.listen("vpc-b", firewall.METADATA, OTHER)
        assert not reaches(world.public("other"), WEB)
    assert network.apply(plans) == {}
    assert ask(world.public("other"), DATABASE)
    world.attach("other")
    assert ask(world.public("other"), WEB)


def test_others_do_not_wait_for_a_router_that_cannot_be_made(world: World) -> None:
    network = world.network
    there, back = Peer("pcx-1", "vpc-c", ("10.9.0.0/16",)), Peer("pcx-1", "vpc-a", ("10.0.0.0/16",))
    new = VpcPlan(Vpc("vpc-c", "10.9.0.0/16"), peers=(back,))
    first, *rest = with_another_rule(world.plans())
    led = [
        replace(one, routes=(*one.routes, Route("10.9.0.0/16", route_target("pcx-1")))) for one in first.route_tables
    ]
    plans = [new, replace(first, route_tables=tuple(led), peers=(there,)), *rest]
    in_the_way = Path(NAMESPACES, router_name(world.loopback, "vpc-c"))
    in_the_way.touch()
    try:
        assert network.apply(plans).keys() == {"vpc-c"}
        assert ask(world.public("web"), DATABASE)
        assert routes_to(world, "10.9.0.0/16") == {"blackhole"}
        with pytest.raises(RouterBehind, match="vpc-c"):
            network.listen("vpc-c", firewall.METADATA, OTHER)
    finally:
        in_the_way.unlink()
    assert network.apply(plans) == {}
    assert routes_to(world, "10.9.0.0/16") == {"blackhole", "unicast"}
    network.listen("vpc-c", firewall.METADATA, OTHER).close()


def routes_to(world: World, target: str) -> set[str]:
    router = Namespace.open(router_name(world.loopback, "vpc-a"))
    try:
        return {route.kind for route in router.netlink.routes() if route.target == target}
    finally:
        router.close()


def test_a_link_that_somebody_took_away_is_made_again(world: World) -> None:
    subprocess.run(
        ["ip", "-n", router_name(world.loopback, "vpc-b"), "link", "del", "dev", firewall.UPLINK], check=True
    )
    assert world.network.apply(with_another_rule(world.plans())).keys() == {"vpc-b"}
    assert ask(world.public("web"), DATABASE)
    assert world.network.apply(world.plans()) == {}
    assert ask(world.public("other"), WEB)


def test_connections_of_what_moved_meanwhile_are_forgotten(world: World) -> None:
    """Else one of a server that has ended would go on to the next that gets its address."""
    network, plans = world.network, world.plans()
    for name in ("web", "other"):
        assert ask(world.public(name), WEB)
    with another_owner_of_the_table(router_name(world.loopback, "vpc-b")):
        moved = world.plans(other=replace(world.interfaces["other"], public_ip=None))
        assert network.apply(moved).keys() == {"vpc-b"}
    assert network.apply(plans) == {}
    left = {vpc: known(world, vpc, name) for vpc, name in (("vpc-a", "web"), ("vpc-b", "other"))}
    assert (left["vpc-a"] > 0, left["vpc-b"]) == (True, 0)


def known(world: World, vpc: str, name: str) -> int:
    """How many connections of a server its router knows, and forgets by that."""
    router = Namespace.open(router_name(world.loopback, vpc))
    try:
        return forget(router, {world.private(name)})
    finally:
        router.close()
