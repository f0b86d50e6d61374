"""What is around the host, seen from a server: closed, but for what was opened. A namespace stands in for a LAN."""

from __future__ import annotations

import errno
import os
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from support.kernel_world import (
    BEYOND,
    ENOUGH,
    FAR_END,
    NEARBY,
    PATIENCE,
    WEB,
    World,
    answering,
    ask,
    beside_the_host,
    built_world,
    datagrams,
    internet,
    ip,
)

from skylift.cloud.compute.network import pasta
from skylift.cloud.compute.network.network import CloudNetwork
from skylift.cloud.compute.network.uplink import uplink_name
from skylift.cloud.domain.opening import parse_openings

pytestmark = pytest.mark.real

OTHER = 5433
"""A port beside the one that is open."""

OWN = os.getpid() % 16384
PLACES = {
    "private, large": str(IPv4Address("10.213.0.0") + 4 * OWN + 2),
    "private, middle": str(IPv4Address("172.29.0.0") + 4 * OWN + 2),
    "private, small": str(IPv4Address("192.168.0.0") + 4 * OWN + 2),
    "shared": str(IPv4Address("100.101.0.0") + 4 * OWN + 2),
    "bench": str(IPv4Address("198.19.0.0") + 4 * OWN + 2),
    # Of nobody's range, and a network of the host's all the same: it has a route there.
    "routed": str(IPv4Address("203.0.113.0") + 4 * (OWN % 20) + 2),
}
LAN = PLACES["private, large"]
HOST = str(IPv4Address(LAN) - 1)
"""The host's own address on that LAN."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    # The LAN is there first, as it is when a cloud starts.
    with lan(), built_world(tmp_path_factory.getbasetemp()) as built:
        yield built


@contextmanager
def lan() -> Iterator[None]:
    """Hosts at all these places that answer at two ports, on TCP and UDP, and to pings."""
    with beside_the_host(HOST, LAN) as there, ExitStack() as stack:
        for address in PLACES.values():
            if address != LAN:
                ip("-n", there.name, "address", "add", f"{address}/32", "dev", FAR_END)
                ip("route", "add", f"{address}/32", "via", LAN)
        for port in (WEB, OTHER):
            stack.enter_context(answering(there, "0.0.0.0", port))
        yield


def reopen(world: World) -> None:
    """As the next process of the cloud does."""
    world.network.release()
    world.network = CloudNetwork(world.loopback)
    world.network.apply(world.plans())


@contextmanager
def opened(world: World, *texts: str) -> Iterator[None]:
    world.network.close_off(parse_openings(texts))
    try:
        yield
    finally:
        world.network.close_off(())


def refusal(world: World, address: str, port: int = WEB) -> str:
    """How a connection from a server fails, by errno's name, and that at once; empty when it does not."""

    def connect() -> str:
        with socket.socket() as client:
            client.settimeout(PATIENCE)
            code = client.connect_ex((address, port))
            return errno.errorcode.get(code, str(code)) if code else ""

    return world.servers["web"].namespace.run(connect)


def pinged(world: World, address: str) -> str:
    """What comes of an echo request from a server: `answered`, `refused` on the way, or nothing."""
    identity = os.getpid() & 0x7FFF
    request = struct.pack("!BBHHH", 8, 0, 0xF7FF - identity, identity, 0)

    def send() -> str:
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
            raw.settimeout(2)
            raw.sendto(request, (address, 0))
            try:
                while True:
                    packet, (sender, _) = raw.recvfrom(200)
                    if packet[20] == 0 and packet[24:26] == request[4:6] and sender == address:
                        return "answered"
                    # Destination unreachable: administratively prohibited. What it is about follows.
                    if packet[20:22] == b"\3\15" and packet[44:48] == socket.inet_aton(address):
                        return "refused"
            except TimeoutError:
                return ""

    return world.servers["web"].namespace.run(send)


def ways_out_may_ping() -> bool:
    first, last = map(int, Path("/proc/sys/net/ipv4/ping_group_range").read_text().split())
    return first <= 2_000_000_000 <= last


PINGS = "answered" if ways_out_may_ping() else ""
"""What comes of pings that nothing holds: it is a setting of the host's whether programs may."""


@pytest.mark.parametrize("place", PLACES)
def test_a_network_of_the_host_is_closed(world: World, place: str) -> None:
    assert ask(PLACES[place], WEB) == HOST
    assert refusal(world, PLACES[place]) == "EHOSTUNREACH"


@pytest.mark.parametrize("place", ["private, small", "routed"])
def test_an_address_and_a_port_can_be_opened(world: World, place: str) -> None:
    address = PLACES[place]
    with opened(world, f"{address}:{WEB}"):
        assert world.seen("web", address) == HOST
        assert not world.reaches("web", address, OTHER)
        assert pinged(world, address) == "refused"
        assert not world.reaches("web", str(IPv4Address(address) + 4))
        # Who has no way to the internet has none to this.
        assert not world.reaches("hidden", address)
        assert not world.reaches("inner", address)
        assert not world.reaches("mute", address)
    assert refusal(world, address) == "EHOSTUNREACH"


def test_a_network_can_be_opened_whole_and_the_host_in_it_stays_closed(world: World) -> None:
    with answering(None, HOST, 0) as port, opened(world, f"{HOST.rpartition('.')[0]}.0/24", HOST):
        assert ask(HOST, port) == HOST
        assert world.seen("web", LAN) == HOST
        assert world.seen("web", LAN, OTHER) == HOST
        assert pinged(world, LAN) == PINGS
        assert refusal(world, HOST, port) == "EHOSTUNREACH"


def test_the_host_itself_can_be_opened_at_one_port(world: World) -> None:
    """A proxy or an index that runs on the host, at an address that is not loopback."""
    with answering(None, HOST, 0) as port, answering(None, HOST, 0) as other:
        assert refusal(world, HOST, port) == "EHOSTUNREACH"
        with opened(world, f"{HOST}:{port}"):
            assert world.seen("web", HOST, port) == HOST
            assert refusal(world, HOST, other) == "EHOSTUNREACH"


def test_an_address_that_the_host_has_on_the_internet_is_its_own(world: World) -> None:
    with internet(), answering(None, "0.0.0.0", 0) as port:
        world.network.close_off(())
        assert ask(NEARBY, port) == NEARBY
        assert not world.reaches("web", NEARBY, port)


def test_the_internet_is_open(world: World) -> None:
    with internet() as beyond, answering(beyond, BEYOND, WEB):
        world.network.close_off(())
        assert world.seen("web", BEYOND) == NEARBY
        assert pinged(world, BEYOND) == PINGS


def test_datagrams_and_pings_are_held_too(world: World) -> None:
    def send(what: bytes, address: str) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(what, (address, receiver.getsockname()[1]))

    web = world.servers["web"].namespace
    with datagrams(None, 0) as receiver:
        port = receiver.getsockname()[1]
        assert pinged(world, LAN) == "refused"
        assert pinged(world, HOST) == "refused"
        web.run(lambda: send(b"closed", HOST))
        # In pieces: what follows the first has no port.
        web.run(lambda: send(b"in pieces" * 5000, HOST))
        with opened(world, f"{HOST}:{port}"):
            web.run(lambda: send(b"by another protocol", HOST))
        with opened(world, f"{HOST}:{port}/udp"):
            web.run(lambda: send(b"open", HOST))
            assert receiver.recv(65536) == b"open"


def test_what_is_closed_again_is_cut(world: World) -> None:
    """Known connections too: the next packet is refused."""

    with ExitStack() as stack:
        there = stack.enter_context(socket.socket())
        there.settimeout(PATIENCE)
        there.bind((HOST, 0))
        there.listen()
        port = there.getsockname()[1]
        with opened(world, f"{HOST}:{port}"):
            client = stack.enter_context(
                world.servers["web"].namespace.run(lambda: socket.create_connection((HOST, port), timeout=PATIENCE))
            )
            connection = stack.enter_context(there.accept()[0])
            client.sendall(b"open")
            assert connection.recv(100) == b"open"
        client.sendall(b"closed")
        connection.settimeout(ENOUGH)
        with pytest.raises(TimeoutError):
            connection.recv(100)


def test_what_the_host_has_later_is_closed_at_the_next_look(world: World) -> None:
    """A VPN that comes up, with a network of a range that is nobody's."""
    near, far = (str(IPv4Address("203.0.113.84") + 4 * (OWN % 20) + end) for end in (1, 2))
    with beside_the_host(near, far) as there, answering(there, far, WEB):
        around = world.network.close_off(())
        assert around.is_closed(IPv4Address(far))
        assert ask(far, WEB) == near
        assert refusal(world, far) == "EHOSTUNREACH"
    assert not world.network.close_off(()).is_closed(IPv4Address(far))


def test_the_outer_wall_stands_by_itself(world: World) -> None:
    """Should the edge let something through: the host's own table holds the program that carries it out."""
    edge = uplink_name(world.loopback)
    command = ["ip", "netns", "exec", edge, "nft"]
    subprocess.run([*command, "flush", "chain", "inet", "skylift", "outward"], check=True)
    try:
        with answering(None, HOST, 0) as port:
            for address in PLACES.values():
                assert not world.reaches("web", address), address
            assert not world.reaches("web", HOST, port)
            assert pinged(world, LAN) == ""
    finally:
        reopen(world)


def test_servers_cannot_fill_the_hosts_table_of_connections(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """New connections are counted where they leave, so many in two minutes; those that are there go on."""
    share = 40
    with internet() as beyond, datagrams(beyond, 0) as receiver:
        port = receiver.getsockname()[1]

        def send(count: int) -> list[socket.socket]:
            clients = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(count)]
            for client in clients:
                client.connect((BEYOND, port))
                client.send(b"new")
            return clients

        monkeypatch.setattr(pasta, "share_of_connections", lambda: share)
        reopen(world)
        try:
            clients = world.servers["web"].namespace.run(lambda: send(3 * share))
            for _ in range(share):
                assert receiver.recv(100) == b"new"
            clients[0].send(b"known")
            assert receiver.recv(100) == b"known"
            receiver.settimeout(ENOUGH)
            with pytest.raises(TimeoutError):
                receiver.recv(100)
        finally:
            monkeypatch.undo()
            reopen(world)
        for client in clients:
            client.close()


def test_the_way_out_has_so_many_descriptors_and_no_more(world: World) -> None:
    (pid,) = pasta.running(world.loopback)
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    soft, hard = next(line.split()[3:5] for line in lines if line.startswith("Max open files"))
    assert int(soft) <= int(hard) <= pasta.share_of_connections()


def test_there_is_no_ipv6(world: World) -> None:
    def connect() -> int:
        with socket.socket(socket.AF_INET6) as client:
            client.settimeout(PATIENCE)
            return client.connect_ex(("2001:db8::1", WEB))

    for name in ("web", "peer"):
        assert world.servers[name].namespace.run(connect) in (errno.ENETUNREACH, errno.EADDRNOTAVAIL)
    said = subprocess.run(
        ["ip", "-n", uplink_name(world.loopback), "-6", "address"], capture_output=True, text=True, check=True
    )
    assert said.stdout == ""
