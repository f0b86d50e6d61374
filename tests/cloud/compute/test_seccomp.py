from __future__ import annotations

from typing import Any

from skylift.cloud.compute.seccomp import NAMESPACE_CALLS, oci_seccomp

PROFILE: dict[str, Any] = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "defaultErrnoRet": 38,
    "archMap": [
        {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
        {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
    ],
    "syscalls": [
        {"names": ["read", "mount", "setns"], "action": "SCMP_ACT_ALLOW", "args": [], "includes": {}, "excludes": {}},
        {"names": ["arch_prctl"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["amd64"]}},
        {"names": ["arm_fadvise64_64"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["arm64"]}},
        {"names": ["init_module"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_MODULE"]}},
        {
            "names": ["init_module"],
            "action": "SCMP_ACT_ERRNO",
            "errnoRet": 1,
            "excludes": {"caps": ["CAP_SYS_MODULE"]},
        },
        {"names": ["reboot"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_BOOT"]}},
        {"names": ["umount2"], "action": "SCMP_ACT_ALLOW"},
    ],
}


def allowed(resolved: dict[str, Any]) -> set[str]:
    return {name for rule in resolved["syscalls"] if rule["action"] == "SCMP_ACT_ALLOW" for name in rule["names"]}


def refused(resolved: dict[str, Any]) -> set[str]:
    return {name for rule in resolved["syscalls"] if rule["action"] == "SCMP_ACT_ERRNO" for name in rule["names"]}


def test_conditions_are_resolved_for_capabilities_and_machine() -> None:
    resolved = oci_seccomp(PROFILE, ["CAP_SYS_BOOT"], "x86_64")
    assert allowed(resolved) == {"read", "arch_prctl", "reboot"}
    assert "init_module" in refused(resolved)
    assert resolved["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]
    assert resolved["defaultErrnoRet"] == 38
    assert allowed(oci_seccomp(PROFILE, [], "aarch64")) == {"read", "arm_fadvise64_64"}


def test_nothing_mounts_or_joins_namespaces_without_sys_admin() -> None:
    resolved = oci_seccomp(PROFILE, ["CAP_SYS_BOOT"], "x86_64")
    assert refused(resolved) >= NAMESPACE_CALLS
    assert not allowed(resolved) & NAMESPACE_CALLS
    assert {"mount", "umount2"} <= allowed(oci_seccomp(PROFILE, ["CAP_SYS_ADMIN"], "x86_64"))
