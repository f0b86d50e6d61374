from __future__ import annotations

import errno

import pytest

from skylift.cloud.compute.network import netlink, rtnetlink
from skylift.cloud.compute.network.netlink import KernelRoute, TableRule

# As pyroute2 0.9.7 has them, little-endian and without the header.
BYTES = {
    "a pair of links": (
        netlink.add_veth(
            "h1", mtu=9001, mac="02:00:00:00:00:02", peer="host", peer_mac="02:00:00:00:00:01", peer_namespace=7
        ),
        "00000000000000000000000000000000070003006831000008000400292300000a0001000200000000020000500012000900010076657468"
        "00000000400002003c0001000000000000000000000000000000000009000300686f73740000000008000400292300000a00010002000000"
        "0001000008001c0007000000",
    ),
    "a link up": (
        netlink.link_up(5, "skylift /home/x"),
        "0000000005000000010000000100000014001400736b796c696674202f686f6d652f7800",
    ),
    "a link on which nobody asks for neighbours": (netlink.link_up(5, arp=False), "00000000050000008100000081000000"),
    "an address": (
        netlink.add_address(3, "10.0.0.5", 24, broadcast="10.0.0.255", label="eth0:1"),
        "0218000003000000080002000a000005080001000a000005080004000a0000ff0b000300657468303a3100000800080000020000",
    ),
    "a route through a neighbour": (
        netlink.set_route(KernelRoute("10.0.0.0/16", link=4, via="169.254.1.1", table=1234, metric=1000)),
        "021000000004000104000000080001000a00000008000f00d204000008000600e8030000080004000400000008000500a9fe0101",
    ),
    "a route that ends": (
        netlink.set_route(KernelRoute("0.0.0.0/0", "blackhole")),
        "020000000004000600000000080001000000000008000f00fe000000",
    ),
    "a rule of a mark": (
        netlink.add_rule(TableRule(77, 77)),
        "02000000000000010000000008000a004d00000008000f004d00000008000600e8030000",
    ),
    "a rule of a source": (
        netlink.add_rule(TableRule(101, source="10.0.0.4")),
        "020020000000000100000000080002000a00000408000f006500000008000600e8030000",
    ),
    "a neighbour": (
        netlink.set_neighbour(9, "10.0.0.4", "02:aa:bb:cc:dd:ee"),
        "020000000900000080000000080001000a0000040a00020002aabbccddee0000",
    ),
}


@pytest.mark.parametrize("name", BYTES)
def test_messages_have_the_bytes_that_another_codec_makes(name: str) -> None:
    request, expected = BYTES[name]
    assert request.message.hex() == expected


def test_attributes_are_read_as_they_were_written() -> None:
    written = rtnetlink.attributes({1: "eth0", 2: 1234, 3: b"\x0a\x00\x00\x05", 4: None})
    read = rtnetlink.read_attributes(written)
    assert rtnetlink.text_in(read, 1) == "eth0"
    assert rtnetlink.number_in(read, 2) == 1234
    assert rtnetlink.address_in(read, 3) == "10.0.0.5"
    assert rtnetlink.address_in(read, 4) is None


@pytest.mark.parametrize("rest", [b"\x00", b"\x00\x00\x01\x00", b"\x03\x00\x01\x00abc"])
def test_what_is_no_attribute_ends_the_reading(rest: bytes) -> None:
    assert rtnetlink.read_attributes(rtnetlink.attributes({2: 1}) + rest) == {2: b"\x01\x00\x00\x00"}


def test_messages_that_came_together_are_told_apart() -> None:
    refused = (-errno.ENODEV).to_bytes(4, "little", signed=True)
    data = rtnetlink.packet(rtnetlink.NLMSG_ERROR, 0, refused, 7) + rtnetlink.packet(rtnetlink.NLMSG_DONE, 0, b"", 8)
    (kind, sequence, payload), last = rtnetlink.messages(data)
    assert (kind, sequence, rtnetlink.refusal(payload)) == (rtnetlink.NLMSG_ERROR, 7, errno.ENODEV)
    assert last == (rtnetlink.NLMSG_DONE, 8, b"")
