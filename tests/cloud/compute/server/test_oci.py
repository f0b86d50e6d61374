from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from skylift.cloud.compute.server.oci import ServerPlan, oci_config

PLAN = ServerPlan(
    id="i-1",
    image=Path("/images/a/root"),
    disk=Path("/disks/i-1"),
    uid_base=1_000_065_536,
    hostname="ip-10-0-1-5.ec2.internal",
    cpus=2,
    memory=1 << 30,
)


def test_root_in_a_server_is_nobody_on_the_host() -> None:
    config = oci_config(PLAN, Path("/run/x/root"), "/skylift-40/i-1", {})
    mapping = [{"containerID": 0, "hostID": 1_000_065_536, "size": 65536}]
    assert config["linux"]["uidMappings"] == config["linux"]["gidMappings"] == mapping
    kinds = {namespace["type"] for namespace in config["linux"]["namespaces"]}
    assert kinds == {"pid", "network", "ipc", "uts", "mount", "user", "cgroup"}
    capabilities = set(config["process"]["capabilities"]["bounding"])
    assert not capabilities & {"CAP_SYS_ADMIN", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_TIME", "CAP_BPF"}
    assert "CAP_SYS_BOOT" in capabilities


def test_a_user_namespace_that_is_there_brings_its_own_ids() -> None:
    linux = oci_config(PLAN, Path("/r"), "/g", {}, users="/proc/7/fd/5")["linux"]
    assert {"type": "user", "path": "/proc/7/fd/5"} in linux["namespaces"]
    assert "uidMappings" not in linux


def test_a_server_has_a_share_of_the_pseudo_terminals() -> None:
    (terminals,) = (each for each in oci_config(PLAN, Path("/r"), "/g", {})["mounts"] if each["type"] == "devpts")
    assert "max=256" in terminals["options"]


def test_the_type_bounds_the_server() -> None:
    resources = oci_config(PLAN, Path("/r"), "/g", {})["linux"]["resources"]
    assert resources["memory"] == {"limit": 1 << 30, "swap": 1 << 30}
    assert resources["cpu"]["quota"] == 2 * resources["cpu"]["period"]
    assert resources["pids"]["limit"] == 16384


def test_one_server_leaves_processes_for_others() -> None:
    plan = replace(PLAN, cpus=96, tasks=16_384)
    assert oci_config(plan, Path("/r"), "/g", {})["linux"]["resources"]["pids"]["limit"] == 8192


def test_file_systems_in_memory_leave_memory() -> None:
    for memory in (512 << 20, 1 << 40):
        mounts = oci_config(replace(PLAN, memory=memory), Path("/r"), "/g", {})["mounts"]
        sizes = [
            int(option.removeprefix("size=").removesuffix("k")) << 10
            for mount in mounts
            if mount["type"] == "tmpfs"
            for option in mount["options"]
            if option.startswith("size=")
        ]
        assert len(sizes) == sum(mount["type"] == "tmpfs" for mount in mounts) == 4
        assert sum(sizes) < memory * 3 // 4


def test_swap_is_not_limited_where_it_is_not_accounted() -> None:
    plan = ServerPlan(**{**PLAN.__dict__, "swap_accounting": False})
    assert oci_config(plan, Path("/r"), "/g", {})["linux"]["resources"]["memory"] == {"limit": 1 << 30}


def test_lxcfs_is_mounted_read_only_and_only_when_there() -> None:
    def mounts(lxcfs: Path | None) -> dict[str, list[str]]:
        plan = replace(PLAN, lxcfs=lxcfs)
        return {mount["source"]: mount["options"] for mount in oci_config(plan, Path("/r"), "/g", {})["mounts"]}

    assert not any("lxcfs" in source for source in mounts(None))
    assert "ro" in mounts(Path("/run/lxcfs"))["/run/lxcfs/proc/meminfo"]


def test_the_firmware_is_mounted_over_the_kernels_or_where_there_is_none_over_an_empty_place() -> None:
    def mounts(layer: Path | None) -> list[tuple[str, str]]:
        config = oci_config(PLAN, Path("/r"), "/g", {}, firmware=Path("/b/firmware"), firmware_layer=layer)
        added = [mount for mount in config["mounts"] if mount["source"] == "/b/firmware" or mount["type"] == "overlay"]
        assert all("ro" in mount["options"] for mount in added)
        return [(mount["destination"], mount["options"][-1]) for mount in added]

    words = ("/sys/devices/virtual/dmi/id", "noexec")
    assert mounts(None) == [words]
    assert mounts(Path("/l")) == [
        ("/sys/class", "lowerdir=/l/class:/r/sys/class"),
        ("/sys/devices/virtual", "lowerdir=/l/virtual:/r/sys/devices/virtual"),
        words,
    ]
    assert not [mount for mount in oci_config(PLAN, Path("/r"), "/g", {})["mounts"] if "dmi" in mount["destination"]]


def test_a_server_is_held_to_its_cores_where_it_has_fewer_than_the_host() -> None:
    cpu = oci_config(replace(PLAN, cpus=2, cores=(1, 3)), Path("/r"), "/g", {})["linux"]["resources"]["cpu"]
    assert (cpu["cpus"], cpu["quota"]) == ("1,3", 200_000)
    assert "cpus" not in oci_config(PLAN, Path("/r"), "/g", {})["linux"]["resources"]["cpu"]
