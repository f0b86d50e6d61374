"""The distribution's container seccomp profile, as the OCI runtime wants it.

The profile of containers-common (`seccomp.json`) is conditional on capabilities and architectures; this resolves the
conditions for one server. Mounting and joining namespaces is taken out on top, as Docker's own profile does for
containers without CAP_SYS_ADMIN: rootless podman needs these calls, a server does not.

    ProfileMissing   no profile on this machine; says which package carries it
"""

from __future__ import annotations

import json
import platform
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

PROFILES = (Path("/etc/containers/seccomp.json"), Path("/usr/share/containers/seccomp.json"))

NAMESPACE_CALLS = frozenset(
    "fsconfig fsmount fsopen fspick mount mount_setattr move_mount open_tree pivot_root setns umount umount2 "
    "unshare".split()
)

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
    architectures = [oci_architecture, *(sub for entry in mapped for sub in entry["subArchitectures"])]
    denied = NAMESPACE_CALLS if "CAP_SYS_ADMIN" not in capabilities else frozenset()
    rules = [
        _rule(entry, denied)
        for entry in profile["syscalls"]
        if _applies(entry, set(capabilities), architecture) and set(entry["names"]) - denied
    ]
    if denied:
        rules.append({"names": sorted(denied), "action": "SCMP_ACT_ERRNO", "errnoRet": 1})
    result: dict[str, Any] = {
        "defaultAction": profile["defaultAction"],
        "architectures": architectures,
        "syscalls": rules,
    }
    if "defaultErrnoRet" in profile:
        result["defaultErrnoRet"] = profile["defaultErrnoRet"]
    return result


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
    rule: dict[str, Any] = {
        "names": [name for name in entry["names"] if name not in denied],
        "action": entry["action"],
    }
    if entry.get("errnoRet") is not None:
        rule["errnoRet"] = entry["errnoRet"]
    if entry.get("args"):
        rule["args"] = entry["args"]
    return rule
