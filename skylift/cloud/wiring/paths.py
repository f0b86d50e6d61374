"""Where a cloud works on this machine: its state directory, and its own directory under /run/skylift."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from skylift.catalogue import types
from skylift.cloud.compute.disk.disk import Disks
from skylift.cloud.compute.network.loopback_range import LoopbackRange
from skylift.cloud.compute.server import cgroup
from skylift.cloud.compute.server.inheritance import inherited
from skylift.cloud.compute.server.lxcfs import Sizes
from skylift.cloud.compute.server.meter import Meter
from skylift.cloud.compute.server.server import HostKeys, Servers, find_programs, no_host_keys
from skylift.cloud.loops.cloudwatch.metering import TypeLimits
from skylift.cloud.loops.ec2.server_spec import CloudSettings
from skylift.cloud.state.data import Data

RUN = Path("/run/skylift")


def work_directories(data: Data, loopback: LoopbackRange) -> tuple[Path, ...]:
    """The directories that our programs change."""
    return RUN / str(loopback.number), data.volumes


def make_servers(
    data: Data, loopback: LoopbackRange, ended: Callable[[str, int | None], None], host_keys: HostKeys = no_host_keys
) -> Servers:
    return Servers(RUN / str(loopback.number), data.instances, _group(loopback), find_programs(), ended, host_keys)


def make_meter(loopback: LoopbackRange) -> Meter:
    return Meter(RUN / str(loopback.number), _group(loopback))


def _group(loopback: LoopbackRange) -> str:
    """The cgroup of its servers, below the cgroup of all clouds."""
    return f"skylift/{loopback.number}"


def make_disks(data: Data, loopback: LoopbackRange) -> Disks:
    return Disks(data.volumes, data.snapshots, volumes_at(loopback))


def volumes_at(loopback: LoopbackRange) -> Path:
    """The directory on the host in which volumes are mounted."""
    return RUN / str(loopback.number) / "volumes"


def lxcfs_at(loopback: LoopbackRange) -> Path:
    """The place of this cloud's own lxcfs, if it runs one."""
    return RUN / str(loopback.number) / "lxcfs"


def been_up(loopback: LoopbackRange) -> Path:
    """A file that is there from the end of a whole start until the cloud is taken down or the machine is off."""
    return RUN / str(loopback.number) / "been-up"


def make_settings(data: Data, sizes: Sizes, loopback: LoopbackRange, account: str, region: str) -> CloudSettings:
    return CloudSettings(
        account=account,
        region=region,
        disks=data.instances,
        volumes=volumes_at(loopback),
        inheritance=inherited(),
        host_cores=tuple(sorted(os.sched_getaffinity(0))),
        cpusets=cgroup.cpusets(),
        swap_accounting=cgroup.swap_accounting(),
        lxcfs=sizes.place,
        tasks=cgroup.tasks(),
    )


def size_of(settings: CloudSettings, type_name: str) -> TypeLimits:
    """The resources that servers of a type may use here."""
    kind = types()[type_name]
    return TypeLimits(min(kind.vcpus, len(settings.host_cores)), kind.memory_mib)
