"""The distribution's container seccomp profile, as the OCI runtime wants it.

The profile of containers-common (`seccomp.json`) is conditional on capabilities and architectures; this resolves the
conditions for one server. It is made for rootless podman, which needs more than a server does, so what Docker's own
profile refuses to containers without CAP_SYS_ADMIN is refused as well: mounts, namespaces (also by `clone`) and keys.
Only the socket families of a server's network are allowed. All x32 calls are refused: see docs/security.md.

    ProfileMissing   no profile on this machine; says which package carries it
"""

from __future__ import annotations

import errno
import json
import platform
import socket
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

PROFILES = (Path("/etc/containers/seccomp.json"), Path("/usr/share/containers/seccomp.json"))

NAMESPACE_CALLS = frozenset(
    "fsconfig fsmount fsopen fspick mount mount_setattr move_mount open_tree pivot_root setns umount umount2 "
    "unshare".split()
)
KERNEL_CALLS = frozenset(
    "add_key bpf fanotify_init io_uring_enter io_uring_register io_uring_setup keyctl lookup_dcookie "
    "lsm_get_self_attr lsm_list_modules lsm_set_self_attr open_by_handle_at perf_event_open quotactl quotactl_fd "
    "request_key syslog userfaultfd".split()
)
"""Calls that the distribution's profile may allow, depending on its version, and that Docker's refuses."""

ABSENT_CALLS = frozenset({"io_setup"})
"""Calls that are answered as by a kernel without them. The kernel has one limit of asynchronous I/O contexts for all
(`fs.aio-max-nr`); databases do without when there are none."""

CLONE_NAMESPACES = tuple(1 << bit for bit in (17, *range(25, 31)))
"""CLONE_NEWNS, then NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET, in the first argument of clone(2)."""

FAMILIES = tuple(
    int(family) for family in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK, socket.AF_PACKET)
)
"""The allowed socket families. For another family, the kernel would load its module; sockets of AF_VSOCK reach the
program that runs the host.
"""

UNUSED = "SCMP_ARCH_X32"
"""x86-64 with short pointers. Debian's kernels have it switched off, and its copy of all rules takes nearly half of
the time in which the filter is compiled."""

_ARCHITECTURES = {"x86_64": ("amd64", "SCMP_ARCH_X86_64"), "aarch64": ("arm64", "SCMP_ARCH_AARCH64")}


class ProfileMissing(Exception):
    """There is no seccomp profile; servers are not started without one."""


def read_profile() -> dict[str, Any]:
    for path in PROFILES:
        if path.exists():
            profile: dict[str, Any] = json.loads(path.read_text())
            return profile
    raise ProfileMissing(
        f"no seccomp profile at {' or '.join(map(str, PROFILES))}: install the package that carries it "
        "(golang-github-containers-common on Debian and Ubuntu)"
    )


def oci_seccomp(profile: Mapping[str, Any], capabilities: Collection[str], machine: str = "") -> dict[str, Any]:
    """The `linux.seccomp` object of an OCI configuration for a server with these capabilities."""
    architecture, oci_architecture = _ARCHITECTURES[machine or platform.machine()]
    mapped: list[Mapping[str, Any]] = [
        entry for entry in profile["archMap"] if entry["architecture"] == oci_architecture
    ]
    known = [oci_architecture, *(sub for entry in mapped for sub in entry["subArchitectures"])]
    architectures = [each for each in known if each != UNUSED]
    privileged = "CAP_SYS_ADMIN" in capabilities
    own = {"clone", "clone3", "socket", "socketcall", "socketpair"}
    replaced = frozenset() if privileged else _DENIED | ABSENT_CALLS | own
    rules = [
        _rule(entry, replaced)
        for entry in profile["syscalls"]
        if _applies(entry, set(capabilities), architecture) and set(entry["names"]) - replaced
    ]
    if not privileged:
        rules += [_refusal(_DENIED, errno.EPERM), _refusal(ABSENT_CALLS, errno.ENOSYS)]
        rules += [*_threads_only(), *_own_families()]
    result: dict[str, Any] = {
        "defaultAction": profile["defaultAction"],
        "architectures": architectures,
        "syscalls": rules,
    }
    if "defaultErrnoRet" in profile:
        result["defaultErrnoRet"] = profile["defaultErrnoRet"]
    return result


_DENIED = NAMESPACE_CALLS | KERNEL_CALLS


def _threads_only() -> list[dict[str, Any]]:
    """clone without any namespace's flag. A filter cannot look into what clone3 points to: without it, C libraries make
    do with clone."""
    flags = [_argument("SCMP_CMP_MASKED_EQ", flag, flag) for flag in CLONE_NAMESPACES]
    return [
        _allowance(("clone",), _argument("SCMP_CMP_MASKED_EQ", sum(CLONE_NAMESPACES), 0)),
        *(_refusal(("clone",), errno.EPERM, flag) for flag in flags),
        _refusal(("clone3",), errno.ENOSYS),
    ]


def _own_families() -> list[dict[str, Any]]:
    """Of any other family a socket is refused as by a kernel that has none. No filter can look into what socketcall
    points to, which 32-bit programs use on x86."""
    calls = ("socket", "socketpair")
    others = [number for number in range(max(FAMILIES)) if number not in FAMILIES]
    refused = [_argument("SCMP_CMP_EQ", number) for number in others]
    refused.append(_argument("SCMP_CMP_GT", max(FAMILIES)))
    return [
        # First: the library allows socketcall for each allowed socket's sake, unless it is refused already. With an
        # error that no profile has as its default: runtimes leave a rule out that says the same as the default.
        _refusal(("socketcall",), errno.EACCES),
        *(_allowance(calls, _argument("SCMP_CMP_EQ", family)) for family in FAMILIES),
        *(_refusal(calls, errno.EAFNOSUPPORT, each) for each in refused),
    ]


def _argument(operator: str, value: int, second: int = 0) -> dict[str, Any]:
    """A condition on a call's first argument."""
    return {"index": 0, "value": value, "valueTwo": second, "op": operator}


def _allowance(names: Collection[str], argument: dict[str, Any]) -> dict[str, Any]:
    return {"names": sorted(names), "action": "SCMP_ACT_ALLOW", "args": [argument]}


def _refusal(names: Collection[str], code: int, argument: dict[str, Any] | None = None) -> dict[str, Any]:
    rule: dict[str, Any] = {"names": sorted(names), "action": "SCMP_ACT_ERRNO", "errnoRet": code}
    return rule if argument is None else {**rule, "args": [argument]}


def _applies(entry: Mapping[str, Any], capabilities: set[str], architecture: str) -> bool:
    includes, excludes = entry.get("includes") or {}, entry.get("excludes") or {}
    if "minKernel" in includes or "minKernel" in excludes:
        # Only decades-old kernels differ here, and what 5.19 and later have is what these entries ask for.
        return "minKernel" in includes
    return (
        set(includes.get("caps") or ()) <= capabilities
        and (not includes.get("arches") or architecture in includes["arches"])
        and not set(excludes.get("caps") or ()) & capabilities
        and architecture not in (excludes.get("arches") or ())
    )


def _rule(entry: Mapping[str, Any], denied: frozenset[str]) -> dict[str, Any]:
    rule: dict[str, Any] = {"names": [name for name in entry["names"] if name not in denied], "action": entry["action"]}
    if entry.get("errnoRet") is not None:
        rule["errnoRet"] = entry["errnoRet"]
    if entry.get("args"):
        rule["args"] = entry["args"]
    return rule
