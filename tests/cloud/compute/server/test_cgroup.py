"""The groups of servers in directories that stand for either version of the kernel's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from skylift.cloud.compute.server import cgroup


@pytest.fixture
def mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cgroup, "MOUNT", tmp_path)
    return tmp_path


def bound(place: Path) -> Path:
    """The file that the kernel puts there."""
    place.mkdir(parents=True)
    file = place / "pids.max"
    file.write_text("max\n")
    return file


def test_all_clouds_of_the_machine_have_one_bound_in_version_2(mount: Path) -> None:
    (mount / "cgroup.controllers").write_text("cpu memory pids\n")
    file = bound(mount / "skylift")
    for number in ("40", "41"):
        cgroup.make(f"skylift/{number}", 1000)
    assert file.read_text() == "1000"
    assert (mount / "cgroup.subtree_control").read_text() == "+pids"
    cgroup.remove("skylift/40")
    assert (mount / "skylift/41").is_dir() and not (mount / "skylift/40").exists()


def test_and_in_version_1(mount: Path) -> None:
    file = bound(mount / "pids/skylift")
    (mount / "memory").mkdir()
    cgroup.make("skylift/40", 1000)
    assert file.read_text() == "1000"
    cgroup.remove("skylift/40")
    # With the last cloud's the parent goes, too.
    assert (mount / "memory").is_dir() and not (mount / "memory/skylift").exists()


def test_servers_weigh_as_much_as_the_processors_of_their_host_in_version_1(mount: Path) -> None:
    for group in ("skylift", "skylift/40"):
        (mount / "cpu" / group).mkdir(parents=True)
        (mount / "cpu" / group / "cpu.shares").write_text("1024\n")
    cgroup.make("skylift/40", 1000)
    for group in ("skylift", "skylift/40"):
        assert (mount / "cpu" / group / "cpu.shares").read_text() == str(1024 * (os.cpu_count() or 0))


def test_a_container_counts_by_its_own_bound(mount: Path) -> None:
    host = cgroup.tasks()
    assert host <= int(Path("/proc/sys/kernel/pid_max").read_text()) // 2
    (mount / "pids.max").write_text("max\n")
    assert cgroup.tasks() == host
    (mount / "pids.max").write_text("600\n")
    assert cgroup.tasks() == 300
