"""Two VPCs in the real kernel, and processes that stand in for their servers."""

from __future__ import annotations

import os
import secrets
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path

from skylift.cloud.compute.network.loopback_range import LoopbackRange
from skylift.cloud.compute.network.namespace import Namespace
from skylift.cloud.compute.network.network import CloudNetwork, loopback_ranges, sweep
from skylift.cloud.compute.network.plan import VpcPlan
from skylift.cloud.domain.network import (
    NetworkInterface,
    Route,
    RouteAssociation,
    RouteTable,
    Rule,
    SecurityGroup,
    Subnet,
    Vpc,
    route_target,
)
from support.killed_runs import NOBODYS, ending_with_us, link_to, own_name

WEB, DATABASE, MUTE, PING = 8000, 5432, 9000, 7
ANYWHERE = "0.0.0.0/0"
# Both ends of the link to a test's own internet: two addresses of the range for such trials (RFC 2544), by process, so
# that tests that run at the same time on one machine do not meet.
NEARBY, ROUTER = (str(IPv4Address("198.18.0.0") + 4 * (os.getpid() % 32768) + end) for end in (1, 2))
# What is beyond that.
BEYOND = str(NOBODYS[os.getpid() % 254 + 1])
# How long to wait for what must come, and for what must not.
PATIENCE, ENOUGH = 60.0, 0.4


def allow(
    egress: bool, protocol: str = "-1", port: int = -1, *, cidr: str | None = None, group_id: str | None = None
) -> Rule:
    return Rule("sgr-1", egress, protocol, port, port, cidr, None, group_id)


def group(vpc: str, name: str, *rules: Rule) -> SecurityGroup:
    return SecurityGroup(f"sg-{name}", vpc, name, "", rules)


class World:
    """Two VPCs and who is in them. Each server answers on some ports with the address that it sees its caller at."""

    def __init__(self, loopback: LoopbackRange) -> None:
        self.loopback = loopback
        self.stack = ExitStack()
        self.network = CloudNetwork(loopback)
        self.servers: dict[str, Server] = {}
        self.interfaces: dict[str, NetworkInterface] = {}
        self.sourced = datetime.now(UTC)
        self.subnets = {
            "public": Subnet("subnet-a1", "vpc-a", "10.0.1.0/24", "z"),
            "private": Subnet("subnet-a2", "vpc-a", "10.0.2.0/24", "z"),
            "other": Subnet("subnet-b1", "vpc-b", "10.0.1.0/24", "z"),
        }
        everywhere_out = allow(True, cidr=ANYWHERE)
        self.groups = [
            group("vpc-a", "web", allow(False, "tcp", WEB, cidr=ANYWHERE), everywhere_out),
            group("vpc-a", "database", allow(False, "tcp", DATABASE, group_id="sg-web")),
            group("vpc-a", "mute", allow(False, cidr=ANYWHERE)),
            group("vpc-b", "other", allow(False, "tcp", WEB, cidr=ANYWHERE), everywhere_out),
        ]
        for name, number, subnet, of, public in [
            ("web", 10, "public", "web", "1.10"),
            ("peer", 11, "public", "web", "1.11"),
            ("hidden", 12, "public", "web", None),
            ("mute", 13, "public", "mute", "1.13"),
            ("database", 10, "private", "database", None),
            ("inner", 11, "private", "web", "1.21"),
            ("other", 10, "other", "other", "2.10"),
        ]:
            self.interfaces[name] = self._interface(name, number, subnet, of, public)

    def _interface(self, name: str, number: int, subnet: str, of: str, public: str | None) -> NetworkInterface:
        place = self.subnets[subnet]
        address = place.cidr.replace("0/24", str(number))
        return NetworkInterface(
            id=f"eni-{name}",
            vpc_id=place.vpc_id,
            subnet_id=place.id,
            mac="02:" + ":".join(f"{part:02x}" for part in (0, *map(int, address.split(".")[1:]), len(name))),
            private_ip=address,
            group_ids=(f"sg-{of}",),
            created=self.sourced,
            public_ip=f"127.{self.loopback.number}.{public}" if public else None,
        )

    def plans(self, **changed: NetworkInterface) -> list[VpcPlan]:
        interfaces = {**self.interfaces, **changed}
        local = Route("10.0.0.0/16", route_target("local"))
        out = [Route(ANYWHERE, route_target(f"igw-{one}")) for one in "ab"]
        tables = [
            RouteTable("rtb-main", "vpc-a", (local,), (RouteAssociation("rtbassoc-1"),)),
            RouteTable("rtb-public", "vpc-a", (local, out[0]), (RouteAssociation("rtbassoc-2", "subnet-a1"),)),
            RouteTable("rtb-other", "vpc-b", (local, out[1]), (RouteAssociation("rtbassoc-3"),)),
        ]
        return [
            VpcPlan(
                Vpc(vpc, "10.0.0.0/16"),
                tuple(subnet for subnet in self.subnets.values() if subnet.vpc_id == vpc),
                f"igw-{vpc[-1]}",
                tuple(table for table in tables if table.vpc_id == vpc),
                tuple(one for one in self.groups if one.vpc_id == vpc),
                tuple(one for one in interfaces.values() if one.vpc_id == vpc),
            )
            for vpc in ("vpc-a", "vpc-b")
        ]

    def with_rule(self, rule: Rule) -> list[VpcPlan]:
        """The plans with one rule more in sg-web."""
        return [
            replace(
                plan,
                groups=tuple(
                    replace(one, rules=(*one.rules, rule)) if one.id == "sg-web" else one for one in plan.groups
                ),
            )
            for plan in self.plans()
        ]

    @contextmanager
    def planned(self, plans: list[VpcPlan]) -> Iterator[None]:
        """Other plans for a while."""
        self.network.apply(plans)
        try:
            yield
        finally:
            self.network.apply(self.plans())

    def build(self) -> None:
        self.network.open()
        self.network.apply(self.plans())
        for name, interface in self.interfaces.items():
            # One of them as real servers are: in a user namespace of its own.
            self.servers[name] = self.start(own_users=name == "web")
            self.attach(name)
            for port in (WEB, DATABASE, MUTE):
                self.stack.enter_context(answering(self.servers[name].namespace, "0.0.0.0", port))
            assert self.network.attached(interface.id)

    def attach(self, name: str) -> None:
        interface = self.interfaces[name]
        subnet = next(subnet for subnet in self.subnets.values() if subnet.id == interface.subnet_id)
        self.network.attach(interface, subnet, self.servers[name].pid)

    def start(self, own_users: bool = False) -> Server:
        users = ["--user", "--map-root-user"] if own_users else []
        command = ending_with_us("unshare", *users, "--net", "sh", "-c", "echo ready && exec sleep infinity")
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        self.stack.callback(stop, process)
        assert process.stdout and process.stdout.readline() == b"ready\n"
        namespace = Namespace.of_process(process.pid)
        self.stack.callback(namespace.close)
        # As servers have it, whatever the host has.
        namespace.write_settings({"ipv4/ip_forward": "0"})
        return Server(process, namespace)

    def public(self, name: str) -> str:
        address = self.interfaces[name].public_ip
        assert address
        return address

    def private(self, name: str) -> str:
        return self.interfaces[name].private_ip

    def seen(self, client: str, address: str, port: int = WEB) -> str:
        """How an answering port sees a server that is let in."""
        return self.servers[client].namespace.run(lambda: ask(address, port))

    def reaches(self, client: str, address: str, port: int = WEB) -> bool:
        """For a server that should not be let in."""
        return self.servers[client].namespace.run(lambda: reaches(address, port))


@contextmanager
def own_home(base: Path) -> Iterator[Path]:
    """A state directory below `base` that a network can be of. At the end nothing of it is in the kernel, at the
    latest when the next run of the tests begins."""
    home = base / own_name()
    home.mkdir()
    try:
        yield home
    finally:
        sweep(home)


@contextmanager
def built_world(base: Path) -> Iterator[World]:
    with own_home(base) as home:
        world = World(loopback_ranges().take(home))
        try:
            world.build()
            yield world
        finally:
            world.stack.close()
            world.network.release()


@dataclass
class Server:
    process: subprocess.Popen[bytes]
    namespace: Namespace

    @property
    def pid(self) -> int:
        return self.process.pid


def stop(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    if process.stdout:
        process.stdout.close()


def ask(address: str, port: int, patience: float = PATIENCE) -> str:
    """The address that the answering end sees this one at."""
    with socket.create_connection((address, port), timeout=patience) as connection:
        connection.settimeout(PATIENCE)
        return connection.recv(100).decode()


def reaches(address: str, port: int) -> bool:
    """Whether anything answers, by the time that an answer would be here."""
    try:
        return bool(ask(address, port, ENOUGH))
    except OSError:
        return False


@contextmanager
def answering(namespace: Namespace | None, address: str, port: int) -> Iterator[int]:
    """A listener that tells each caller where it sees it. The port it got, when asked for 0."""

    def listen() -> socket.socket:
        return socket.create_server((address, port), backlog=16)

    listener = namespace.run(listen) if namespace else listen()

    def answer() -> None:
        while True:
            try:
                connection, caller = listener.accept()
            except OSError:
                return
            with connection:
                connection.sendall(caller[0].encode())

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        listener.close()


@contextmanager
def datagrams(namespace: Namespace | None, port: int) -> Iterator[socket.socket]:
    """A bound socket, in a namespace or here."""

    def bind() -> socket.socket:
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        opened.bind(("0.0.0.0", port))
        opened.settimeout(PATIENCE)
        return opened

    with namespace.run(bind) if namespace else bind() as opened:
        yield opened


@contextmanager
def internet() -> Iterator[Namespace]:
    """A namespace that has BEYOND, which the host, and only the host, has a default route to: in a table of its own, as
    a VPN has it."""
    table = str(20_000 + os.getpid() % 20_000)
    with beside_the_host(NEARBY, ROUTER) as namespace, ExitStack() as stack:
        ip("-n", namespace.name, "address", "add", f"{BEYOND}/32", "dev", FAR_END)
        ip("route", "add", "default", "via", ROUTER, "table", table)
        stack.callback(ip, "route", "flush", "table", table)
        ip("rule", "add", "to", BEYOND, "lookup", table)
        stack.callback(ip, "rule", "delete", "to", BEYOND, "lookup", table)
        yield namespace


FAR_END = "far"


@contextmanager
def beside_the_host(near: str, far: str) -> Iterator[Namespace]:
    """A namespace that the host has a link to: `near` is the host's address on it, `far` the other end's."""
    name = own_name()
    host_end = link_to(name)
    with ExitStack() as stack:
        ip("netns", "add", name)
        stack.callback(ip, "netns", "delete", name)
        ip("link", "add", host_end, "type", "veth", "peer", "name", FAR_END, "netns", name)
        # By itself the link would go when the kernel finds time for the namespace.
        stack.callback(ip, "link", "delete", host_end)
        ip("address", "add", f"{near}/30", "dev", host_end)
        ip("link", "set", host_end, "up")
        ip("-n", name, "address", "add", f"{far}/30", "dev", FAR_END)
        ip("-n", name, "link", "set", FAR_END, "up")
        ip("-n", name, "route", "add", "default", "via", near)
        namespace = Namespace.open(name)
        stack.callback(namespace.close)
        yield namespace


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def ping(address: str, patience: float = ENOUGH) -> bool:
    """Whether an echo request is answered by the host it was sent to. Each is a connection of its own."""
    identity = secrets.randbelow(0x8000)
    request = struct.pack("!BBHHH", 8, 0, 0xF7FF - identity, identity, 0)
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
        raw.settimeout(patience)
        raw.sendto(request, (address, 0))
        try:
            while True:
                packet, (sender, _) = raw.recvfrom(100)
                if sender == address and packet[20] == 0 and packet[24:26] == request[4:6]:
                    return True
        except TimeoutError:
            return False
