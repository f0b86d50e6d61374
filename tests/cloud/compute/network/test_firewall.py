"""Plans as rulesets and routes. That the kernel then does what they say, tests/real/test_network.py shows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from skylift.cloud.compute.network.firewall import vpc_ruleset
from skylift.cloud.compute.network.plan import Peer, VpcPlan
from skylift.cloud.compute.network.router import FALLBACK, PlannedRoute, planned_routes
from skylift.cloud.compute.network.ruleset import Ruleset
from skylift.cloud.compute.network.traffic import protocol_match
from skylift.cloud.domain.network import (
    NatAddress,
    NatGateway,
    NetworkInterface,
    PrivateAddress,
    Route,
    RouteAssociation,
    RouteTable,
    Rule,
    SecurityGroup,
    Subnet,
    Vpc,
    route_target,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TABLE = 0x0A000100


def rule(
    protocol: str = "tcp",
    low: int = 22,
    high: int = 22,
    *,
    egress: bool = False,
    cidr: str | None = None,
    cidr6: str | None = None,
    group_id: str | None = None,
) -> Rule:
    return Rule("sgr-1", egress, protocol, low, high, cidr, cidr6, group_id)


def interface(
    name: str, address: str, *groups: str, public: str | None = None, checked: bool = True
) -> NetworkInterface:
    return NetworkInterface(
        f"eni-{name}", "vpc-1", "subnet-1", "02:00:00:00:00:01", address, groups, NOW, public, source_dest_check=checked
    )


def plan(*rules: Rule, interfaces: tuple[NetworkInterface, ...] = (), gateway: str | None = "igw-1") -> VpcPlan:
    return VpcPlan(
        Vpc("vpc-1", "10.0.0.0/16"),
        (Subnet("subnet-1", "vpc-1", "10.0.1.0/24", "z"),),
        gateway,
        (),
        (SecurityGroup("sg-1", "vpc-1", "one", "", rules), SecurityGroup("sg-2", "vpc-1", "two", "")),
        interfaces,
    )


def whole(given: VpcPlan) -> Ruleset:
    return vpc_ruleset(given, connections=1 << 15)


def ruleset(given: VpcPlan) -> str:
    return whole(given).script()


def block(text: str, head: str) -> list[str]:
    """The lines within `head { ... }`."""
    lines = text.splitlines()
    start = lines.index(f"  {head} {{")
    return [line.strip() for line in lines[start + 1 : lines.index("  }", start)]]


@pytest.mark.parametrize(
    ("given", "match"),
    [
        (rule("-1", -1, -1), ""),
        (rule("tcp", 22, 22), "tcp dport 22"),
        (rule("6", 22, 22), "tcp dport 22"),
        (rule("udp", 1000, 2000), "udp dport 1000-2000"),
        (rule("17", 53, 53), "udp dport 53"),
        (rule("tcp", 0, 65535), "meta l4proto tcp"),
        (rule("tcp", -1, -1), "meta l4proto tcp"),
        (rule("tcp", 0, 0), "tcp dport 0"),
        (rule("icmp", -1, -1), "meta l4proto icmp"),
        (rule("icmp", 8, -1), "icmp type 8"),
        (rule("icmp", 3, 4), "icmp type 3 icmp code 4"),
        (rule("1", 0, 0), "icmp type 0 icmp code 0"),
        (rule("50", -1, -1), "meta l4proto 50"),
        (rule("132", 80, 80), "meta l4proto 132"),
    ],
)
def test_protocols_and_ports(given: Rule, match: str) -> None:
    assert protocol_match(given) == match


def test_a_protocol_that_is_none() -> None:
    with pytest.raises(ValueError, match="http"):
        protocol_match(rule("http"))


def test_each_direction_has_its_own_rules() -> None:
    text = ruleset(
        plan(
            rule(cidr="192.0.2.0/24"),
            rule("udp", 53, 53, egress=True, cidr="198.51.100.7/32"),
            rule("-1", -1, -1, egress=True, cidr="0.0.0.0/0"),
            rule(cidr6="::/0"),
        )
    )
    assert block(text, "chain in-sg-1") == ["ip saddr 192.0.2.0/24 tcp dport 22 accept"]
    assert block(text, "chain out-sg-1") == [
        "ip daddr 198.51.100.7/32 udp dport 53 goto let_in",
        "meta nfproto ipv4 goto let_in",
    ]
    assert block(text, "chain in-sg-2") == []


def test_a_group_means_its_members() -> None:
    members = (interface("1", "10.0.1.5", "sg-2"), interface("2", "10.0.1.6", "sg-1", "sg-2"))
    text = ruleset(plan(rule(group_id="sg-2"), rule(group_id="sg-elsewhere"), interfaces=members))
    assert block(text, "chain in-sg-1") == ["ip saddr @members-sg-2 tcp dport 22 accept"]
    assert block(text, "set members-sg-2") == ["type ipv4_addr", "elements = { 10.0.1.5, 10.0.1.6 }"]
    assert "members-sg-1" not in text


def test_interfaces_with_the_same_groups_share_chains() -> None:
    several = tuple(interface(str(number), f"10.0.1.{number}", "sg-2", "sg-1") for number in range(10, 60))
    text = ruleset(plan(rule(cidr="0.0.0.0/0"), interfaces=(*several, interface("9", "10.0.1.9", "sg-1"))))
    assert block(text, "chain in-sg-1.sg-2") == ["jump in-sg-1", "jump in-sg-2"]
    assert [line for line in text.splitlines() if "chain in-" in line] == [
        "  chain in-sg-1 {",
        "  chain in-sg-2 {",
        "  chain in-sg-1.sg-2 {",
    ]
    assert '"e10" : jump in-sg-1.sg-2' in text and '"e9" : jump in-sg-1' in text


def test_sources_are_bound_to_interfaces() -> None:
    text = ruleset(plan(interfaces=(interface("1", "10.0.1.5"), interface("2", "10.0.1.6", checked=False))))
    assert block(text, "set bound")[1] == 'elements = { "e1" . 10.0.1.5, "e2" . 10.0.1.6 }'
    assert block(text, "set unchecked")[1] == 'elements = { "e2" }'
    assert block(text, "map subnet_of")[1] == 'elements = { "e1" : 0x0a000100, "e2" : 0x0a000100 }'


def test_only_public_addresses_are_translated_and_only_with_a_gateway() -> None:
    interfaces = (interface("1", "10.0.1.5", public="127.64.0.9"), interface("2", "10.0.1.6"))
    text = ruleset(plan(interfaces=interfaces))
    assert block(text, "map private_of")[1] == "elements = { 127.64.0.9 : 10.0.1.5 }"
    assert block(text, "map public_of")[1] == "elements = { 10.0.1.5 : 127.64.0.9 }"
    assert block(text, "set translated")[1] == "elements = { 10.0.1.5 }"
    without = ruleset(plan(interfaces=interfaces, gateway=None))
    for collection in ("map private_of", "map public_of", "set translated"):
        assert len(block(without, collection)) == 1


def test_what_reaches_the_router_itself() -> None:
    assert block(ruleset(plan()), "chain local") == [
        "type filter hook input priority filter; policy drop;",
        'iifname "lo" accept',
        "iifname . ip saddr != @bound drop",
        "ct state established,related accept",
        "ct state new add @begun { iifname . symhash mod 256 ct count over 128 } drop",
        "ip daddr { 10.0.0.2, 169.254.169.253 } meta l4proto { tcp, udp } th dport 53 accept",
        "ip daddr { 169.254.169.254, 169.254.169.252 } tcp dport 80 accept",
        "ip daddr @gateways icmp type echo-request accept",
    ]


def test_the_same_plan_is_the_same_text_in_any_order() -> None:
    one = plan(
        rule(cidr="0.0.0.0/0"), interfaces=(interface("1", "10.0.1.5", "sg-1"), interface("2", "10.0.1.6", "sg-2"))
    )
    other = replace(one, groups=one.groups[::-1], interfaces=one.interfaces[::-1])
    assert whole(one) == whole(other)
    assert whole(one).change_from(whole(other)) == ""


@pytest.mark.parametrize(
    "bad",
    [
        plan(interfaces=(interface('1"; drop', "10.0.1.5"),)),
        plan(interfaces=(interface("1", "10.0.1.5; drop"),)),
        plan(interfaces=(interface("1", "10.0.1.5", public="127.0.0.1 }"),)),
        plan(rule(cidr="0.0.0.0/0 accept")),
        plan(rule("6; drop", cidr="0.0.0.0/0")),
    ],
)
def test_nothing_but_addresses_ids_and_numbers_gets_into_the_text(bad: VpcPlan) -> None:
    with pytest.raises(ValueError, match=r"drop|accept|\}"):
        ruleset(bad)


def routed(
    *tables: RouteTable, gateway: str | None = "igw-1", interfaces: tuple[NetworkInterface, ...] = ()
) -> set[PlannedRoute]:
    return planned_routes(replace(plan(gateway=gateway, interfaces=interfaces), route_tables=tables))


def route_to(cidr: str, target: str) -> Route:
    return Route(cidr, route_target(target))


LOCAL = route_to("10.0.0.0/16", "local")


def table(*routes: Route, subnet: str | None = None) -> RouteTable:
    return RouteTable("rtb-1", "vpc-1", (LOCAL, *routes), (RouteAssociation("rtbassoc-1", subnet),))


def test_a_subnet_without_a_default_route_keeps_to_the_vpc() -> None:
    assert routed(table()) == {
        PlannedRoute(TABLE, "10.0.0.0/16", "throw"),
        PlannedRoute(TABLE, "0.0.0.0/0", "blackhole"),
    }


def test_a_gateway_route_leads_out() -> None:
    out = route_to("0.0.0.0/0", "igw-1")
    assert PlannedRoute(TABLE, "0.0.0.0/0", "unicast") in routed(table(out))
    assert PlannedRoute(TABLE, "0.0.0.0/0", "blackhole") not in routed(table(out))
    part = routed(table(route_to("198.51.100.0/24", "igw-1")))
    assert PlannedRoute(TABLE, "198.51.100.0/24", "unicast") in part
    assert PlannedRoute(TABLE, "0.0.0.0/0", "blackhole") in part


@pytest.mark.parametrize("target", ["igw-other", "nat-1", "eni-1"])
def test_a_target_that_is_not_there_swallows(target: str) -> None:
    assert PlannedRoute(TABLE, "198.51.100.0/24", "blackhole") in routed(table(route_to("198.51.100.0/24", target)))
    assert PlannedRoute(TABLE, "0.0.0.0/0", "blackhole") in routed(table(route_to("0.0.0.0/0", "igw-1")), gateway=None)


def test_an_association_comes_before_the_main_table() -> None:
    main, own = table(route_to("0.0.0.0/0", "igw-1")), table(subnet="subnet-1")
    assert PlannedRoute(TABLE, "0.0.0.0/0", "blackhole") in routed(main, own)
    assert PlannedRoute(TABLE, "0.0.0.0/0", "unicast") in routed(main)
    assert routed() == {PlannedRoute(TABLE, "0.0.0.0/0", "blackhole")}


def test_ipv6_routes_are_not_for_this_network() -> None:
    assert routed(table(route_to("::/0", "igw-1"))) == routed(table())


def test_a_route_to_a_server_has_nothing_behind_it() -> None:
    """Should the server's link go, its packets go nowhere; and within the subnet no table is asked."""
    nat = interface("nat", "10.0.1.5")
    assert routed(table(route_to("0.0.0.0/0", "eni-nat")), interfaces=(nat,)) == {
        PlannedRoute(TABLE, "10.0.0.0/16", "throw"),
        PlannedRoute(TABLE, "10.0.1.0/24", "throw"),
        PlannedRoute(TABLE, "0.0.0.0/0", "unicast", through="eni-nat", via="10.0.1.5"),
        PlannedRoute(TABLE, "0.0.0.0/0", "blackhole", metric=FALLBACK),
    }


def test_what_is_not_for_a_checked_interface_does_not_get_to_it() -> None:
    """Nothing could lead it there without a route: without one nobody looks."""
    given = plan(interfaces=(interface("nat", "10.0.1.5"),))
    routing = replace(given, route_tables=(table(route_to("0.0.0.0/0", "eni-nat")),))
    check = 'oifname != "up" oifname != @unchecked oifname . ip daddr != @bound drop'
    assert check in block(ruleset(routing), "chain forward")
    assert check not in block(ruleset(given), "chain forward")


def test_every_address_of_an_interface_is_its_own() -> None:
    more = (PrivateAddress("10.0.1.8"), PrivateAddress("10.0.1.9", "127.40.1.9"))
    one = replace(interface("1", "10.0.1.5", "sg-2", public="127.40.1.1"), secondary=more)
    text = ruleset(plan(rule(group_id="sg-2"), interfaces=(one,)))
    for name in ("bound", "members-sg-2"):
        (elements,) = [line for line in block(text, f"set {name}") if line.startswith("elements")]
        assert all(address in elements for address in ("10.0.1.5", "10.0.1.8", "10.0.1.9"))
    (translated,) = [line for line in block(text, "map public_of") if line.startswith("elements")]
    assert translated == "elements = { 10.0.1.5 : 127.40.1.1, 10.0.1.9 : 127.40.1.9 }"


def test_a_peered_vpc_comes_in_by_its_own_link_and_ranges() -> None:
    peer = Peer("pcx-0123456789abcdef0", "vpc-2", ("10.1.0.0/16", "10.2.0.0/16"))
    alone = plan(interfaces=(interface("web", "10.0.1.5"),))
    joined = replace(alone, peers=(peer,))
    link = '"p3456789abcdef0"'
    entry = f"iifname {link} ip saddr {{ 10.1.0.0/16, 10.2.0.0/16 }} accept"
    assert entry in block(ruleset(joined), "chain guard")
    assert "iifname @peers goto let_in" in block(ruleset(joined), "chain forward")
    assert "oifname @peers accept" in block(ruleset(joined), "chain let_in")
    assert not [line for line in ruleset(alone).splitlines() if "@peers" in line]
    with pytest.raises(ValueError):
        ruleset(replace(alone, peers=(replace(peer, cidrs=("10.1.0.0/16 } accept",)),)))


PRIVATE = NatGateway(
    "nat-1", "vpc-1", "subnet-nat", "eni-nat", "10.0.9.5", None, None, None, NOW, "available", connectivity="private"
)


def test_a_private_nat_gateway_leads_to_peers_alone() -> None:
    """As its own subnet's table says; from there it is seen at its address, by the next hop of the route to it."""
    beyond = RouteTable(
        "rtb-nat",
        "vpc-1",
        (route_to("10.0.0.0/16", "local"), route_to("10.7.0.0/16", "pcx-1"), route_to("0.0.0.0/0", "igw-1")),
        (RouteAssociation("rtbassoc-2", "subnet-nat"),),
    )
    given = plan()
    peered = replace(
        given,
        subnets=(*given.subnets, Subnet("subnet-nat", "vpc-1", "10.0.9.0/24", "z")),
        route_tables=(table(route_to("0.0.0.0/0", "nat-1")), beyond),
        nat_gateways=(PRIVATE,),
        peers=(Peer("pcx-1", "vpc-2", ("10.7.0.0/16",)),),
    )
    found = {route for route in planned_routes(peered) if route.table == TABLE and route.kind != "throw"}
    assert found == {
        PlannedRoute(TABLE, "10.7.0.0/16", "unicast", nat="10.0.9.5", peering="pcx-1"),
        PlannedRoute(TABLE, "10.7.0.0/16", "blackhole", metric=FALLBACK),
        PlannedRoute(TABLE, "0.0.0.0/0", "blackhole", metric=FALLBACK),
    }
    rules = whole(peered)
    assert rules.collections["nat_of"].elements == {"10.0.9.5": "10.0.9.5"}
    assert "oifname @peers snat ip to rt ip nexthop map @nat_of" in rules.chains["outbound"]


def test_the_addresses_of_a_nat_gateway_take_turns_but_for_those_that_are_to_go() -> None:
    spare = (NatAddress("10.0.9.6", "127.7.1.6"), NatAddress("10.0.9.7", "127.7.1.7", released=NOW))
    public = replace(PRIVATE, public_ip="127.7.1.5", connectivity="public", secondary=spare)
    rules = whole(replace(plan(), nat_gateways=(public,)))
    assert rules.collections["nat_of"].elements == {}
    turns = "snat ip to numgen inc mod 2 map { 0 : 127.7.1.5, 1 : 127.7.1.6 }"
    assert f'oifname "up" rt ip nexthop 10.0.9.5 {turns}' in rules.chains["outbound"]
    assert not any("@peers" in rule for rule in rules.chains["outbound"])
