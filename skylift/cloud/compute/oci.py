"""The OCI configuration of one server: a pure function from its plan."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

CAPABILITIES = tuple(
    f"CAP_{name}"
    for name in (
        "AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID IPC_LOCK KILL MKNOD NET_ADMIN NET_BIND_SERVICE NET_RAW SETFCAP "
        "SETGID SETPCAP SETUID SYS_BOOT SYS_CHROOT SYS_NICE SYS_PTRACE"
    ).split()
)
"""All of them count only inside the server's own user namespace. Without SYS_ADMIN nothing can be mounted, without
SYS_MODULE and SYS_RAWIO the host's kernel is out of reach."""

UIDS = 65536
INIT = ("/usr/bin/tini", "--", "/usr/lib/skylift/init")
LXCFS_FILES = (
    *(f"proc/{name}" for name in ("cpuinfo", "diskstats", "loadavg", "meminfo", "stat", "swaps", "uptime")),
    "sys/devices/system/cpu",
)


@dataclass(frozen=True)
class ServerPlan:
    """One server whole, but for its network: that is attached between creation and start.

    `image` is the image's root directory, `disk` the directory of what is the server's own. Its writes are there too,
    unless `volume` names where a file system for them is mounted. `cpus` are how many cores it may use, `memory` bytes.
    `cores` are the host's that it runs on, all where none is named. `lxcfs` has the files that tell it its size.
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

    @property
    def pids(self) -> int:
        """A bound that stops a fork bomb well before it becomes the host's problem."""
        return int(8192 * max(1.0, self.cpus))


def oci_config(plan: ServerPlan, root: Path, cgroup: str, seccomp: dict[str, Any]) -> dict[str, Any]:
    """The content of the bundle's `config.json`; `cgroup` is the path below each hierarchy's root."""
    capabilities = list(CAPABILITIES)
    mapping = [{"containerID": 0, "hostID": plan.uid_base, "size": UIDS}]
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": list(INIT),
            "env": [
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "HOME=/root",
                "LANG=C.UTF-8",
            ],
            "cwd": "/",
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), capabilities),
            "noNewPrivileges": False,
        },
        "root": {"path": str(root)},
        "hostname": plan.hostname,
        "mounts": _mounts(plan.lxcfs),
        "linux": {
            "cgroupsPath": cgroup,
            "uidMappings": mapping,
            "gidMappings": mapping,
            "namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount", "user", "cgroup")],
            "resources": _resources(plan),
            "seccomp": seccomp,
            "maskedPaths": [
                "/proc/kcore",
                "/proc/keys",
                "/proc/timer_list",
                "/proc/sched_debug",
                "/sys/firmware",
            ],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sysrq-trigger"],
        },
    }


def _mounts(lxcfs: Path | None) -> list[dict[str, Any]]:
    def tmpfs(destination: str, *options: str) -> dict[str, Any]:
        return {
            "destination": destination,
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["nosuid", "nodev", *options],
        }

    mounts = [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
        {
            "destination": "/dev",
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
        },
        {
            "destination": "/dev/pts",
            "type": "devpts",
            "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        },
        {
            "destination": "/dev/mqueue",
            "type": "mqueue",
            "source": "mqueue",
            "options": ["nosuid", "noexec", "nodev"],
        },
        {
            "destination": "/sys",
            "type": "sysfs",
            "source": "sysfs",
            "options": ["nosuid", "noexec", "nodev", "ro"],
        },
        {
            "destination": "/sys/fs/cgroup",
            "type": "cgroup",
            "source": "cgroup",
            "options": ["nosuid", "noexec", "nodev", "relatime", "ro"],
        },
        tmpfs("/dev/shm", "mode=1777"),  # noqa: S108 - a mount point in the server, not a file of ours
        tmpfs("/run", "mode=755"),
    ]
    if lxcfs is not None:
        mounts += [
            {
                "destination": f"/{name}",
                "type": "bind",
                "source": str(lxcfs / name),
                "options": ["bind", "ro", "nosuid", "nodev", "noexec"],
            }
            for name in LXCFS_FILES
        ]
    return mounts


def _resources(plan: ServerPlan) -> dict[str, Any]:
    memory: dict[str, Any] = {"limit": plan.memory}
    if plan.swap_accounting:
        # Equal to the limit: a server has no swap, as EC2's types have none.
        memory["swap"] = plan.memory
    cpu: dict[str, Any] = {
        "quota": int(plan.cpus * 100_000),
        "period": 100_000,
        "shares": max(2, int(plan.cpus * 1024)),
    }
    if plan.cores:
        # What `nproc` counts; the quota holds it to as many.
        cpu["cpus"] = ",".join(map(str, plan.cores))
    return {
        "memory": memory,
        "cpu": cpu,
        "pids": {"limit": plan.pids},
        "devices": [{"allow": False, "access": "rwm"}],
    }
