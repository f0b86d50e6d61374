"""What is closed and what is open, as elements of sets; whether the kernel agrees is tests/real's to see."""

from __future__ import annotations

import itertools
from ipaddress import IPv4Address, IPv4Network

from hypothesis import given
from hypothesis import strategies as st

from skylift.cloud.compute.network.egress_policy import CLOSED, EgressPolicy, local_networks, rules
from skylift.cloud.domain.opening import parse_openings

NETWORKS = st.builds(
    lambda number, length: IPv4Network((number >> (32 - length) << (32 - length), length)),
    st.integers(0, 2**32 - 1),
    st.integers(8, 32),
)


def test_the_ranges_that_are_no_ones_on_the_internet_are_closed() -> None:
    policy = EgressPolicy()
    for address in (
        "0.0.0.1",
        "10.1.2.3",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "168.63.129.16",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.168.255.255",
        "198.19.0.1",
        "224.0.0.251",
        "255.255.255.255",
    ):
        assert policy.is_closed(IPv4Address(address)), address
    for address in ("8.8.8.8", "11.0.0.1", "100.128.0.1", "172.15.0.1", "172.32.0.1", "192.167.0.1", "198.20.0.1"):
        assert not policy.is_closed(IPv4Address(address)), address


def test_what_the_host_has_and_leads_to_is_closed() -> None:
    policy = EgressPolicy(frozenset({IPv4Address("8.8.4.4")}), (IPv4Network("9.9.9.0/24"),))
    assert policy.is_closed(IPv4Address("8.8.4.4")) and policy.is_closed(IPv4Address("9.9.9.9"))
    assert not policy.is_closed(IPv4Address("9.9.8.9"))
    assert "8.8.4.4" in policy.elements()["own"] and "9.9.9.0/24" in policy.elements()["closed"]


def test_an_address_alone_is_opened_before_the_host_is_refused() -> None:
    found = EgressPolicy(openings=parse_openings(["10.0.0.5:80", "10.0.0.6", "10.1.0.0/16:53/udp"])).elements()
    assert found["opened_exactly"] == ["10.0.0.5 . tcp . 80"]
    assert found["opened"] == ["10.0.0.6/32"]
    assert found["opened_ports"] == ["10.1.0.0/16 . udp . 53"]
    order = [next(name for name in found if f"@{name} " in rule) for rule in rules("drop")]
    assert order == ["opened_exactly", "own", "opened_ports", "opened", "closed"]


def test_what_overlaps_is_one() -> None:
    found = EgressPolicy(openings=parse_openings(["10.0.0.0/8", "10.1.0.0/16", "10.0.0.0/8:53", "10.1.0.0/16:53"]))
    assert found.elements()["opened"] == ["10.0.0.0/8"]
    assert found.elements()["opened_ports"] == ["10.0.0.0/8 . tcp . 53"]


def test_the_script_replaces_what_was_there() -> None:
    script = EgressPolicy(openings=parse_openings(["10.0.0.5:80"])).fill("inet t")
    for name in ("closed", "own", "opened", "opened_ports", "opened_exactly"):
        assert f"flush set inet t {name}\n" in script
    assert "add element inet t opened_exactly { 10.0.0.5 . tcp . 80 }\n" in script
    assert "add element inet t own" not in script


def test_a_link_that_leads_to_most_of_the_internet_is_no_network() -> None:
    """Half and half, as OpenVPN has it; and all but private ranges, as others do."""
    halves = [(IPv4Network("0.0.0.0/1"), 5), (IPv4Network("128.0.0.0/1"), 5)]
    assert local_networks([*halves, (IPv4Network("9.9.9.0/24"), 2)]) == (IPv4Network("9.9.9.0/24"),)
    public = [IPv4Network("0.0.0.0/0")]
    for closed in (IPv4Network("10.0.0.0/8"), IPv4Network("172.16.0.0/12"), IPv4Network("192.168.0.0/16")):
        public = [
            part
            for network in public
            for part in (network.address_exclude(closed) if closed.subnet_of(network) else [network])
        ]
    assert local_networks((network, 7) for network in public) == ()
    # A company's own ranges, some of them large.
    assert local_networks([(IPv4Network("17.0.0.0/8"), 7)]) == (IPv4Network("17.0.0.0/8"),)


@given(st.lists(st.tuples(NETWORKS, st.integers(1, 3)), max_size=12))
def test_no_two_elements_overlap(routed: list[tuple[IPv4Network, int]]) -> None:
    closed = EgressPolicy(networks=local_networks(routed)).closed
    ordered = sorted(closed)
    assert all(one.broadcast_address < other.network_address for one, other in itertools.pairwise(ordered))
    assert all(any(known.subnet_of(one) for one in closed) for known in CLOSED)
