"""The network of one cloud, as loops ask for it: plans in, kernel out. See network_error.py for what can go wrong.

    host --skyN-- uplink --v...-- router of a VPC --e...-- eth0 of a server
                    |
                  pasta, the way out to the internet

Nothing of it belongs to the process that made it: another process opens the same range, finds everything and goes on.
"""

from __future__ import annotations

import logging
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from ipaddress import IPv4Address
from pathlib import Path
from typing import Literal

from skylift.cloud.compute.network import host, pasta
from skylift.cloud.compute.network.egress_policy import EgressPolicy, current_policy
from skylift.cloud.compute.network.error import ListenRefused, NetworkError, RouterBehind, UnknownVpc
from skylift.cloud.compute.network.loopback_range import DIRECTORY, LoopbackRange, LoopbackRanges
from skylift.cloud.compute.network.namespace import Namespace, create_namespace, namespaces, remove_namespace
from skylift.cloud.compute.network.netlink import Netlink
from skylift.cloud.compute.network.plan import Peer, VpcPlan
from skylift.cloud.compute.network.router import Router, router_name
from skylift.cloud.compute.network.server_link import configure_server_link
from skylift.cloud.compute.network.traffic import peer_link
from skylift.cloud.compute.network.uplink import Uplink, uplink_name
from skylift.cloud.domain.network import NetworkInterface, Subnet
from skylift.cloud.domain.opening import Opening
from skylift.cloud.domain.upstream import FORWARDER

log = logging.getLogger(__name__)

KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


class CloudNetwork:
    """Every method may be called from any thread, one at a time runs; each is idempotent."""

    def __init__(self, loopback: LoopbackRange, openings: Sequence[Opening] = ()) -> None:
        self.loopback = loopback
        self.pasta_problem: str | None = None
        """The reason why servers cannot reach the internet; None if they can."""
        self._had_pasta = False
        self.lost = ""
        """What all VPCs shared and the last check could not repair; empty if nothing is missing."""
        self._lock = threading.RLock()
        self._netlink: Netlink | None = None
        self._uplink: Uplink | None = None
        self._routers: dict[str, Router] = {}
        self._behind: dict[str, NetworkError] = {}
        """The failure for each VPC whose router differs from the last plans, and for each peering connection without a
        link.
        """
        self._public: dict[str, int] | None = None
        self._openings = tuple(openings)
        self._policy = EgressPolicy()
        self._host_rules: str | None = None
        """The host's rules at the first look since they were loaded."""

    def open(self) -> None:
        """Make what all VPCs share, or find it; find the routers that are there."""
        with self._lock:
            if self._uplink is not None:
                return
            try:
                self._open()
            except NetworkError:
                self.release()
                raise

    def apply(self, plans: Sequence[VpcPlan]) -> Mapping[str, NetworkError]:
        """Make the kernel agree with the plans of all VPCs there are; a VPC without a plan is removed.

        Interfaces that are not in their VPC's plan are unplugged. Those in it are plugged in by `attach`.

        Returns what failed, and why, by the ids of VPCs and peering connections; the others are made all the same.
        Nothing can be attached in a failed VPC, and no public address leads there, until a later call succeeds.
        Failures that concern all VPCs are raised.
        """
        with self._lock:
            uplink = self._opened()
            self._behind = {}
            for vpc_id in self._routers.keys() - {plan.vpc.id for plan in plans}:
                with self._apart(vpc_id):
                    self._routers[vpc_id].remove()
                    del self._routers[vpc_id]
            for plan in plans:
                with self._apart(plan.vpc.id):
                    self._ensure_router(plan, uplink)
            self._join(plans)
            for plan in plans:
                self._apply(plan)
            self._part(plans)
            public = self._leading_in(plans, uplink)
            if public != self._public:
                uplink.route(public)
                self._public = public
            return dict(self._behind)

    def heal(self) -> bool:
        """Look at the kernel, and make again what others have taken away of what all VPCs share. Answers whether more
        is amiss: the next `apply` makes that again, and needs the plans.

        `lost` is what could not be made again. No part waits for another one.
        """
        with self._lock:
            uplink, shared, self.lost = self._opened(), False, ""
            broken = [router for router in self._routers.values() if router.plan is not None and not router.keep()]
            for router in broken:
                log.warning("the router of %s has lost rules or its link, and is made again", router.vpc_id)
                router.begin_anew()
            try:
                shared = uplink.keep() and self._host_keeps_rules()
                if not shared:
                    log.warning("the host's table, or the way from the host to servers, was changed, and is made again")
                    self._connect(uplink)
            except NetworkError as error:
                log.error("the way from the host to servers: %s", error)
                self.lost = f"the way from the host: {error}"
            if broken or not shared:
                uplink.look_anew()
                self._public = None
            self.pasta_problem = uplink.start_pasta()
            if self.pasta_problem and self._had_pasta and not self.lost:
                self.lost = f"the way to the internet: {self.pasta_problem}"
            return bool(broken or not shared)

    def close_off(self, openings: Sequence[Opening]) -> EgressPolicy:
        """Keep servers off what is around this machine now, but for these openings. Answers what there is."""
        with self._lock:
            uplink = self._opened()
            assert self._netlink is not None
            self._openings = tuple(openings)
            policy = current_policy(self._netlink, self._openings)
            if policy != self._policy:
                # The inner wall first: what is new there was not asked for at the outer one.
                uplink.close_off(policy)
                host.close_off(self.loopback, policy)
                self._policy = policy
            return policy

    def attach(self, interface: NetworkInterface, subnet: Subnet, pid: int) -> None:
        """Give the network namespace of process `pid` this interface, as eth0 (or its index), with lo and routes.

        Raises UnknownVpc when no applied plan has the VPC, RouterBehind when the last could not be applied, ServerGone
        when the process has ended.
        """
        with self._lock:
            router = self._known(interface.vpc_id)
            with closing(Namespace.of_process(pid)) as server:
                router.attach(interface, subnet, server)

    def configure_link(self, interface: NetworkInterface, subnet: Subnet, pid: int) -> None:
        """Tell the server of process `pid`, which has the interface, what addresses there are at it now."""
        with closing(Namespace.of_process(pid)) as server:
            configure_server_link(server, interface, subnet)

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
                return router.namespace.listen(address, port, KINDS[kind])
            except OSError as error:
                raise ListenRefused(f"listen on {address} port {port} in {vpc_id}: {error.strerror}") from error

    def listen_for_all(self, port: int) -> socket.socket:
        """A socket at the forwarder's address, reachable from servers with a way to the internet, and only there."""
        with self._lock:
            try:
                return self._opened().namespace.listen(FORWARDER, port, socket.SOCK_STREAM)
            except OSError as error:
                raise ListenRefused(f"listen on {FORWARDER} port {port}: {error.strerror}") from error

    def release(self) -> None:
        """Closes all handles. The network stays for the next process."""
        with self._lock:
            for router in self._routers.values():
                router.close()
            if self._uplink is not None:
                self._uplink.namespace.close()
            if self._netlink is not None:
                self._netlink.close()
            self._routers, self._uplink, self._netlink, self._public = {}, None, None, None
            self._behind = {}

    def close(self) -> None:
        """Remove everything of this cloud from the machine, except the range's file, which the caller releases."""
        with self._lock:
            self.release()
            remove_everything(self.loopback)

    def _open(self) -> None:
        present = namespaces(self.loopback.prefix)
        name = uplink_name(self.loopback)
        if name not in present:
            # A pasta that lost its namespace has nothing left to do.
            pasta.stop(self.loopback)
            pasta.create_uplink_namespace(self.loopback, name)
        self._netlink = Netlink()
        self._uplink = Uplink(self.loopback, Namespace.open(name))
        self._policy = current_policy(self._netlink, self._openings)
        self._connect(self._uplink)
        self.pasta_problem = self._uplink.start_pasta()
        self._had_pasta = self.pasta_problem is None
        for found in present:
            if found != name:
                vpc_id = found.removeprefix(self.loopback.prefix)
                self._routers[vpc_id] = Router(vpc_id, Namespace.open(found), adopted=True)

    def _connect(self, uplink: Uplink) -> None:
        assert self._netlink is not None
        uplink.configure(self._policy)
        host.connect(self.loopback, self._netlink, uplink.namespace, self._policy)
        uplink.connect_host()
        self._host_rules = None

    def _host_keeps_rules(self) -> bool:
        assert self._netlink is not None
        found = host.rules(self.loopback, self._netlink)
        self._host_rules = found if self._host_rules is None else self._host_rules
        return found == self._host_rules != ""

    def _opened(self) -> Uplink:
        self.open()
        assert self._uplink is not None
        return self._uplink

    @contextmanager
    def _apart(self, name: str) -> Iterator[None]:
        """A failure in here concerns this VPC, or this peering connection, alone."""
        try:
            yield
        except NetworkError as error:
            self._behind.setdefault(name, error)
            if name in self._routers:
                self._routers[name].begin_anew()

    def _ensure_router(self, plan: VpcPlan, uplink: Uplink) -> None:
        vpc_id = plan.vpc.id
        if vpc_id not in self._routers:
            self._routers[vpc_id] = self._make_router(vpc_id)
        router = self._routers[vpc_id]
        if router.plan is None:
            router.configure(plan, uplink.namespace)
            uplink.connect_router(vpc_id)

    def _make_router(self, vpc_id: str) -> Router:
        name = router_name(self.loopback, vpc_id)
        create_namespace(name)
        try:
            return Router(vpc_id, Namespace.open(name), adopted=False)
        except NetworkError:
            # It is not recorded anywhere: the next attempt would find its name taken.
            remove_namespace(name)
            raise

    def _apply(self, plan: VpcPlan) -> None:
        router, moved = self._routers.get(plan.vpc.id), set[str]()
        if router is None:
            return
        with self._apart(plan.vpc.id):
            moved = router.apply(plan)
        for peer in plan.peers:
            if peer.vpc_id in self._routers:
                with self._apart(peer.vpc_id):
                    self._routers[peer.vpc_id].forget(moved)

    def _join(self, plans: Sequence[VpcPlan]) -> None:
        """Links between the routers of peered VPCs, which routes need to be there."""
        there = {plan.vpc.id: plan for plan in plans if plan.vpc.id in self._routers}
        for plan in there.values():
            for peer in plan.peers:
                # Each connection stands in the plans of both.
                if plan.vpc.id < peer.vpc_id and peer.vpc_id in there:
                    (back,) = (one for one in there[peer.vpc_id].peers if one.id == peer.id)
                    self._link(plan.vpc.id, peer, back)

    def _link(self, vpc_id: str, peer: Peer, back: Peer) -> None:
        ours, its = self._routers[vpc_id], self._routers[peer.vpc_id]
        with self._apart(peer.id):
            missing = not (ours.has_link(peer) and its.has_link(back))
            if missing:
                ours.part(peer_link(peer))
                its.part(peer_link(back))
                ours.link_to(peer, its)
            ours.dress_link(peer)
            its.dress_link(back)
            if missing:
                ours.reroute()
                its.reroute()

    def _part(self, plans: Sequence[VpcPlan]) -> None:
        """Links of connections that are over, once no route leads there any more."""
        for plan in plans:
            router, wanted = self._routers.get(plan.vpc.id), {peer_link(peer) for peer in plan.peers}
            if router is not None:
                with self._apart(plan.vpc.id):
                    for link in router.joined() - wanted:
                        router.part(link)

    def _leading_in(self, plans: Sequence[VpcPlan], uplink: Uplink) -> dict[str, int]:
        """The index of the uplink's link to the router of each public address's VPC."""
        found: dict[str, int] = {}
        for plan in plans:
            addresses = public_addresses(plan) if plan.internet_gateway is not None else []
            if addresses and plan.vpc.id not in self._behind:
                with self._apart(plan.vpc.id):
                    found |= dict.fromkeys(addresses, uplink.router_index(plan.vpc.id))
        return found

    def _known(self, vpc_id: str) -> Router:
        if vpc_id in self._behind:
            raise RouterBehind(f"the router of {vpc_id} differs from its plan: {self._behind[vpc_id]}")
        if vpc_id not in self._routers:
            raise UnknownVpc(f"{vpc_id} has no router; it must be in a plan first")
        return self._routers[vpc_id]


def public_addresses(plan: VpcPlan) -> list[str]:
    """The public addresses of servers and of NAT gateways."""
    servers = [address.public_ip for one in plan.interfaces for address in one.addresses if address.public_ip]
    return [*servers, *(at.public_ip for nat in plan.nat_gateways for at in nat.addresses if at.public_ip)]


def loopback_ranges(directory: Path = DIRECTORY) -> LoopbackRanges:
    """The loopback ranges of this machine's clouds."""
    return LoopbackRanges(_taken, directory)


def sweep(home: Path, registry: LoopbackRanges | None = None) -> bool:
    """Remove all that the cloud of this home left in the kernel, and release its range. False when it had none."""
    registry = registry or loopback_ranges()
    loopback = registry.find(home)
    if loopback is None:
        return False
    remove_everything(loopback)
    registry.release(loopback)
    return True


def try_way_out() -> str:
    """Start pasta for a cloud that there is not, and remove it again. Answers what is wrong, if anything."""
    ranges = loopback_ranges()
    with tempfile.TemporaryDirectory(prefix="skylift-trial-") as home:
        loopback = ranges.take(Path(home))
        try:
            name = uplink_name(loopback)
            pasta.create_uplink_namespace(loopback, name)
            with closing(Namespace.open(name)) as namespace:
                pasta.start(loopback, namespace)
        except NetworkError as error:
            return str(error)
        finally:
            remove_everything(loopback)
            ranges.release(loopback)
    return ""


def remove_everything(loopback: LoopbackRange) -> None:
    """Removes the network from the outside in: it cannot be reached before it ends."""
    with closing(Netlink()) as netlink:
        host.disconnect(loopback, netlink)
    pasta.stop(loopback)
    for name in namespaces(loopback.prefix):
        remove_namespace(name)


def _taken(number: int) -> bool:
    """Whether the kernel has anything of a cloud with this number, or addresses of others in its range."""
    loopback = LoopbackRange(number, "", 0)
    own = Path("/sys/class/net", loopback.host_link).exists() or bool(namespaces(loopback.prefix))
    return own or any(address in loopback.addresses for address in bound_addresses())


def bound_addresses() -> set[IPv4Address]:
    """Every address that a socket of the host is at work on: a program of the user's may live in 127.64.0.0/16."""
    found = set()
    for table in ("tcp", "udp"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            # The address is a number in the machine's byte order, in hexadecimal.
            number = int(line.split()[1].partition(":")[0], 16)
            found.add(IPv4Address(number.to_bytes(4, sys.byteorder)))
    return found
