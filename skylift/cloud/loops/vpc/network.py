"""Plans each VPC from the store, and has compute apply a plan that changed."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from skylift.cloud.compute.network.plan import Peer, VpcPlan
from skylift.cloud.domain.network import (
    Address,
    InternetGateway,
    NatGateway,
    NetworkAcl,
    NetworkInterface,
    RouteTable,
    SecurityGroup,
    Subnet,
    Vpc,
)
from skylift.cloud.domain.peering import Peering
from skylift.cloud.loops.vpc.prefix_list import with_listed_peers, with_listed_routes
from skylift.cloud.store.database import Database, Tx
from skylift.cloud.store.network import joined, prefix_lists, remove_interface

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
"""The most seconds until a VPC that failed is tried again; each pause is twice as long as the last."""


class NetworkDriver(Protocol):
    """The part of compute's network that this loop drives."""

    @property
    def lost(self) -> str: ...
    def apply(self, plans: list[VpcPlan]) -> Mapping[str, Exception]: ...
    def heal(self) -> bool: ...


@dataclass(eq=False)
class NetworkLoop:
    """`on_vpcs(plans)` is called after every change with the current VPCs, whose routers can then be listened in. It
    returns the VPCs for which it failed, and why. `networks.apply` does so too, for peering connections as well. Failed
    ones are retried again and again; the others do not wait for them.

    `wake_in(seconds)` makes `step` run again, for these retries and when an address of a NAT gateway is to be
    released.
    """

    database: Database
    networks: NetworkDriver
    on_vpcs: Callable[[list[VpcPlan]], Mapping[str, Exception]]
    wake_in: Callable[[float], None]

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._applied: list[VpcPlan] | None = None
        """None if a part of it failed."""
        self._amiss: Mapping[str, Exception] = {}
        self._pause = FIRST_PAUSE

    def step(self) -> None:
        """Applies what the store says now. Raises the first failure of a VPC; all other VPCs have been applied."""
        for failure in self._follow().values():
            raise failure

    def look(self) -> None:
        """Apply all again where the kernel has lost a part of it. Raises what failed."""
        with self._lock:
            if not self.networks.heal():
                return
            self._applied = None
        self.step()

    def amiss(self, vpc_id: str) -> str:
        """Why a VPC is not as the store says, or not connected any more; empty if it is."""
        failed = self._amiss.get(vpc_id)
        return f"its network: {failed}" if failed else self.networks.lost

    def sync(self, vpc_ids: Collection[str] = ()) -> None:
        """Applies what the store says now. Failures of single VPCs are raised for these VPCs only."""
        behind = self._follow()
        for vpc_id in vpc_ids:
            if vpc_id in behind:
                raise behind[vpc_id]

    def _follow(self) -> Mapping[str, Exception]:
        """Callers may come from any thread: the plans are read under the lock, so that an older state never overwrites
        a newer one."""
        with self._lock:
            with self.database.read() as tx:
                left = _soonest_release(tx)
            if left is not None and left <= 0:
                with self.database.write() as tx:
                    _release_drained(tx)
            elif left is not None:
                self.wake_in(left)
            with self.database.read() as tx:
                plans = vpc_plans(tx)
            behind: Mapping[str, Exception] = {}
            if plans != self._applied:
                self._applied = None
                behind = dict(self.networks.apply(plans))
                self._amiss = behind = {**self.on_vpcs(plans), **behind}
                if behind:
                    self.wake_in(self._pause)
                    self._pause = min(2 * self._pause, LONGEST_PAUSE)
                else:
                    self._applied, self._pause = plans, FIRST_PAUSE
            self._settle(plans, behind)
        return behind

    def _settle(self, plans: list[VpcPlan], behind: Collection[str]) -> None:
        """Set NAT gateways and peering connections to what the kernel has now, except where that is unknown. A gateway
        that ended gives back its interface and its address.
        """
        planned = [gateway for plan in plans for gateway in plan.nat_gateways]
        there = {gateway.id for gateway in planned}
        between = {peer.id for plan in plans for peer in plan.peers}
        with self.database.read() as tx:
            gateways = tx.find(NatGateway, state="pending") or tx.find(NatGateway, state="deleting") or _unsettled(tx)
            peerings = tx.find(Peering, state="provisioning") or tx.find(Peering, state="deleting")
            if not (gateways or peerings):
                return
        with self.database.write() as tx:
            for gateway in _known(tx.find(NatGateway, state="pending"), behind):
                if gateway.id in there:
                    tx.save(replace(_settled(gateway), state="available"))
            for gateway in _known(_unsettled(tx), behind):
                # Of this very gateway: another VPC may have the same private addresses.
                seen = {at.private_ip for one in planned if one.id == gateway.id for at in one.addresses}
                if all(at.private_ip in seen for at in gateway.secondary):
                    tx.save(_settled(gateway))
            for gateway in _known(tx.find(NatGateway, state="deleting"), behind):
                if gateway.id not in there:
                    _end(tx, gateway)
            for peering in tx.find(Peering, state="provisioning"):
                if peering.id in between and not _is_behind(peering, behind):
                    tx.save(replace(peering, state="active"))
            for peering in tx.find(Peering, state="deleting"):
                if peering.id not in between and not _is_behind(peering, behind):
                    tx.save(replace(peering, state="deleted"))


def _known(gateways: list[NatGateway], behind: Collection[str]) -> list[NatGateway]:
    return [gateway for gateway in gateways if gateway.vpc_id not in behind]


def _is_behind(peering: Peering, behind: Collection[str]) -> bool:
    return any(name in behind for name in (peering.id, *peering.vpc_ids))


def _settled(gateway: NatGateway) -> NatGateway:
    return replace(gateway, secondary=tuple(replace(at, settled=True) for at in gateway.secondary))


def _unsettled(tx: Tx) -> list[NatGateway]:
    available = tx.find(NatGateway, state="available")
    return [gateway for gateway in available if any(not at.settled for at in gateway.secondary)]


def _soonest_release(tx: Tx) -> float | None:
    """The seconds until the next address of a NAT gateway is released; None if none will be."""
    times = [at.released for nat in tx.find(NatGateway, state="available") for at in nat.secondary if at.released]
    return (min(times) - tx.now).total_seconds() if times else None


def _release_drained(tx: Tx) -> None:
    """Frees addresses after their drain time. The next plan makes the kernel forget their connections."""
    for gateway in tx.find(NatGateway, state="available"):
        over = {at.private_ip for at in gateway.secondary if at.released is not None and at.released <= tx.now}
        if not over:
            continue
        for address in tx.find(Address, interface_id=gateway.interface_id):
            if address.private_ip in over:
                tx.save(address.free())
        interface = tx.get(NetworkInterface, id=gateway.interface_id)
        if interface is not None:
            kept = tuple(one for one in interface.secondary if one.private_ip not in over)
            tx.save(replace(interface, secondary=kept))
        tx.save(replace(gateway, secondary=tuple(at for at in gateway.secondary if at.private_ip not in over)))


def _end(tx: Tx, gateway: NatGateway) -> None:
    interface = tx.get(NetworkInterface, id=gateway.interface_id)
    if interface is not None:
        remove_interface(tx, interface)
    tx.save(replace(gateway, state="deleted"))


def vpc_plans(tx: Tx) -> list[VpcPlan]:
    """Every VPC of the store, whole."""
    gateways = {gateway.vpc_id: gateway.id for gateway in tx.find(InternetGateway) if gateway.vpc_id}
    subnets = _by_vpc(tx.find(Subnet))
    tables = _by_vpc(tx.find(RouteTable))
    groups = _by_vpc(tx.find(SecurityGroup))
    interfaces = _by_vpc(tx.find(NetworkInterface, kind="interface"))
    nats = _by_vpc([nat for nat in tx.find(NatGateway) if nat.state in ("pending", "available")])
    acls = _by_vpc(tx.find(NetworkAcl))
    lists = prefix_lists(tx)
    vpcs, peerings = {vpc.id: vpc for vpc in tx.find(Vpc)}, joined(tx)
    connected = {peering.id for peering in peerings}

    def members(peering_id: str, group_id: str) -> Iterator[str]:
        for interface in (one for of_vpc in interfaces.values() for one in of_vpc if group_id in one.group_ids):
            if peering_id in connected:
                yield from (address.private_ip for address in interface.addresses)

    return [
        VpcPlan(
            vpc=vpc,
            subnets=tuple(subnets[vpc.id]),
            internet_gateway=gateways.get(vpc.id),
            route_tables=tuple(with_listed_routes(table, vpc, lists) for table in tables[vpc.id]),
            groups=tuple(with_listed_peers(group, lists, members) for group in groups[vpc.id]),
            interfaces=tuple(_as_attached(one) for one in interfaces[vpc.id]),
            nat_gateways=tuple(replace(_settled(nat), state="available") for nat in nats[vpc.id]),
            acls=tuple(acls[vpc.id]),
            peers=tuple(_peers(vpc, vpcs, peerings)),
        )
        for vpc in vpcs.values()
    ]


def _as_attached(interface: NetworkInterface) -> NetworkInterface:
    """Routers do not depend on whether the server has the interface yet, so that must not make a new plan."""
    return interface if interface.attachment == "attached" else replace(interface, attachment="attached")


def _peers(vpc: Vpc, vpcs: dict[str, Vpc], peerings: list[Peering]) -> Iterator[Peer]:
    for one in peerings:
        if vpc.id in one.vpc_ids and (other := vpcs.get(one.other(vpc.id))) is not None:
            yield Peer(one.id, other.id, other.cidrs)


def _by_vpc(nouns: list[Any]) -> dict[str, list[Any]]:
    grouped: dict[str, list[Any]] = defaultdict(list)
    for noun in nouns:
        grouped[noun.vpc_id].append(noun)
    return grouped
