"""The network of a cloud in the real kernel: two VPCs of the same range, and processes that stand in for servers."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from support.kernel_traces import traces
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
    own_home,
    ping,
    reaches,
)

from skylift.cloud.compute.network import firewall, pasta
from skylift.cloud.compute.network.error import ListenRefused, ServerGone, UnknownVpc
from skylift.cloud.compute.network.loopback_range import LoopbackRange
from skylift.cloud.compute.network.namespace import Namespace, namespaces
from skylift.cloud.compute.network.network import CloudNetwork, loopback_ranges, sweep
from skylift.cloud.compute.network.plan import VpcPlan
from skylift.cloud.compute.network.resolver import HostNames, Resolver, serve
from skylift.cloud.compute.network.traffic import interface_link
from skylift.cloud.compute.network.uplink import HOST_LINK, OUTER_ADDRESS, uplink_name
from skylift.cloud.domain.network import Vpc

pytestmark = pytest.mark.real


@pytest.fixture
def unclaimed(tmp_path: Path) -> Iterator[Path]:
    """A home whose cloud is swept whatever the test does."""
    with own_home(tmp_path) as home:
        yield home


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with built_world(tmp_path_factory.getbasetemp()) as built:
        yield built


def test_the_host_reaches_a_public_address_and_is_seen_at_its_own(world: World) -> None:
    assert ask(world.public("web"), WEB) == f"127.{world.loopback.number}.0.1"


def test_the_host_reaches_only_what_the_groups_let_in(world: World) -> None:
    assert not reaches(world.public("web"), DATABASE)
    assert not reaches(f"127.{world.loopback.number}.77.77", WEB)


def test_udp_from_the_host_and_back(world: World) -> None:
    with (
        world.planned(world.with_rule(allow(False, "udp", PING, cidr=ANYWHERE))),
        datagrams(world.servers["web"].namespace, PING) as server,
        datagrams(None, 0) as client,
    ):
        client.connect((world.public("web"), PING))
        client.send(b"hello")
        said, caller = server.recvfrom(100)
        assert (said, caller[0]) == (b"hello", f"127.{world.loopback.number}.0.1")
        server.sendto(b"x" * 20_000, caller)
        assert client.recv(65536) == b"x" * 20_000


def test_a_known_connection_follows_a_public_address_to_its_new_owner(world: World) -> None:
    plans = world.with_rule(allow(False, "udp", PING, cidr=ANYWHERE))
    with (
        world.planned(plans),
        datagrams(world.servers["peer"].namespace, PING) as before,
        datagrams(world.servers["hidden"].namespace, PING) as after,
        datagrams(None, 0) as client,
    ):
        client.connect((world.public("peer"), PING))
        client.send(b"one")
        assert before.recv(100) == b"one"
        change = {
            "eni-peer": replace(world.interfaces["peer"], public_ip=None),
            "eni-hidden": replace(world.interfaces["hidden"], public_ip=world.public("peer")),
        }
        world.network.apply(
            [replace(plan, interfaces=tuple(change.get(one.id, one) for one in plan.interfaces)) for plan in plans]
        )
        client.send(b"two")
        assert after.recv(100) == b"two"


def test_the_next_server_at_an_address_does_not_inherit_its_connections(world: World) -> None:
    with datagrams(world.servers["peer"].namespace, PING) as server, datagrams(None, 0) as client:
        client.connect((world.public("peer"), PING))
        with world.planned(world.with_rule(allow(False, "udp", PING, cidr=ANYWHERE))):
            client.settimeout(PATIENCE)
            client.send(b"let in")
            said, caller = server.recvfrom(100)
            server.sendto(said, caller)
            assert client.recv(100) == b"let in"
        # The rule has gone; what is known goes on, as on AWS.
        client.send(b"known")
        assert server.recv(100) == b"known"
        world.attach("peer")
        client.send(b"forgotten")
        server.settimeout(ENOUGH)
        with pytest.raises(TimeoutError):
            server.recv(100)


def test_servers_of_one_subnet_are_filtered(world: World) -> None:
    assert world.seen("web", world.private("peer")) == world.private("web")
    assert not world.reaches("web", world.private("peer"), DATABASE)


def test_servers_of_two_subnets_are_filtered_by_group(world: World) -> None:
    assert world.seen("web", world.private("database"), DATABASE) == world.private("web")
    assert not world.reaches("web", world.private("database"), WEB)
    assert not world.reaches("mute", world.private("database"), DATABASE)


def test_a_link_that_an_earlier_version_made_goes_on_when_its_addresses_change(world: World) -> None:
    """Both of its ends ask for their neighbours, and the router's has a MAC of its own."""
    interface, server = world.interfaces["hidden"], world.servers["hidden"]
    (router,) = (one.namespace for vpc, one in world.network._routers.items() if vpc == interface.vpc_id)
    for inside, commands in (
        (router, (f"link set {interface_link(interface)} address 02:00:00:00:00:77 arp on",)),
        (server.namespace, ("link set eth0 arp on", "neigh flush all nud permanent")),
    ):
        for words in commands:
            command = ["ip", *words.split()]
            assert inside.run(lambda command=command: subprocess.run(command, check=False)).returncode == 0  # type: ignore[misc]
    try:
        assert world.seen("hidden", world.private("peer")) == world.private("hidden")
        world.network.configure_link(interface, world.subnets["public"], server.pid)
        assert world.seen("hidden", world.private("peer")) == world.private("hidden")
    finally:
        world.attach("hidden")


def test_the_egress_gate_alone_stops_a_server(world: World) -> None:
    assert world.seen("web", world.private("mute"), MUTE) == world.private("web")
    assert not world.reaches("mute", world.private("web"), WEB)
    assert not world.reaches("database", world.private("web"), WEB)


def test_a_forged_source_is_dropped(world: World) -> None:
    """The database lets in who looks like a member of sg-web; mute borrows web's address, web itself may come."""

    def knock(source: str) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
            raw.sendto(forged_syn(source, world.private("database"), DATABASE), (world.private("database"), 0))

    def sniff() -> socket.socket:
        sniffer = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
        sniffer.settimeout(PATIENCE)
        return sniffer

    with world.servers["database"].namespace.run(sniff) as sniffer:
        world.servers["peer"].namespace.run(lambda: knock(world.private("web")))
        world.servers["peer"].namespace.run(lambda: knock(world.private("peer")))
        packet = sniffer.recv(100)
    assert socket.inet_ntoa(packet[12:16]) == world.private("peer")


def forged_syn(source: str, target: str, port: int) -> bytes:
    addresses = socket.inet_aton(source) + socket.inet_aton(target)
    tcp = (40_000).to_bytes(2, "big") + port.to_bytes(2, "big") + bytes(8) + b"\x50\x02\x20\x00" + bytes(4)
    summed = addresses + b"\x00\x06" + len(tcp).to_bytes(2, "big") + tcp
    total = sum(int.from_bytes(summed[at : at + 2], "big") for at in range(0, len(summed), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    tcp = tcp[:16] + (~total & 0xFFFF).to_bytes(2, "big") + tcp[18:]
    # The kernel fills in length, identification and checksum of the IP header.
    return b"\x45\x00\x00\x00\x00\x00\x40\x00\x40\x06\x00\x00" + addresses + tcp


def test_an_unchecked_source_passes(world: World) -> None:
    """SourceDestCheck off is what makes a server a NAT instance: it may send for others."""

    def knock() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
            packet = forged_syn(world.private("web"), world.private("database"), DATABASE)
            raw.sendto(packet, (world.private("database"), 0))

    def sniff() -> socket.socket:
        sniffer = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
        sniffer.settimeout(PATIENCE)
        return sniffer

    unchecked = replace(world.interfaces["peer"], source_dest_check=False)
    with world.planned(world.plans(peer=unchecked)), world.servers["database"].namespace.run(sniff) as sniffer:
        world.servers["peer"].namespace.run(knock)
        assert socket.inet_ntoa(sniffer.recv(100)[12:16]) == world.private("web")


def test_vpcs_share_no_path(world: World) -> None:
    """Both VPCs have a 10.0.1.10; each reaches its own, and addresses that only the other has, not at all."""
    assert not world.reaches("other", world.private("peer"))
    assert not world.reaches("other", world.private("database"), DATABASE)
    assert world.seen("peer", "10.0.1.10") == world.private("peer")


def test_public_addresses_within_and_between_vpcs(world: World) -> None:
    """The gateway translates both ends, also on the way back into the same VPC, and to oneself."""
    assert world.seen("peer", world.public("web")) == world.public("peer")
    assert world.seen("other", world.public("web")) == world.public("other")
    assert world.seen("web", world.public("other")) == world.public("web")
    assert world.seen("web", world.public("web")) == world.public("web")
    assert not world.reaches("peer", world.public("web"), DATABASE)


def test_a_group_reference_does_not_mean_public_addresses(world: World) -> None:
    with world.planned(world.with_rule(allow(False, "tcp", DATABASE, group_id="sg-web"))):
        assert world.seen("web", world.private("peer"), DATABASE) == world.private("web")
        assert not world.reaches("web", world.public("peer"), DATABASE)


def test_without_public_address_or_gateway_route_there_is_no_way_out(world: World) -> None:
    assert not world.reaches("hidden", world.public("web"))
    assert not world.reaches("inner", world.public("web"))
    # It would be let in, and its answers have no way back.
    assert not reaches(world.public("inner"), WEB)


def test_the_way_out_is_for_public_addresses_and_avoids_the_host(world: World) -> None:
    assert world.network.pasta_problem is None
    with internet() as beyond, answering(beyond, BEYOND, WEB), answering(None, "0.0.0.0", 0) as host_port:
        assert ask(NEARBY, host_port) == NEARBY
        assert ask(BEYOND, WEB) == NEARBY
        assert world.servers["web"].namespace.run(lambda: ask(BEYOND, WEB)) == NEARBY
        assert not world.reaches("hidden", BEYOND)
        assert not world.reaches("inner", BEYOND)
        assert not world.reaches("mute", BEYOND)
        for address in (NEARBY, "127.0.0.1", f"127.{world.loopback.number}.0.1", "169.254.2.1", "169.254.1.2"):
            assert not world.reaches("web", address, host_port)
        assert not world.reaches("web", f"240.{world.loopback.number}.1.11", WEB)


def test_the_way_out_is_restored_when_it_has_ended(world: World) -> None:
    pasta.stop(world.loopback)
    assert pasta.running(world.loopback) == []
    assert not world.network.heal()
    assert world.network.pasta_problem is None
    running = pasta.running(world.loopback)
    assert len(running) == 1
    assert not world.network.heal()
    assert pasta.running(world.loopback) == running
    with internet() as beyond, answering(beyond, BEYOND, WEB):
        assert world.servers["web"].namespace.run(lambda: ask(BEYOND, WEB)) == NEARBY


def test_what_the_host_did_not_ask_for_stays_out_of_it(world: World) -> None:
    """Should the edge itself fail to hold something back: the host's own fence."""
    name = uplink_name(world.loopback)
    edge = Namespace.open(name)
    with ExitStack() as stack:
        stack.callback(edge.close)
        stack.enter_context(internet())
        route = [f"{NEARBY}/32", "via", OUTER_ADDRESS, "dev", HOST_LINK, "onlink"]
        subprocess.run(["ip", "-n", name, "route", "add", *route], check=True)
        stack.callback(subprocess.run, ["ip", "-n", name, "route", "delete", *route], check=True)
        receiver = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        receiver.bind(("0.0.0.0", 0))
        receiver.settimeout(PATIENCE)
        target = (NEARBY, receiver.getsockname()[1])

        def send(what: bytes) -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.sendto(what, target)

        edge.run(lambda: send(b"from the edge"))
        send(b"from the host")
        assert receiver.recv(100) == b"from the host"


def test_ping_follows_the_groups_too(world: World) -> None:
    def from_mute(address: str, patience: float = ENOUGH) -> bool:
        return world.servers["mute"].namespace.run(lambda: ping(address, patience))

    assert not ping(world.public("web"))
    # The router answers without being asked of any group, for its own subnet's address.
    assert from_mute("10.0.1.1", PATIENCE)
    assert not from_mute(firewall.METADATA)
    rule = replace(allow(False, "icmp", cidr=ANYWHERE), from_port=8, to_port=-1)
    with world.planned(world.with_rule(rule)):
        assert ping(world.public("web"), PATIENCE)
        assert world.servers["peer"].namespace.run(lambda: ping(world.private("web"), PATIENCE))
    with world.planned(world.with_rule(replace(rule, from_port=3))):
        assert not ping(world.public("web"))


def test_the_way_out_runs_as_nobody_else(world: World) -> None:
    (pid,) = pasta.running(world.loopback)
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    assert status["Uid"].split() == [str(world.loopback.pasta_uid)] * 4
    assert status["Gid"].split() == [str(world.loopback.pasta_uid)] * 4
    assert Path(f"/proc/{pid}/ns/user").readlink() != Path("/proc/self/ns/user").readlink()


def test_the_router_itself_is_closed_but_for_its_services(world: World) -> None:
    with ExitStack() as stack:
        for address, port in ((firewall.METADATA, 80), (firewall.METADATA, 22), ("10.0.1.1", 80), ("10.0.0.2", 53)):
            listener = world.network.listen("vpc-a", address, port)
            stack.callback(listener.close)

        def connects(address: str, port: int, patience: float = ENOUGH) -> bool:
            with socket.socket() as client:
                client.settimeout(patience)
                return client.connect_ex((address, port)) == 0

        def of_mute(address: str, port: int, patience: float = ENOUGH) -> bool:
            return world.servers["mute"].namespace.run(lambda: connects(address, port, patience))

        # Not even a group without any egress rule stands before these.
        assert of_mute(firewall.METADATA, 80, PATIENCE)
        assert of_mute("10.0.0.2", 53, PATIENCE)
        assert not of_mute(firewall.METADATA, 22)
        assert not of_mute("10.0.1.1", 80)
        assert not world.servers["other"].namespace.run(lambda: connects(firewall.METADATA, 80))


def test_metadata_sees_the_private_address(world: World) -> None:
    with world.network.listen("vpc-a", firewall.METADATA, 80) as listener:
        listener.settimeout(PATIENCE)

        def connect() -> socket.socket:
            return socket.create_connection((firewall.METADATA, 80), timeout=PATIENCE)

        with world.servers["web"].namespace.run(connect):
            connection, caller = listener.accept()
            connection.close()
    assert caller[0] == world.private("web")


class OneName:
    def has_dns(self, vpc_id: str) -> bool:
        return vpc_id == "vpc-a"

    def address_of(self, _vpc_id: str, name: str) -> str | None:
        return {"ip-10-0-1-11.ec2.internal": "10.0.1.11"}.get(name)

    def name_of(self, _vpc_id: str, _address: str) -> str | None:
        return None


async def test_names_are_resolved_for_servers_whatever_their_groups(world: World, tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("192.0.2.9 mirror.example\n")
    names = Resolver("vpc-a", OneName(), HostNames(tmp_path / "none", tmp_path / "hosts"))
    sockets = [
        world.network.listen("vpc-a", address, 53, kind)
        for address in (str(firewall.dns_address(Vpc("vpc-a", "10.0.0.0/16"))), firewall.DNS)
        for kind in ("udp", "tcp")
    ]
    serving = await serve(names, sockets)

    def ask_by_udp(name: str, server: str) -> bytes:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(PATIENCE)
            client.connect((server, 53))
            labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
            client.send(b"\x12\x34\1\0\0\1\0\0\0\0\0\0" + labels + b"\0\0\1\0\1")
            return client.recv(512)[-4:]

    def resolve(name: str, server: str) -> str:
        answer = world.servers["mute"].namespace.run(lambda: ask_by_udp(name, server))
        return socket.inet_ntoa(answer)

    try:
        for server in ("10.0.0.2", "169.254.169.253"):
            assert await asyncio.to_thread(resolve, "ip-10-0-1-11.ec2.internal", server) == "10.0.1.11"
            assert await asyncio.to_thread(resolve, "mirror.example", server) == "192.0.2.9"
    finally:
        serving.close()


def test_a_number_somebody_else_lives_in_is_taken(tmp_path: Path) -> None:
    free = loopback_ranges(tmp_path).take(tmp_path / "one").number
    with socket.socket() as listener:
        listener.bind((f"127.{free}.3.4", 0))
        listener.listen()
        assert loopback_ranges(tmp_path / "other").take(tmp_path / "two", preferred=free).number != free


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_a_port_cannot_be_listened_on_twice(world: World, kind: Literal["tcp", "udp"]) -> None:
    with (
        world.network.listen("vpc-a", firewall.DNS, 53, kind),
        pytest.raises(ListenRefused, match=r"169\.254\.169\.253 port 53 in vpc-a: Address already in use"),
    ):
        world.network.listen("vpc-a", firewall.DNS, 53, kind)


def test_a_new_process_adopts_and_connections_live_on(world: World) -> None:
    def listen() -> socket.socket:
        return socket.create_server((world.private("peer"), 8001))

    world.network.apply(world.with_rule(allow(False, "tcp", 8001, cidr=ANYWHERE)))
    with world.servers["peer"].namespace.run(listen) as listener:
        with socket.create_connection((world.public("peer"), 8001), timeout=PATIENCE) as client:
            connection, _ = listener.accept()
            pids = pasta.running(world.loopback)
            world.network.release()
            world.network = CloudNetwork(world.loopback)
            world.network.open()
            # The rule that let it in is gone with the new plan; a connection that is known goes on, as on AWS.
            world.network.apply(world.plans())
            client.sendall(b"still here")
            connection.settimeout(PATIENCE)
            assert connection.recv(100) == b"still here"
            connection.close()
        assert not reaches(world.public("peer"), 8001)
    assert pasta.running(world.loopback) == pids
    assert all(world.network.attached(interface.id) for interface in world.interfaces.values())
    assert ask(world.public("web"), WEB) == f"127.{world.loopback.number}.0.1"


def test_a_public_address_follows_its_new_owner(world: World) -> None:
    address = world.public("peer")
    peer = replace(world.interfaces["peer"], public_ip=None)
    other = replace(world.interfaces["other"], public_ip=address)
    with world.planned(world.plans(peer=peer, other=other)):
        assert world.seen("web", address) == world.public("web")
        assert world.seen("other", world.public("web")) == address
        assert not world.reaches("peer", world.public("web"))


def test_an_interface_can_be_unplugged_and_plugged_in_again(world: World) -> None:
    identity = world.interfaces["peer"].id
    world.network.detach(identity)
    assert not world.network.attached(identity)
    assert not world.reaches("web", world.private("peer"))
    world.attach("peer")
    assert world.network.attached(identity)
    assert world.seen("web", world.private("peer")) == world.private("web")


def test_an_interface_outside_the_plan_is_unplugged(world: World) -> None:
    server = world.start()
    extra = replace(world.interfaces["peer"], id="eni-extra", private_ip="10.0.1.99", public_ip=None)
    with world.planned(world.plans(extra=extra)):
        world.network.attach(extra, world.subnets["public"], server.pid)
        assert world.network.attached("eni-extra")
    assert not world.network.attached("eni-extra")


def test_a_second_interface_answers_by_the_way_it_was_asked(world: World) -> None:
    extra = replace(
        world.interfaces["inner"],
        id="eni-second",
        index=1,
        private_ip="10.0.2.50",
        mac="02:00:00:00:77:01",
        public_ip=None,
    )
    with world.planned(world.plans(extra=extra)):
        world.network.attach(extra, world.subnets["private"], world.servers["peer"].pid)
        assert world.seen("web", "10.0.2.50") == world.private("web")


def test_what_cannot_be_attached_is_said(world: World) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    with pytest.raises(ServerGone):
        world.network.attach(world.interfaces["web"], world.subnets["public"], ended.pid)
    stranger = replace(world.interfaces["web"], vpc_id="vpc-none")
    with pytest.raises(UnknownVpc, match="vpc-none"):
        world.network.attach(stranger, world.subnets["public"], os.getpid())


def parts(loopback: LoopbackRange) -> dict[str, object]:
    """What of a cloud that is built is in the kernel, and in files of ours."""
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout
    routes = subprocess.run(["ip", "route", "show"], capture_output=True, text=True, check=True).stdout
    return {
        "namespaces": namespaces(loopback.prefix),
        "links": [path.name for path in Path("/sys/class/net").iterdir() if path.name == loopback.host_link],
        "tables": [line for line in tables.splitlines() if line.endswith(f" {loopback.table}")],
        "routes": [line for line in routes.splitlines() if str(loopback.carrier) in line],
        "processes": pasta.running(loopback),
        "claims": [known for known in loopback_ranges().all() if known.home == loopback.home],
    }


def test_a_sweep_leaves_nothing(unclaimed: Path) -> None:
    loopback = loopback_ranges().take(unclaimed)
    world = World(loopback)
    with world.stack:
        world.build()
        assert all(parts(loopback).values())
        # The process that made it is gone: nothing is closed in order.
        world.network.release()
        assert sweep(unclaimed)
        assert traces(loopback.number, unclaimed) == []
    assert not sweep(unclaimed)


def test_a_vpc_without_a_plan_is_removed(unclaimed: Path) -> None:
    loopback = loopback_ranges().take(unclaimed)
    network = CloudNetwork(loopback)
    plan = VpcPlan(Vpc("vpc-1", "10.0.0.0/16"))
    network.apply([plan, replace(plan, vpc=Vpc("vpc-2", "10.0.0.0/16"))])
    assert namespaces(loopback.prefix) == [f"{loopback.prefix}{name}" for name in ("edge", "vpc-1", "vpc-2")]
    network.apply([plan])
    assert namespaces(loopback.prefix) == [f"{loopback.prefix}{name}" for name in ("edge", "vpc-1")]
    network.apply([plan, replace(plan, vpc=Vpc("vpc-2", "10.0.0.0/16"))])
    network.close()
    assert namespaces(loopback.prefix) == []


def test_clouds_do_not_see_each_other(tmp_path: Path) -> None:
    with ExitStack() as stack:
        first, second = (stack.enter_context(built_world(tmp_path)) for _ in range(2))
        assert first.loopback.number != second.loopback.number
        assert ask(first.public("web"), WEB) == f"127.{first.loopback.number}.0.1"
        assert ask(second.public("web"), WEB) == f"127.{second.loopback.number}.0.1"
        assert not first.reaches("web", second.public("web"))
        carrier = second.public("web").replace("127.", "240.", 1)
        assert not first.reaches("web", carrier)
