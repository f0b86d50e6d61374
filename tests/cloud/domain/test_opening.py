"""What a text opens, and what it says where it opens nothing."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylift.cloud.domain.opening import (
    NEVER_OPEN,
    Opening,
    OpeningError,
    is_closed_for_good,
    parse_opening,
    parse_openings,
)


@pytest.mark.parametrize(
    ("text", "opening"),
    [
        ("10.0.0.5", Opening(IPv4Network("10.0.0.5/32"))),
        ("10.0.0.5:5432", Opening(IPv4Network("10.0.0.5/32"), 5432, "tcp")),
        ("10.0.0.5:53/udp", Opening(IPv4Network("10.0.0.5/32"), 53, "udp")),
        ("192.168.1.0/24", Opening(IPv4Network("192.168.1.0/24"))),
        ("192.168.1.0/24:443", Opening(IPv4Network("192.168.1.0/24"), 443, "tcp")),
    ],
)
def test_what_a_text_opens(text: str, opening: Opening) -> None:
    assert parse_opening(text) == opening
    assert str(opening) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not ADDRESS"),
        ("db.example.test:5432", "Names are not taken"),
        ("[fd00::1]:80", "is not ADDRESS"),
        ("10.0.0.5:5432 ", "is not ADDRESS"),
        ("10.0.0.5\n", "is not ADDRESS"),
        ("10.0.0.5:", "is not ADDRESS"),
        ("10.0.0.٥", "is not ADDRESS"),
        ("10.0.0.5:0", "a port is a number from 1 to 65535"),
        ("10.0.0.5:65536", "a port is a number from 1 to 65535"),
        ("10.0.0.5:53/sctp", "a protocol is tcp or udp"),
        ("10.0.0", "Expected 4 octets"),
        ("10.0.0.256", "not permitted"),
        ("010.0.0.1", "Leading zeros are not permitted"),
        ("10.0.0.0/33", "not a valid netmask"),
        ("10.0.0.0/255.0.0.0", "a number from 0 to 32"),
        ("192.168.1.5/24", "the network is 192.168.1.0/24"),
        ("127.0.0.1:80", "loopback"),
        ("169.254.169.254:80", "link-local"),
        ("0.0.0.0/0", "stay closed"),
        ("64.0.0.0/2", "loopback"),
        ("224.0.0.251:5353/udp", "multicast"),
        ("255.255.255.255", "reserved"),
    ],
)
def test_what_is_wrong_is_said(text: str, words: str) -> None:
    with pytest.raises(OpeningError, match=re.escape(words)):
        parse_opening(text)


def test_each_is_there_once_and_none_is_none() -> None:
    found = parse_openings(["10.0.0.9", "10.0.0.5:80", "10.0.0.9", "10.0.0.5:80/tcp"])
    assert [str(one) for one in found] == ["10.0.0.5:80", "10.0.0.9"]
    assert parse_openings(["none"]) == ()
    with pytest.raises(OpeningError):
        parse_openings(["none", "10.0.0.9"])


@given(st.text(alphabet="0123456789./:udptc\n- ", max_size=40))
def test_any_text_is_an_opening_or_an_error(text: str) -> None:
    try:
        opening = parse_opening(text)
    except OpeningError:
        return
    assert parse_opening(str(opening)) == opening
    assert not any(opening.network.overlaps(closed) for closed in NEVER_OPEN)
    assert not is_closed_for_good(IPv4Address(opening.network[0]))
