"""The OCI configuration of one server: a pure function from its plan. And the one limit that is not in it."""

from __future__ import annotations

import resource
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skylift.cloud.compute.server import dmi
from skylift.cloud.state.rootless import rootless

CAPABILITIES = tuple(
    f"CAP_{name}"
    for name in (
        "AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID IPC_LOCK KILL MKNOD NET_ADMIN NET_BIND_SERVICE NET_RAW SETFCAP "
        "SETGID SETPCAP SETUID SYS_BOOT SYS_CHROOT SYS_NICE SYS_PTRACE"
    ).split()
)
"""All of these count only in the server's own user namespace. Without SYS_ADMIN nothing can be mounted; without
SYS_MODULE and SYS_RAWIO the host's kernel is out of reach.
"""

UIDS = 65536
_MIB, _PAGE = 1 << 20, 4096
_TERMINALS = 256
"""The most pseudo-terminals of one server; the kernel has 4,096 for all, and keeps 1,024 of them for the host."""
OPEN_FILES = 1024, 524_288
"""A program's first limit of open files, and the most that it can set, as systemd has them on EC2's images."""
INIT = ("/usr/bin/tini", "--", "/usr/lib/skylift/init")
LXCFS_FILES = (
    *(f"proc/{name}" for name in ("cpuinfo", "diskstats", "loadavg", "meminfo", "stat", "swaps", "uptime")),
    "sys/devices/system/cpu",
)
_MASKED_PROC = tuple("acpi asound interrupts kcore keys latency_stats sched_debug scsi timer_list timer_stats".split())


@dataclass(frozen=True)
class ServerPlan:
    """One whole server, except for its network, which is attached between creation and start.

    `image` is the image's root directory, `disk` the directory of the server's own files. Its writes are there too,
    unless `volume` names where a file system for them is mounted. The server may use as many as `cpus` cores and
    `memory` bytes. `cores` are the host's cores that it runs on; it runs on all when none is named. `lxcfs` has the
    files that tell it its size. All servers together may have `tasks` processes and threads. `firmware` is what
    /sys/class/dmi/id says, by file.
    """

    id: str
    image: Path
    disk: Path
    uid_base: int
    hostname: str
    cpus: float
    memory: int
    swap_accounting: bool = True
    cores: tuple[int, ...] = ()
    lxcfs: Path | None = None
    volume: Path | None = None
    tasks: int = 1 << 22
    firmware: Mapping[str, str] = field(default_factory=dict)

    @property
    def pids(self) -> int:
        """A bound that stops a fork bomb well before it becomes the host's problem, or other servers'."""
        return min(int(8192 * max(1.0, self.cpus)), self.tasks // 2)


def oci_config(
    plan: ServerPlan,
    root: Path,
    cgroup: str,
    seccomp: dict[str, Any],
    firmware: Path | None = None,
    firmware_layer: Path | None = None,
    users: str | None = None,
) -> dict[str, Any]:
    """The content of the bundle's `config.json`; `cgroup` is the path below each hierarchy's root.
    `firmware` holds the plan's words as files. `firmware_layer` is where they are mounted if the kernel has no such
    directory (see dmi.py). `users` is the path of the server's user namespace; without it, the runtime makes one."""
    capabilities = list(CAPABILITIES)
    mapping = [{"containerID": 0, "hostID": plan.uid_base, "size": UIDS}]
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": list(INIT),
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8"],
            "cwd": "/",
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), capabilities),
            "noNewPrivileges": False,
        },
        "root": {"path": str(root)},
        "hostname": plan.hostname,
        "mounts": [*_mounts(plan), *_firmware_mounts(root, firmware, firmware_layer)],
        "linux": {
            **({} if rootless() else {"cgroupsPath": cgroup, "resources": _resources(plan)}),
            **({} if users else {"uidMappings": mapping, "gidMappings": mapping}),
            "namespaces": [
                *({"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount", "cgroup")),
                {"type": "user", **({"path": users} if users else {})},
            ],
            # A new network namespace has the host's value, which is 1 beside Docker.
            "sysctl": {"net.ipv4.ip_forward": "0"},
            "seccomp": seccomp,
            "maskedPaths": [
                *(f"/proc/{name}" for name in _MASKED_PROC),
                "/sys/devices/virtual/powercap",
                "/sys/firmware",
            ],
            # The directory that version 1's hierarchies are mounted in is a file system in memory without a bound.
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sysrq-trigger", "/sys/fs/cgroup"],
        },
    }


def with_limits() -> list[str]:
    """The beginning of a command that sets the limit of open files for processes in servers. The runtime cannot set it
    if root lacks CAP_SYS_RESOURCE (in some containers): the user namespace is not root's own."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    soft, hard = (min(limit, most) for limit in OPEN_FILES)
    return ["prlimit", f"--nofile={soft}:{hard}"]


def _mounts(plan: ServerPlan) -> list[dict[str, Any]]:
    def tmpfs(destination: str, size: int, *options: str) -> dict[str, Any]:
        """A file system in memory, with as many files as the kernel's default for this size, on a host with that much
        memory."""
        bounds = (f"size={size >> 10}k", f"nr_inodes={max(size // _PAGE, 1024)}")
        return _mount(destination, "tmpfs", "nosuid", *options, *bounds)

    terminals = ("newinstance", "ptmxmode=0666", "mode=0620", "gid=5", f"max={_TERMINALS}")
    mounts = [
        _mount("/proc", "proc", "nosuid", "noexec", "nodev"),
        # All of them together are less than the server's memory: what is full of them goes on.
        tmpfs("/dev", 4 * _MIB, "strictatime", "mode=755"),
        _mount("/dev/pts", "devpts", "nosuid", "noexec", *terminals),
        _mount("/dev/mqueue", "mqueue", "nosuid", "noexec", "nodev"),
        _mount("/sys", "sysfs", "nosuid", "noexec", "nodev", "ro"),
        _mount("/sys/fs/cgroup", "cgroup", "nosuid", "noexec", "nodev", "relatime", "ro"),
        tmpfs("/dev/shm", plan.memory // 2, "nodev", "mode=1777"),  # noqa: S108 - a mount point in the server
        tmpfs("/run", plan.memory // 5, "nodev", "mode=755"),
        # Apart from it: a full /run must not keep a server from being turned off.
        tmpfs("/run/skylift", 4 * _MIB, "nodev", "mode=755"),
    ]
    if plan.lxcfs is not None:
        mounts += [_bind(f"/{name}", plan.lxcfs / name) for name in LXCFS_FILES]
    return mounts


def _mount(destination: str, kind: str, *options: str, source: str = "") -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": source or kind, "options": list(options)}


def _bind(destination: str, source: Path) -> dict[str, Any]:
    return _mount(destination, "bind", "bind", "ro", "nosuid", "nodev", "noexec", source=str(source))


def _firmware_mounts(root: Path, firmware: Path | None, layer: Path | None) -> list[dict[str, Any]]:
    if firmware is None:
        return []
    overlays = []
    if layer is not None:
        for name, place in dmi.LAYERS.items():
            # The server's own sysfs is mounted at the root by then.
            layers = f"lowerdir={layer / name}:{root}/sys/{place}"
            overlays.append(_mount(f"/sys/{place}", "overlay", "ro", "nosuid", "nodev", "noexec", layers))
    return [*overlays, _bind(str(dmi.FIRMWARE), firmware)]


def _resources(plan: ServerPlan) -> dict[str, Any]:
    memory: dict[str, Any] = {"limit": plan.memory}
    if plan.swap_accounting:
        # Equal to the limit: a server has no swap, like EC2's types.
        memory["swap"] = plan.memory
    cpu: dict[str, Any] = {
        "quota": int(plan.cpus * 100_000),
        "period": 100_000,
        "shares": max(2, int(plan.cpus * 1024)),
    }
    if plan.cores:
        # What `nproc` counts; the quota holds it to as many.
        cpu["cpus"] = ",".join(map(str, plan.cores))
    return {"memory": memory, "cpu": cpu, "pids": {"limit": plan.pids}, "devices": [{"allow": False, "access": "rwm"}]}
