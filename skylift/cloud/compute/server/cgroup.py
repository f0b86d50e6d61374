"""The cgroups of one cloud's servers: found and removed in whatever hierarchies the host has."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from skylift.cloud.state.rootless import rootless

MOUNT = Path("/sys/fs/cgroup")


def hierarchies() -> list[Path]:
    """The root of each hierarchy: one in all with version 2, one a controller with version 1, both kinds on hybrids."""
    if rootless():
        return []
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


def bound_sockets(name: str, most: int) -> None:
    """The bytes that the sockets of a cgroup may buffer. Version 2 counts them as its memory; version 1 does not, and
    runtimes do not set this limit any more."""
    with suppress(FileNotFoundError):
        (MOUNT / "memory" / name / "memory.kmem.tcp.limit_in_bytes").write_text(str(most))


def cpusets() -> bool:
    """Whether processes can be held to some of the cores."""
    unified = MOUNT / "cgroup.controllers"
    if unified.exists():
        return "cpuset" in unified.read_text().split()
    return (MOUNT / "cpuset" / "cpuset.cpus").exists()


def tasks() -> int:
    """The most processes and threads of all servers of this machine: half of what it can have.

    A machine can have as many as it has numbers for, and a container as many as its own group may have.
    """
    proc = Path("/proc/sys/kernel")
    most = [int((proc / name).read_text()) for name in ("pid_max", "threads-max")]
    own = [file.read_text().strip() for file in (MOUNT / "pids.max", MOUNT / "pids" / "pids.max") if file.exists()]
    return min(*most, *(int(each) for each in own if each != "max")) // 2


def make(name: str, most: int) -> None:
    """Makes the cgroup `PARENT/NAME` in every hierarchy. `most` limits the processes and threads in all of `PARENT`."""
    parent = name.partition("/")[0]
    for hierarchy in hierarchies():
        _make(hierarchy / name)
        available = hierarchy / "cgroup.controllers"
        if available.exists() and "pids" in available.read_text().split():
            with suppress(OSError):
                # Not in a container whose own processes are in this very group; the runtime cannot either, then.
                (hierarchy / "cgroup.subtree_control").write_text("+pids")
        bound = hierarchy / parent / "pids.max"
        if bound.exists():
            bound.write_text(str(most))
        # Version 1 weighs a group against each process outside of it: a hundred servers would get as much CPU as
        # one such process. Version 2 weighs it against the host's slices.
        for group in (hierarchy / parent, hierarchy / name):
            if (group / "cpu.shares").exists():
                (group / "cpu.shares").write_text(str(1024 * (os.cpu_count() or 1)))


def _make(directory: Path) -> None:
    """Another cloud may be removing the parent at this moment, as long as nothing is in it."""
    while True:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            return
        except FileNotFoundError:
            continue


def remove(name: str) -> None:
    """Remove the cgroup and those below it in every hierarchy, and its parent after the last; their processes must have
    ended."""
    for hierarchy in hierarchies():
        top = hierarchy / name
        if not top.exists():
            continue
        for directory, _, _ in os.walk(top, topdown=False):
            Path(directory).rmdir()
        with suppress(OSError):
            # Other clouds' are in it.
            top.parent.rmdir()


def processes(name: str) -> set[int]:
    """Pids in the cgroup and below it, in any hierarchy."""
    found: set[int] = set()
    for hierarchy in hierarchies():
        for file in (hierarchy / name).rglob("cgroup.procs"):
            found.update(int(line) for line in file.read_text().split())
    return found
