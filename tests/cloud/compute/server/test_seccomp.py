from __future__ import annotations

import errno
import socket
from typing import Any

from skylift.cloud.compute.server.seccomp import KERNEL_CALLS, NAMESPACE_CALLS, oci_seccomp

PROFILE: dict[str, Any] = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "defaultErrnoRet": 38,
    "archMap": [
        {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]},
        {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
    ],
    "syscalls": [
        {"names": ["read", "mount", "setns"], "action": "SCMP_ACT_ALLOW", "args": [], "includes": {}, "excludes": {}},
        {"names": ["arch_prctl"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["amd64"]}},
        {"names": ["arm_fadvise64_64"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["arm64"]}},
        {"names": ["init_module"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_MODULE"]}},
        {"names": ["init_module"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "excludes": {"caps": ["CAP_SYS_MODULE"]}},
        {"names": ["reboot"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_BOOT"]}},
        {"names": ["umount2"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["clone", "clone3", "socket", "socketcall", "keyctl", "syslog"], "action": "SCMP_ACT_ALLOW"},
    ],
}


BY_ARGUMENT = {"clone", "socket", "socketpair"}
"""What is allowed with some arguments only."""


def answer(resolved: dict[str, Any], call: str, argument: int) -> str | int:
    """What a filter with these rules answers to a call with this first argument; exactly one of them may say it."""
    compare = {
        "SCMP_CMP_EQ": lambda value, second: argument == value,
        "SCMP_CMP_GT": lambda value, second: argument > value,
        "SCMP_CMP_MASKED_EQ": lambda value, second: argument & value == second,
    }
    answers = {
        rule.get("errnoRet", rule["action"])
        for rule in resolved["syscalls"]
        if call in rule["names"]
        and all(compare[each["op"]](each["value"], each["valueTwo"]) for each in rule.get("args", ()))
    }
    assert len(answers) == 1
    found: str | int = answers.pop()
    return found


def allowed(resolved: dict[str, Any]) -> set[str]:
    return {name for rule in resolved["syscalls"] if rule["action"] == "SCMP_ACT_ALLOW" for name in rule["names"]}


def refused(resolved: dict[str, Any]) -> set[str]:
    return {name for rule in resolved["syscalls"] if rule["action"] == "SCMP_ACT_ERRNO" for name in rule["names"]}


def test_conditions_are_resolved_for_capabilities_and_machine() -> None:
    resolved = oci_seccomp(PROFILE, ["CAP_SYS_BOOT"], "x86_64")
    assert allowed(resolved) == {"read", "arch_prctl", "reboot", *BY_ARGUMENT}
    assert "init_module" in refused(resolved)
    assert resolved["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]
    assert resolved["defaultErrnoRet"] == 38
    assert allowed(oci_seccomp(PROFILE, [], "aarch64")) == {"read", "arm_fadvise64_64", *BY_ARGUMENT}


def test_nothing_mounts_or_joins_namespaces_without_sys_admin() -> None:
    resolved = oci_seccomp(PROFILE, ["CAP_SYS_BOOT"], "x86_64")
    assert refused(resolved) >= NAMESPACE_CALLS
    assert not allowed(resolved) & NAMESPACE_CALLS
    assert {"mount", "umount2"} <= allowed(oci_seccomp(PROFILE, ["CAP_SYS_ADMIN"], "x86_64"))


def test_clone_makes_threads_and_processes_and_no_namespaces() -> None:
    resolved = oci_seccomp(PROFILE, ["CAP_SYS_BOOT"], "x86_64")
    threads, processes = 0x3D0F00, 0x1200011
    assert {answer(resolved, "clone", flags) for flags in (threads, processes)} == {"SCMP_ACT_ALLOW"}
    namespaces = [0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000, 0x7E020000]
    assert {answer(resolved, "clone", flags | 17) for flags in namespaces} == {errno.EPERM}
    assert answer(resolved, "clone3", 0) == errno.ENOSYS


def test_sockets_are_of_known_families() -> None:
    resolved = oci_seccomp(PROFILE, ["CAP_SYS_BOOT"], "x86_64")
    for call in ("socket", "socketpair"):
        known = {family for family in range(64) if answer(resolved, call, family) == "SCMP_ACT_ALLOW"}
        assert known == {socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK, socket.AF_PACKET}
        assert answer(resolved, call, socket.AF_VSOCK) == answer(resolved, call, 1 << 31) == errno.EAFNOSUPPORT
    assert answer(resolved, "socketcall", 1) == errno.EACCES


def test_keys_and_the_hosts_log_are_closed_whatever_the_profile_says() -> None:
    resolved = oci_seccomp(PROFILE, ["CAP_SYS_BOOT"], "x86_64")
    assert {"keyctl", "syslog"} <= KERNEL_CALLS <= refused(resolved)
    assert not allowed(resolved) & KERNEL_CALLS


def test_asynchronous_io_is_answered_as_by_a_kernel_without_it() -> None:
    profile = {**PROFILE, "syscalls": [*PROFILE["syscalls"], {"names": ["io_setup"], "action": "SCMP_ACT_ALLOW"}]}
    resolved = oci_seccomp(profile, {"CAP_SYS_BOOT"}, "x86_64")
    assert answer(resolved, "io_setup", 1024) == errno.ENOSYS
