"""What doctor finds on this machine, and on machines that lack something."""

from __future__ import annotations

import grp
import os
import socket
import subprocess
from pathlib import Path

import pytest
from support.ports import quiet_port

from skylift.cloud.compute import capability, probe
from skylift.cloud.compute.capability import LOCALHOST, Capability, assess, port_free
from skylift.cloud.compute.network.loopback_range import LoopbackRanges
from skylift.cloud.compute.packages import PARTS, Package
from skylift.cloud.state.data import Endpoint
from skylift.cloud.state.home import Home
from skylift.cloud.state.person import Person, person_of
from skylift.place.start import tell_of_no_way_out


def found(home: Home, port: int | None = None) -> dict[str, Capability]:
    return {each.name: each for each in assess(home, port)}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("SKYLIFT_DATA", str(tmp_path / "data"))
    return Home(tmp_path / "home")


def test_every_part_and_every_capability_is_listed_with_a_fix_where_it_fails(home: Home) -> None:
    listed = found(home)
    assert {part.name for part in PARTS} <= set(listed)
    assert {"user namespaces", "idmapped overlay", "nftables with conntrack", "cgroups", "disk space"} <= set(listed)
    assert listed["free port"].ok
    assert all(each.found for each in listed.values())
    assert all(each.fix for each in listed.values() if each.ok is False)
    assert not home.path.exists()


def test_an_image_that_is_not_built_is_missing(home: Home) -> None:
    image = found(home)["image, with tini"]
    assert (image.ok, image.fix) == (False, "skylift setup")


def test_without_user_namespaces_the_overlay_gets_no_advice_of_its_own(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its trial would fail whatever the file system is."""
    limit = tmp_path / "max_user_namespaces"
    limit.write_text("0\n")
    monkeypatch.setattr(capability, "USER_NAMESPACES", limit)
    listed = found(home)
    assert listed["user namespaces"].fix == "sysctl user.max_user_namespaces=15000"
    for name in ("idmapped overlay", "way to the internet"):
        assert (listed[name].ok, listed[name].fix) == (False, "switch user namespaces on first")
        assert listed[name].found == "not tried: it takes user namespaces"


def test_images_of_servers_are_counted_with_what_is_only_theirs(home: Home) -> None:
    assert "images of servers" not in found(home)
    below, captures = home.data.path / "below", home.data.captures
    below.mkdir(parents=True)
    (below / "libc").write_bytes(bytes(4 << 20))
    for name in ("ami-1", "ami-2", ".half-done"):
        (captures / name / "root").mkdir(parents=True)
        os.link(below / "libc", captures / name / "root/libc")
        (captures / name / "root/numpy").write_bytes(os.urandom(3 << 20))
    images = found(home)["images of servers"]
    assert (images.ok, images.found.partition(";")[0]) == (True, "2, 6 MiB")


def test_a_missing_program_names_its_package(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capability, "PARTS", (Package("x", "the-package", programs=("no-such-program",)),))
    missing = found(home)["x"]
    assert missing.ok is False
    assert "no-such-program" in missing.found
    assert "the-package" in missing.fix


def test_a_taken_port_is_found(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    port = quiet_port()
    with socket.create_server((LOCALHOST, port)):
        assert not port_free(port)
        assert found(home, port)["free port"].ok is False
        # Where none is asked for, another one is taken.
        monkeypatch.setattr(capability, "DEFAULT_PORT", port)
        assert found(home)["free port"].ok is True
    assert port_free(port)


def test_a_full_disk_is_found(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1 << 20})())
    space = found(home)["disk space"]
    assert space.ok is False
    assert "SKYLIFT_DATA" in space.fix


def test_a_data_directory_that_others_can_change_is_found(home: Home, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data").chmod(0o777)
    data = found(home)["data directory"]
    assert data.ok is False
    assert "SKYLIFT_DATA" in data.fix


def test_ranges_of_clouds_whose_directory_is_gone_are_listed_with_the_way_to_give_them_back(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranges = LoopbackRanges(lambda _: False, tmp_path / "claims")
    monkeypatch.setattr(capability, "loopback_ranges", lambda: ranges)
    (tmp_path / "there").mkdir()
    ranges.take(tmp_path / "there")
    assert "lost cloud" not in found(home)
    gone = ranges.take(tmp_path / "un mounted" / "home")
    lost = found(home)["lost cloud"]
    assert lost.ok
    assert lost.found.startswith(f"{gone.addresses} is held for {gone.home}, which is gone")
    assert f"`SKYLIFT_HOME='{gone.home}' skylift cloud down`" in lost.found


def test_a_cloud_that_the_kernel_knows_is_in_use_wherever_its_directory_is(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was moved, or is behind a mount that others do not see: a command would take its servers down."""
    in_kernel: set[int] = set()
    ranges = LoopbackRanges(in_kernel.__contains__, tmp_path / "claims")
    monkeypatch.setattr(capability, "loopback_ranges", lambda: ranges)
    hidden = ranges.take(tmp_path / "hidden")
    in_kernel.add(hidden.number)
    listed = found(home)
    assert "lost cloud" not in listed
    assert listed["other cloud"].ok
    assert listed["other cloud"].found.startswith(f"{hidden.addresses} is in use by the cloud of {hidden.home}")
    assert "cloud down" not in listed["other cloud"].found


@pytest.mark.real
def test_trials_leave_nothing_behind(home: Home, tmp_path: Path) -> None:
    listed = found(home)
    for name in ("user namespaces", "idmapped overlay", "nftables with conntrack", "network namespaces, veth"):
        assert listed[name].ok is True, listed[name]
    # By their names: other clouds come and go on this machine meanwhile.
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
    assert "trial" not in Path("/proc/net/dev").read_text()
    assert "trial" not in subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.real
def test_a_file_system_without_idmapped_mounts_is_found_by_trying(tmp_path: Path) -> None:
    place = tmp_path / "read-only"
    place.mkdir()
    subprocess.run(["mount", "-t", "ramfs", "ramfs", str(place)], check=True)
    try:
        said = probe.overlay(place)
    finally:
        subprocess.run(["umount", str(place)], check=True)
    assert "mount" in said


@pytest.mark.parametrize(
    ("said", "number"),
    [
        ('"6.0.4"', "6.0.4"),
        ("runc version 1.1.15+ds1\ncommit: 1.1.15", "1.1.15+ds1"),
        ("OpenSSH_10.0p2, OpenSSL 3.5.9", "10.0p2"),
        ("it is '2.41'.", "2.41"),
    ],
)
def test_a_version_is_its_number(tmp_path: Path, said: str, number: str) -> None:
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{said}\nEND\n")
    program.chmod(0o755)
    assert capability._version(str(program)) == number


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> Person:
    """A user who is not root, and who is in no group of those that may use sudo."""
    person = person_of(65534)
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    monkeypatch.setattr(os, "getgroups", lambda: [65534])
    monkeypatch.setattr(capability, "calling_user", lambda: person)
    return person


TRIED = ("user namespaces", "idmapped overlay", "nftables with conntrack", "network namespaces, veth")


def test_a_user_without_sudo_is_told_what_to_do(
    home: Home, nobody: Person, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(capability, "PARTS", ())
    listed = found(home)
    assert listed["root"].ok is False
    assert f"SKYLIFT_HOME={home.path} skylift setup" in listed["root"].fix
    assert "--on aws" in listed["root"].fix
    assert [listed[name].ok for name in TRIED] == [None] * 4
    (tmp_path / "sudo").write_text("")
    (tmp_path / "sudo").chmod(0o755)
    assert found(home)["root"].ok is None
    monkeypatch.setattr(os, "getgroups", lambda: [grp.getgrnam("sudo").gr_gid])
    assert found(home)["root"].found == f"by sudo: {nobody.name} is in the group sudo"


def test_what_a_cloud_that_is_up_has_is_known(home: Home, nobody: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Home, "running_pid", lambda self: os.getpid())
    monkeypatch.setattr(capability, "PARTS", ())
    assert None not in {each.ok for each in found(home).values()}


def test_a_user_hears_from_the_cloud_that_servers_have_no_way_out(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """doctor takes no root for that, and whoever starts the cloud or repeats `setup` is told."""
    # The directory of the cloud's data has the user's number in it.
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    said = "pasta: Couldn't open user namespace: Permission denied"
    home.data.path.mkdir(parents=True)
    home.data.write_endpoint(Endpoint("http://127.0.0.1:1", "us-east-1", "1", 1, "0", "127.64.0.1", no_way_out=said))
    tell_of_no_way_out(home)
    assert capsys.readouterr().err == f"Servers have no way to the internet: {said}\n"
    monkeypatch.setattr(capability, "_is_up", lambda home: True)
    way = capability._way_out(home)
    assert (way.ok, way.found) == (False, said)


def test_a_cloud_with_a_way_out_says_nothing_of_it(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    home.data.path.mkdir(parents=True)
    home.data.write_endpoint(Endpoint("http://127.0.0.1:1", "us-east-1", "1", 1, "0", "127.64.0.1"))
    tell_of_no_way_out(home)
    assert capsys.readouterr().err == ""
