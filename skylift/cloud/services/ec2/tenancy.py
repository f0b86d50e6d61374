"""The hardware that an instance runs on: shared, the account's own (`dedicated`), or a dedicated host.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/dedicated-instance.html
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import repeat
from typing import TYPE_CHECKING, Literal

from skylift.catalogue import InstanceType
from skylift.cloud.domain.dedicated_host import DedicatedHost
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.instance import Instance
from skylift.cloud.domain.launch_request import LaunchRequest, PlacementRequest
from skylift.cloud.domain.network import Subnet, Vpc
from skylift.cloud.services.api.instance_type import instance_type
from skylift.cloud.services.api.refusal import combination, one_of
from skylift.cloud.services.api.resource import require
from skylift.cloud.services.ec2.dedicated_host import room_on, takes
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import ec2

Tenancy = Literal["default", "dedicated", "host"]
Affinity = Literal["default", "host"]

TENANCIES: dict[str, Tenancy] = {"default": "default", "dedicated": "dedicated", "host": "host"}


@dataclass(frozen=True)
class HostPlacement:
    """On which hardware the instances of one launch run. `most` is how many fit (None: no bound), `hosts` yields the
    host of each in turn."""

    tenancy: Tenancy = "default"
    affinity: Affinity = "default"
    most: int | None = None
    hosts: Iterator[str | None] = field(default_factory=lambda: repeat(None))
    named: str | None = None

    def at_most(self, least: int, most: int) -> int:
        """The number of these instances that there is room for. Raises if it is less than `least`."""
        if self.most is None:
            return most
        if self.most >= least:
            return min(most, self.most)
        if self.named:
            raise ServiceError(
                "InsufficientCapacityOnHost",
                f"There is not enough capacity on the Dedicated Host '{self.named}' to launch or start the instance.",
            )
        raise ServiceError(
            "InsufficientHostCapacity",
            "There are no available Dedicated Hosts with auto-placement and enough capacity on which to launch or "
            "start the instance.",
        )


def tenancy_of(tx: Tx, asked: str | None, vpc_id: str) -> Tenancy:
    """The tenancy that was asked for; in a VPC of dedicated tenancy no instance shares its hardware."""
    wanted = one_of(asked or "default", "tenancy", tuple(TENANCIES.values()))
    vpc = tx.get(Vpc, id=vpc_id)
    return "dedicated" if wanted == "default" and vpc is not None and vpc.tenancy == "dedicated" else wanted


def with_zone_of_host(tx: Tx, request: LaunchRequest) -> LaunchRequest:
    """Sets the zone of a launch without one: that of its host, or of any host with room."""
    if request.place.tenancy != "host" or not request.leaves_zone_open:
        return request
    kind = instance_type(request.type or "")
    named = tx.get(DedicatedHost, id=request.place.host_id)
    hosts = [named] if named else [host for host in _candidates(tx, kind) if room_on(tx, host, kind)]
    return request.in_zone(hosts[0].zone) if hosts else request


def host_placement(
    tx: Tx, placement: PlacementRequest, kind: InstanceType, subnet: Subnet, *, spot: bool = False
) -> HostPlacement:
    """The placement that a launch's `Placement` asks for. Raises if its parts do not fit together, or do not fit the
    type.
    """
    tenancy = tenancy_of(tx, placement.tenancy, subnet.vpc_id)
    zone = subnet.zone
    affinity, named = _affinity(placement.affinity), placement.host_id
    if tenancy != "host":
        if named or affinity == "host":
            raise combination("The parameters hostId and affinity can be used with the tenancy host only.")
        if tenancy == "dedicated" and kind.family == "t2":
            raise _unsupported(kind, "dedicated")
        return HostPlacement(tenancy)
    if spot:
        raise combination("Spot Instances cannot be launched with the tenancy host.")
    if not kind.dedicated_hosts:
        raise _unsupported(kind, "host")
    hosts = [_fitting(tx, named, kind, zone)] if named else _candidates(tx, kind, zone)
    return _on(tx, hosts, kind, affinity, named)


def berth_again(tx: Tx, instance: Instance) -> Instance:
    """A stopped instance that is about to start: on its own host, or on any that has room."""
    if instance.tenancy != "host":
        return instance
    kind = instance_type(instance.type)
    bound = instance.affinity == "host" and instance.host_id is not None
    if bound and instance.host_id is not None:
        hosts = [_fitting(tx, instance.host_id, kind, instance.zone)]
    else:
        # Where it was before, if it can be.
        hosts = sorted(_candidates(tx, kind, instance.zone), key=lambda one: one.id != instance.host_id)
    found = _on(tx, hosts, kind, instance.affinity, instance.host_id if bound else None)
    found.at_most(1, 1)
    return replace(instance, host_id=next(found.hosts))


def replaced(tx: Tx, instance: Instance, params: ec2.ModifyInstancePlacementRequest) -> Instance:
    """ModifyInstancePlacement, as far as it is about hosts. Between shared and other hardware there is no way."""
    tenancy = params.get("Tenancy") or instance.tenancy
    if tenancy not in TENANCIES or (tenancy == "default") != (instance.tenancy == "default"):
        raise ServiceError(
            "InvalidTenancy",
            f"The tenancy of the instance '{instance.id}' cannot be changed from {instance.tenancy} to {tenancy}.",
        )
    affinity = _affinity(params["Affinity"]) if params.get("Affinity") else instance.affinity
    named = params.get("HostId")
    if tenancy != "host":
        if named or params.get("Affinity") == "host":
            raise combination("The parameters hostId and affinity can be used with the tenancy host only.")
        return replace(instance, tenancy=TENANCIES[tenancy], affinity="default", host_id=None)
    if named:
        _fitting(tx, named, instance_type(instance.type), instance.zone)
        # A host that is named is where it has to start, also without an affinity.
        affinity = affinity if params.get("Affinity") else "host"
    return replace(instance, tenancy="host", affinity=affinity, host_id=named or instance.host_id)


def _on(tx: Tx, hosts: list[DedicatedHost], kind: InstanceType, affinity: Affinity, named: str | None) -> HostPlacement:
    free = [(host, room_on(tx, host, kind)) for host in hosts]
    one_by_one: Iterator[str | None] = iter([host.id for host, room in free for _ in range(room)])
    return HostPlacement("host", affinity, sum(room for _, room in free), one_by_one, named)


def _fitting(tx: Tx, host_id: str, kind: InstanceType, zone: str) -> DedicatedHost:
    host = require(tx, DedicatedHost, host_id)
    if host.released:
        raise ServiceError("InvalidHostState", f"The Dedicated Host '{host.id}' must be in the available state.")
    if not takes(host, kind) or host.zone != zone:
        raise ServiceError(
            "IncompatibleHostRequirements",
            f"The Dedicated Host '{host.id}' is for {host.type or host.family} in {host.zone}, not for {kind.name} in "
            f"{zone}.",
        )
    return host


def _candidates(tx: Tx, kind: InstanceType, zone: str | None = None) -> list[DedicatedHost]:
    found = tx.find(DedicatedHost, auto_placement="on", released=None)
    return [host for host in found if zone in (None, host.zone) and takes(host, kind)]


def _affinity(value: str | None) -> Affinity:
    return one_of(value or "default", "affinity", ("default", "host"))


def _unsupported(kind: InstanceType, tenancy: str) -> ServiceError:
    return ServiceError(
        "Unsupported",
        f"The requested configuration is currently not supported: {kind.name} with the tenancy {tenancy}. Please "
        "check the documentation for supported configurations.",
    )
