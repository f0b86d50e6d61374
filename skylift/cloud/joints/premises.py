"""Where on this machine a cloud works: the state directory's share of it, and its claim's under /run/skylift."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from skylift.cloud.compute import cgroup
from skylift.cloud.compute.claim import Claim
from skylift.cloud.compute.disk import Disks
from skylift.cloud.compute.inherit import inherited
from skylift.cloud.compute.lxcfs import ensure_lxcfs
from skylift.cloud.compute.server import Servers, find_programs
from skylift.cloud.home import Home
from skylift.cloud.loops.blueprint import Site

RUN = Path("/run/skylift")


def places_of_work(home: Home, claim: Claim) -> tuple[Path, ...]:
    """Where programs that we begin change what is there."""
    return RUN / str(claim.number), home.volumes


def make_servers(home: Home, claim: Claim, ended: Callable[[str, int | None], None]) -> Servers:
    return Servers(RUN / str(claim.number), home.instances, f"skylift-{claim.number}", find_programs(), ended)


def make_disks(home: Home, claim: Claim) -> Disks:
    return Disks(home.volumes, home.snapshots, volumes_at(claim))


def volumes_at(claim: Claim) -> Path:
    """Where volumes are mounted on the host."""
    return RUN / str(claim.number) / "volumes"


def lxcfs_at(claim: Claim) -> Path:
    """Where this cloud's own lxcfs is, if it runs one."""
    return RUN / str(claim.number) / "lxcfs"


def make_site(home: Home, claim: Claim, account: str, region: str) -> Site:
    return Site(
        account=account,
        region=region,
        disks=home.instances,
        volumes=volumes_at(claim),
        inheritance=inherited(),
        host_cores=tuple(sorted(os.sched_getaffinity(0))),
        cpusets=cgroup.cpusets(),
        swap_accounting=cgroup.swap_accounting(),
        lxcfs=ensure_lxcfs(lxcfs_at(claim)),
    )
