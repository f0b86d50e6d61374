"""NAT gateways and network ACLs in the real kernel, with the servers of test_network.py's making."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime

import pytest
from support.kernel_world import (
    ANYWHERE,
    BEYOND,
    DATABASE,
    ENOUGH,
    MUTE,
    NEARBY,
    PATIENCE,
    PING,
    WEB,
    World,
    allow,
    answering,
    ask,
    built_world,
    datagrams,
    internet,
    ping,
    reaches,
)

from skylift.cloud.compute.network.plan import VpcPlan
from skylift.cloud.domain.network import (
    AclAssociation,
    AclEntry,
    NatAddress,
    NatGateway,
    NetworkAcl,
    Route,
    RouteAssociation,
    RouteTable,
    route_target,
)

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with built_world(tmp_path_factory.getbasetemp()) as built:
        yield built


def nat_address(world: World) -> str:
    return f"127.{world.loopback.number}.3.30"


def nat_gateway(world: World) -> NatGateway:
    return NatGateway(
        "nat-1",
        "vpc-a",
        "subnet-a1",
        "eni-nat",
        "10.0.1.77",
        nat_address(world),
        "eipalloc-1",
        "eipassoc-1",
        world.sourced,
        "available",
    )


def with_nat(world: World, plans: list[VpcPlan], target: str = "nat-1") -> list[VpcPlan]:
    """The private subnet goes out through a NAT gateway in the public one."""
    routes = (Route("10.0.0.0/16", route_target("local")), Route(ANYWHERE, route_target(target)))
    table = RouteTable("rtb-private", "vpc-a", routes, (RouteAssociation("rtbassoc-9", "subnet-a2"),))
    return [
        replace(plan, route_tables=(*plan.route_tables, table), nat_gateways=(nat_gateway(world),))
        if plan.vpc.id == "vpc-a"
        else plan
        for plan in plans
    ]


def with_acls(plans: list[VpcPlan], *acls: NetworkAcl) -> list[VpcPlan]:
    return [replace(plan, acls=acls) if plan.vpc.id == "vpc-a" else plan for plan in plans]


def acl(subnet: str, *entries: AclEntry) -> NetworkAcl:
    return NetworkAcl(f"acl-{subnet[-2:]}", "vpc-a", False, entries, (AclAssociation("aclassoc-1", subnet),))


def entry(
    number: int, egress: bool, allow: bool, protocol: str = "-1", low: int = -1, high: int = -1, cidr: str = ANYWHERE
) -> AclEntry:
    return AclEntry(number, egress, protocol, low, high, allow, cidr)


PINGED = allow(False, "udp", PING, cidr=ANYWHERE)

OPEN = (entry(100, False, True), entry(100, True, True))


def test_a_private_subnet_goes_out_through_nat_and_is_seen_at_its_address(world: World) -> None:
    """`database` may not go out by its groups; `inner`, with a public address of its own, goes through NAT as well."""
    assert not world.reaches("inner", world.public("other"))
    with world.planned(with_nat(world, world.plans())):
        assert world.seen("inner", world.public("other")) == nat_address(world)
        assert world.seen("inner", world.public("web")) == nat_address(world)
        assert not world.reaches("database", world.public("other"))
        assert world.seen("inner", world.private("web")) == world.private("inner")
        with internet() as beyond, answering(beyond, BEYOND, WEB):
            assert world.servers["inner"].namespace.run(lambda: ask(BEYOND, WEB)) == NEARBY
    assert not world.reaches("inner", world.public("other"))


def test_a_server_without_a_public_address_uses_nat_too(world: World) -> None:
    hidden = replace(world.interfaces["inner"], public_ip=None)
    with world.planned(with_nat(world, world.plans(inner=hidden))):
        assert world.seen("inner", world.public("other")) == nat_address(world)
        assert not world.reaches("hidden", world.public("other"))


def test_the_addresses_of_a_gateway_take_turns(world: World) -> None:
    """One that is to be released is given no new connections; what goes on with it goes on."""
    other = nat_address(world).replace(".3.30", ".3.31")

    def plans(released: datetime | None = None) -> list[VpcPlan]:
        second = NatAddress("10.0.1.78", other, "eipalloc-2", "eipassoc-2", released=released)
        grown = replace(nat_gateway(world), secondary=(second,))
        return [
            replace(
                plan,
                nat_gateways=(grown,) if plan.nat_gateways else (),
                groups=tuple(replace(group, rules=(*group.rules, PINGED)) for group in plan.groups),
            )
            for plan in with_nat(world, world.plans())
        ]

    inner, far = world.servers["inner"].namespace, (world.public("other"), PING)
    with (
        world.planned(plans()),
        datagrams(world.servers["other"].namespace, PING) as there,
        datagrams(inner, 0) as one,
        datagrams(inner, 0) as two,
    ):

        def seen(here: socket.socket) -> str:
            here.sendto(b"who", far)
            _, caller = there.recvfrom(100)
            return str(caller[0])

        assert {world.seen("inner", world.public("other")) for _ in range(4)} == {nat_address(world), other}
        before = seen(one), seen(two)
        assert set(before) == {nat_address(world), other}
        world.network.apply(plans(world.sourced))
        assert {world.seen("inner", world.public("other")) for _ in range(4)} == {nat_address(world)}
        assert (seen(one), seen(two)) == before


def test_nobody_reaches_anything_through_nat_from_outside(world: World) -> None:
    with world.planned(with_nat(world, world.plans())):
        assert world.seen("inner", world.public("other")) == nat_address(world)
        assert not reaches(nat_address(world), WEB)
        assert not world.reaches("other", nat_address(world))
        # It is let in at its own address, and its answers go to NAT, which does not know them.
        assert not reaches(world.public("inner"), WEB)
        assert not world.reaches("other", world.public("inner"))


def test_a_subnet_can_be_led_through_a_server(world: World) -> None:
    """A firewall appliance between two subnets: it sees what goes by, and without it nothing goes by another way."""
    through = Route("10.0.2.0/24", route_target("eni-inner"))
    local = Route("10.0.0.0/16", route_target("local"))
    table = RouteTable("rtb-led", "vpc-a", (local, through), (RouteAssociation("rtbassoc-2", "subnet-a1"),))

    opened = allow(False, "tcp", DATABASE, cidr=ANYWHERE)

    def plans(*, checked: bool = False, let_in: bool = True) -> list[VpcPlan]:
        """`let_in`: by the appliance's own groups, which count as well."""
        inner = replace(world.interfaces["inner"], source_dest_check=checked)
        return [
            replace(
                plan,
                route_tables=(plan.route_tables[0], table),
                groups=tuple(replace(one, rules=(*one.rules, opened)) if let_in else one for one in plan.groups),
            )
            if plan.vpc.id == "vpc-a"
            else plan
            for plan in world.plans(inner=inner)
        ]

    forwarding, database = world.servers["inner"].namespace, world.private("database")
    with world.planned(plans()):
        assert not world.reaches("web", database, DATABASE)
        forwarding.write_settings({"ipv4/ip_forward": "1", "ipv4/conf/all/send_redirects": "0"})
        assert world.seen("web", database, DATABASE) == world.private("web")
        # Within its subnet a server is reached as ever.
        assert world.seen("web", world.private("hidden")) == world.private("web")
        world.network.detach("eni-inner")
        assert not world.reaches("web", database, DATABASE)
        world.attach("inner")
        assert world.seen("web", database, DATABASE) == world.private("web")
        world.network.apply(plans(let_in=False))
        assert not world.reaches("web", database, DATABASE)
        world.network.apply(plans(checked=True))
        assert not world.reaches("web", database, DATABASE)
    forwarding.write_settings({"ipv4/ip_forward": "0"})
    assert world.seen("web", database, DATABASE) == world.private("web")


def test_without_its_route_a_connection_that_is_known_stops_too(world: World) -> None:
    """And goes on once the route is there again; nobody has to begin anew."""
    let_in = [
        replace(plan, groups=tuple(replace(one, rules=(*one.rules, PINGED)) for one in plan.groups))
        for plan in world.plans()
    ]
    led_nowhere = [
        replace(plan, route_tables=plan.route_tables[:1]) if plan.vpc.id == "vpc-a" else plan for plan in let_in
    ]
    with (
        world.planned(let_in),
        datagrams(world.servers["other"].namespace, PING) as there,
        datagrams(world.servers["web"].namespace, 0) as here,
    ):
        here.connect((world.public("other"), PING))

        def arrives(word: bytes, patience: float = PATIENCE) -> bool:
            here.send(word)
            there.settimeout(patience)
            try:
                said, caller = there.recvfrom(100)
            except TimeoutError:
                return False
            there.sendto(said, caller)
            return said == word and here.recv(100) == word

        assert arrives(b"one")
        world.network.apply(led_nowhere)
        assert not arrives(b"two", ENOUGH)
        world.network.apply(let_in)
        assert arrives(b"three")


def test_without_gateway_or_route_nat_leads_nowhere(world: World) -> None:
    """What NAT sends on follows the table of the subnet that it is in."""
    plans = with_nat(world, world.plans())
    with world.planned([replace(plan, internet_gateway=None) for plan in plans]):
        assert not world.reaches("inner", world.public("other"))
    with world.planned(with_nat(world, world.plans(), target="nat-2")):
        assert not world.reaches("inner", world.public("other"))
    shut = tuple(
        replace(one, routes=one.routes[:1]) if one.id == "rtb-public" else one for one in plans[0].route_tables
    )
    with world.planned([replace(plans[0], route_tables=shut), plans[1]]):
        assert not world.reaches("inner", world.public("other"))
    with world.planned(plans):
        assert world.seen("inner", world.public("other")) == nat_address(world)


def test_a_nat_gateway_that_goes_takes_its_connections_with_it(world: World) -> None:
    rule = allow(False, "udp", 53, cidr=ANYWHERE)
    plans = with_nat(world, world.with_rule(rule))
    other = [replace(one, rules=(*one.rules, rule)) for one in plans[1].groups]
    plans[1] = replace(plans[1], groups=tuple(other))
    with (
        world.planned(plans),
        datagrams(world.servers["other"].namespace, 53) as server,
        datagrams(world.servers["inner"].namespace, 0) as client,
    ):
        client.connect((world.public("other"), 53))
        client.send(b"one")
        said, caller = server.recvfrom(100)
        assert (said, caller[0]) == (b"one", nat_address(world))
        world.network.apply([replace(plans[0], nat_gateways=()), plans[1]])
        server.sendto(b"answer", caller)
        client.settimeout(0.4)
        with pytest.raises(TimeoutError):
            client.recv(100)


def test_acls_stand_between_subnets_and_not_within_one(world: World) -> None:
    denies = acl("subnet-a1", entry(100, True, True))
    with world.planned(with_acls(world.plans(), denies)):
        assert world.seen("peer", world.private("web")) == world.private("peer")
        assert not world.reaches("inner", world.private("web"))
        assert not reaches(world.public("web"), WEB)
        # By public addresses it leaves the subnet and comes back.
        assert not world.reaches("peer", world.public("web"))
    assert world.seen("inner", world.private("web")) == world.private("inner")


def test_acls_are_stateless(world: World) -> None:
    """Whoever is let in is not answered unless the answers are let out, and the other way round."""
    let_in = entry(100, False, True, "tcp", WEB, WEB)
    with world.planned(with_acls(world.plans(), acl("subnet-a1", let_in))):
        assert not world.reaches("inner", world.private("web"))
    answers = entry(100, True, True, "tcp", 1024, 65535)
    with world.planned(with_acls(world.plans(), acl("subnet-a1", let_in, answers))):
        assert world.seen("inner", world.private("web")) == world.private("inner")
        assert ask(world.public("web"), WEB) == f"127.{world.loopback.number}.0.1"
        # Its own connections get no answers: those come to other ports.
        assert not world.reaches("web", world.private("inner"))


def test_the_lowest_number_decides(world: World) -> None:
    host = f"127.{world.loopback.number}.0.1/32"
    first = (entry(100, False, False, cidr=host), entry(110, False, True))
    with world.planned(with_acls(world.plans(), acl("subnet-a1", OPEN[1], *reversed(first)))):
        assert not reaches(world.public("web"), WEB)
        assert world.seen("other", world.public("web")) == world.public("other")
    last = (entry(120, False, False, cidr=host), entry(110, False, True))
    with world.planned(with_acls(world.plans(), acl("subnet-a1", OPEN[1], *last))):
        assert ask(world.public("web"), WEB) == f"127.{world.loopback.number}.0.1"


def test_acls_and_groups_are_two_gates(world: World) -> None:
    with world.planned(with_acls(world.plans(), acl("subnet-a1", *OPEN), acl("subnet-a2", *OPEN))):
        assert world.seen("web", world.private("database"), DATABASE) == world.private("web")
        assert not world.reaches("web", world.private("database"), WEB)
    pinged = (entry(90, False, False, "icmp", 8, -1), *OPEN)
    rule = replace(allow(False, "icmp", cidr=ANYWHERE), from_port=8, to_port=-1)
    with world.planned(with_acls(world.with_rule(rule), acl("subnet-a1", *pinged))):
        assert not ping(world.public("web"))
        assert ask(world.public("web"), WEB) == f"127.{world.loopback.number}.0.1"
        assert world.servers["peer"].namespace.run(lambda: ping(world.private("web"), PATIENCE))


def test_an_acl_cuts_what_is_known(world: World) -> None:
    plans = world.with_rule(allow(False, "udp", MUTE, cidr=ANYWHERE))
    with world.planned(plans), datagrams(world.servers["web"].namespace, MUTE) as server, datagrams(None, 0) as client:
        client.connect((world.public("web"), MUTE))
        client.send(b"one")
        assert server.recv(100) == b"one"
        world.network.apply(with_acls(plans, acl("subnet-a1", entry(1, False, False, "udp", MUTE, MUTE), *OPEN)))
        client.send(b"two")
        world.network.apply(plans)
        client.send(b"three")
        assert server.recv(100) == b"three"


@contextmanager
def through_nat(world: World, *acls: NetworkAcl) -> Iterator[None]:
    with world.planned(with_acls(with_nat(world, world.plans()), *acls)):
        yield


def test_nat_has_the_acl_of_its_subnet_before_it(world: World) -> None:
    def gets_out() -> bool:
        return world.reaches("inner", world.public("other"))

    inner = f"{world.private('inner')}/32"
    with through_nat(world, acl("subnet-a1", *OPEN)):
        assert world.seen("inner", world.public("other")) == nat_address(world)
    # Into NAT, out of it, back to it, and from it to the server.
    with through_nat(world, acl("subnet-a1", entry(90, False, False, "tcp", WEB, WEB, inner), *OPEN)):
        assert not gets_out()
    with through_nat(world, acl("subnet-a1", entry(90, True, False, "tcp", WEB, WEB), *OPEN)):
        assert not gets_out()
    far = f"{world.public('other')}/32"
    with through_nat(world, acl("subnet-a1", entry(90, False, False, cidr=far), *OPEN)):
        assert not gets_out()
    with through_nat(world, acl("subnet-a1", entry(90, True, False, cidr=inner), *OPEN)):
        assert not gets_out()
    # The server's own subnet.
    with through_nat(world, acl("subnet-a2", entry(90, False, False, cidr=far), *OPEN)):
        assert not gets_out()
    with through_nat(world, acl("subnet-a2", *OPEN)):
        assert world.seen("inner", world.public("other")) == nat_address(world)
