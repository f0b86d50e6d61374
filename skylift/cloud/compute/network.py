"""The network of one cloud, as loops ask for it: plans in, kernel out. See network_error.py for what can go wrong.

    host --skyN-- edge --v...-- router of a VPC --e...-- eth0 of a server
                    |
                  pasta, the way out to the internet

Nothing of it belongs to the process that made it: another one opens the same claim, finds everything, and goes on.
"""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Sequence
from ipaddress import IPv4Address
from pathlib import Path
from typing import Literal

from skylift.cloud.compute import host, wayout
from skylift.cloud.compute.claim import CLAIMS, Claim, Claims
from skylift.cloud.compute.edge import Edge, edge_name
from skylift.cloud.compute.namespace import Namespace, create_namespace, namespaces, remove_namespace
from skylift.cloud.compute.netlink import Netlink
from skylift.cloud.compute.network_error import ListenRefused, NetworkError, UnknownVpc
from skylift.cloud.compute.plan import VpcPlan
from skylift.cloud.compute.router import Router, router_name
from skylift.cloud.compute.server_link import dress_server
from skylift.cloud.compute.surroundings import Surroundings, look_around
from skylift.cloud.compute.traffic import peer_link
from skylift.cloud.network import NetworkInterface, Subnet
from skylift.cloud.opening import Opening

KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


class Network:
    """Every method may be called from any thread, one at a time runs; each is idempotent."""

    def __init__(self, claim: Claim, openings: Sequence[Opening] = ()) -> None:
        self.claim = claim
        self.way_out_problem: str | None = None
        """Why servers have no way to the internet; None when they have."""
        self._lock = threading.RLock()
        self._netlink: Netlink | None = None
        self._edge: Edge | None = None
        self._routers: dict[str, Router] = {}
        self._public: dict[str, str] | None = None
        self._openings = tuple(openings)
        self._around = Surroundings()

    def open(self) -> None:
        """Make what all VPCs share, or find it; find the routers that are there."""
        with self._lock:
            if self._edge is not None:
                return
            try:
                self._open()
            except NetworkError:
                self.release()
                raise

    def apply(self, plans: Sequence[VpcPlan]) -> None:
        """Make the kernel agree with the plans of all VPCs there are; a VPC without a plan is removed.

        An interface without a place in its VPC's plan is unplugged; one that has a place is plugged in by `attach`.
        """
        with self._lock:
            edge = self._opened()
            wanted = {plan.vpc.id: plan for plan in plans}
            for vpc_id in self._routers.keys() - wanted.keys():
                self._routers.pop(vpc_id).remove()
            self._join(plans, edge)
            for plan in plans:
                moved = self._router(plan, edge).apply(plan)
                for peer in plan.peers:
                    self._routers[peer.vpc_id].forget(moved)
            self._part(plans)
            public = {
                address: plan.vpc.id
                for plan in plans
                if plan.internet_gateway is not None
                for address in public_addresses(plan)
            }
            if public != self._public:
                edge.route(public)
                self._public = public

    def restore_way_out(self) -> None:
        """Start the way out to the internet again if it has ended; `way_out_problem` says what came of it."""
        with self._lock:
            self.way_out_problem = self._opened().start_way_out()

    def close_off(self, openings: Sequence[Opening]) -> Surroundings:
        """Keep servers off what is around this machine now, but for these openings. Answers what there is."""
        with self._lock:
            edge = self._opened()
            assert self._netlink is not None
            self._openings = tuple(openings)
            around = look_around(self._netlink, self._openings)
            if around != self._around:
                # The inner wall first: what is new there was not asked for at the outer one.
                edge.close_off(around)
                host.close_off(self.claim, around)
                self._around = around
            return around

    def attach(self, interface: NetworkInterface, subnet: Subnet, pid: int) -> None:
        """Give the network namespace of process `pid` this interface, as eth0 (or its index), with lo and routes.

        Raises UnknownVpc when no applied plan has the VPC, ServerGone when the process has ended.
        """
        with self._lock:
            router = self._known(interface.vpc_id)
            server = Namespace.of_process(pid)
            try:
                router.attach(interface, subnet, server)
            finally:
                server.close()

    def dress(self, interface: NetworkInterface, subnet: Subnet, pid: int) -> None:
        """Tell the server of process `pid`, which has the interface, what addresses there are at it now."""
        server = Namespace.of_process(pid)
        try:
            dress_server(server, interface, subnet)
        finally:
            server.close()

    def attached(self, interface_id: str) -> bool:
        """Whether the interface is plugged into a server that still is."""
        with self._lock:
            return any(router.holds(interface_id) for router in self._routers.values())

    def detach(self, interface_id: str) -> None:
        """Unplug an interface; nothing to do when it is not plugged in."""
        with self._lock:
            for router in self._routers.values():
                router.detach(interface_id)

    def listen(self, vpc_id: str, address: str, port: int, kind: Literal["tcp", "udp"] = "tcp") -> socket.socket:
        """A non-blocking socket in a VPC's router, reachable from its servers as far as the firewall lets them.

        The addresses are firewall.METADATA, DNS, ENDPOINT and `dns_address(vpc)`.
        """
        with self._lock:
            router = self._known(vpc_id)
            try:
                return router.listen(address, port, KINDS[kind])
            except OSError as error:
                raise ListenRefused(f"listen on {address} port {port} in {vpc_id}: {error.strerror}") from error

    def release(self) -> None:
        """Let go of it all and leave it standing, for the next process."""
        with self._lock:
            for router in self._routers.values():
                router.close()
            if self._edge is not None:
                self._edge.namespace.close()
            if self._netlink is not None:
                self._netlink.close()
            self._routers, self._edge, self._netlink, self._public = {}, None, None, None

    def close(self) -> None:
        """Remove everything of this cloud from the machine but its claim's file, which is the caller's to release."""
        with self._lock:
            self.release()
            remove_everything(self.claim)

    def _open(self) -> None:
        present = namespaces(self.claim.prefix)
        name = edge_name(self.claim)
        if name not in present:
            # One that lost its namespace has nothing to do any more.
            wayout.stop(self.claim)
            wayout.create_edge_namespace(self.claim, name)
        self._netlink = Netlink()
        self._edge = Edge(self.claim, Namespace.open(name))
        self._around = look_around(self._netlink, self._openings)
        self._edge.configure(self._around)
        host.connect(self.claim, self._netlink, self._edge.namespace, self._around)
        self._edge.connect_host()
        self.way_out_problem = self._edge.start_way_out()
        for found in present:
            if found != name:
                vpc_id = found.removeprefix(self.claim.prefix)
                self._routers[vpc_id] = Router(vpc_id, Namespace.open(found), adopted=True)

    def _opened(self) -> Edge:
        self.open()
        assert self._edge is not None
        return self._edge

    def _router(self, plan: VpcPlan, edge: Edge) -> Router:
        vpc_id = plan.vpc.id
        if vpc_id not in self._routers:
            name = router_name(self.claim, vpc_id)
            create_namespace(name)
            self._routers[vpc_id] = Router(vpc_id, Namespace.open(name), adopted=False)
        router = self._routers[vpc_id]
        if router.plan is None:
            router.configure(plan, edge.namespace)
            edge.connect_router(vpc_id)
        return router

    def _join(self, plans: Sequence[VpcPlan], edge: Edge) -> None:
        """Links between the routers of peered VPCs, which routes need to be there."""
        routers = {plan.vpc.id: self._router(plan, edge) for plan in plans if plan.peers}
        for plan in plans:
            for peer in plan.peers:
                # Each connection stands in the plans of both.
                if plan.vpc.id < peer.vpc_id:
                    routers[plan.vpc.id].join(peer, routers[peer.vpc_id])

    def _part(self, plans: Sequence[VpcPlan]) -> None:
        """Links of connections that are over, once no route leads there any more."""
        for plan in plans:
            router, wanted = self._routers[plan.vpc.id], {peer_link(peer) for peer in plan.peers}
            for link in router.joined() - wanted:
                router.part(link)

    def _known(self, vpc_id: str) -> Router:
        if vpc_id not in self._routers:
            raise UnknownVpc(f"{vpc_id} has no router; it must be in a plan first")
        return self._routers[vpc_id]


def public_addresses(plan: VpcPlan) -> list[str]:
    """Those of servers, and those of NAT gateways."""
    servers = [address.public_ip for one in plan.interfaces for address in one.addresses if address.public_ip]
    return [*servers, *(at.public_ip for nat in plan.nat_gateways for at in nat.addresses if at.public_ip)]


def claims(directory: Path = CLAIMS) -> Claims:
    """The claims of this machine."""
    return Claims(_taken, directory)


def sweep(home: Path, registry: Claims | None = None) -> bool:
    """Remove all that the cloud of this home left in the kernel, and its claim. Whether there was anything."""
    registry = registry or claims()
    claim = registry.find(home)
    if claim is None:
        return False
    remove_everything(claim)
    registry.release(claim)
    return True


def remove_everything(claim: Claim) -> None:
    """From the outside in: first nobody can reach it, then it ends."""
    netlink = Netlink()
    try:
        host.disconnect(claim, netlink)
    finally:
        netlink.close()
    wayout.stop(claim)
    for name in namespaces(claim.prefix):
        remove_namespace(name)


def _taken(number: int) -> bool:
    """Whether the kernel has anything of a cloud with this number, whatever became of its claim, or of others."""
    claim = Claim(number, "", 0)
    own = Path("/sys/class/net", claim.host_link).exists() or bool(namespaces(claim.prefix))
    return own or any(address in claim.addresses for address in bound_addresses())


def bound_addresses() -> set[IPv4Address]:
    """Every address that a socket of the host is at work on: a program of the user's may live in 127.64.0.0/16."""
    found = set()
    for table in ("tcp", "udp"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            # The address is a number in the machine's byte order, in hexadecimal.
            number = int(line.split()[1].partition(":")[0], 16)
            found.add(IPv4Address(number.to_bytes(4, sys.byteorder)))
    return found
