"""The cgroups of one cloud's servers: found and removed in whatever hierarchies the host has."""

from __future__ import annotations

import os
from pathlib import Path

MOUNT = Path("/sys/fs/cgroup")


def hierarchies() -> list[Path]:
    """The root of each hierarchy: the one of version 2, or one a controller with version 1 (and both on hybrids)."""
    if (MOUNT / "cgroup.controllers").exists():
        return [MOUNT]
    if not MOUNT.is_dir():
        return []
    return [path for path in MOUNT.iterdir() if path.is_dir() and not path.is_symlink()]


def swap_accounting() -> bool:
    """Whether a limit on memory and swap together can be set: off on kernels booted without swap accounting."""
    if (MOUNT / "cgroup.controllers").exists():
        # Version 2's root has no such file; every group below it has one where swap is accounted.
        return Path("/proc/swaps").exists() and _v2_swap()
    return (MOUNT / "memory" / "memory.memsw.limit_in_bytes").exists()


def _v2_swap() -> bool:
    return any((child / "memory.swap.max").exists() for child in MOUNT.iterdir() if child.is_dir())


def cpusets() -> bool:
    """Whether processes can be held to some of the cores."""
    unified = MOUNT / "cgroup.controllers"
    if unified.exists():
        return "cpuset" in unified.read_text().split()
    return (MOUNT / "cpuset" / "cpuset.cpus").exists()


def remove(name: str) -> None:
    """Remove the cgroup and those below it in every hierarchy; their processes must have ended."""
    for hierarchy in hierarchies():
        top = hierarchy / name
        if not top.exists():
            continue
        for directory, _, _ in os.walk(top, topdown=False):
            Path(directory).rmdir()


def processes(name: str) -> set[int]:
    """Pids in the cgroup and below it, in any hierarchy."""
    found: set[int] = set()
    for hierarchy in hierarchies():
        for file in (hierarchy / name).rglob("cgroup.procs"):
            found.update(int(line) for line in file.read_text().split())
        own = hierarchy / name / "cgroup.procs"
        if own.exists():
            found.update(int(line) for line in own.read_text().split())
    return found
