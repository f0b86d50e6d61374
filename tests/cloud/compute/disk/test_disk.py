"""File systems of volumes, without a server."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from support.deep_tree import deepen

from skylift.cloud.compute.disk import disk
from skylift.cloud.compute.disk.disk import GIB, DiskInUse, DiskRefused, Disks, run
from skylift.cloud.compute.image.stored import STORED

pytestmark = pytest.mark.real


@pytest.fixture(name="disks")
def disks_fixture(tmp_path: Path) -> Disks:
    for name in ("volumes", "snapshots"):
        (tmp_path / name).mkdir()
    return Disks(tmp_path / "volumes", tmp_path / "snapshots", tmp_path / "mounts")


def test_a_volume_grows_with_its_file_system(disks: Disks) -> None:
    disks.make("vol-1", 1)
    assert disks.grow("vol-1", 2)
    file = disks.volume("vol-1")
    assert file.stat().st_size == 2 * GIB
    checked = subprocess.run(["e2fsck", "-f", "-n", file], capture_output=True, text=True, check=True)
    assert f"/{2 * GIB // 4096} blocks" in checked.stdout
    assert [entry.name for entry in file.parent.iterdir()] == [file.name]


def test_a_root_disk_begins_empty_whatever_the_one_before_has(disks: Disks) -> None:
    for volume in ("vol-1", "vol-2"):
        disks.make(volume, 8)
        try:
            place = disks.mount(volume)
            assert {entry.name for entry in place.iterdir()} == {"lost+found"}
            (place / "secret").write_text(volume)
        finally:
            disks.unmount(volume)
        subprocess.run(["e2fsck", "-f", "-n", disks.volume(volume)], capture_output=True, check=True)
    assert disks.present() == ({"vol-1", "vol-2"}, set())


def test_a_growth_that_is_cut_off_leaves_the_volume_as_it_was(disks: Disks, monkeypatch: pytest.MonkeyPatch) -> None:
    disks.make("vol-1", 1)
    file = disks.volume("vol-1")
    before = file.stat()

    def cut_off(program: str, *arguments: str, accepted: tuple[int, ...] = (0,)) -> None:
        if program == "resize2fs":
            os.truncate(arguments[0], 0)
            raise DiskRefused("the power went off")

    monkeypatch.setattr(disk, "run", cut_off)
    with pytest.raises(DiskRefused):
        disks.grow("vol-1", 2)
    after = file.stat()
    assert (after.st_ino, after.st_size, after.st_mtime_ns) == (before.st_ino, before.st_size, before.st_mtime_ns)


def test_a_start_removes_mount_points_that_a_kill_left_empty(disks: Disks) -> None:
    left = disks.place("vol-1")
    left.mkdir(parents=True)
    disks.sweep()
    assert not left.exists()


def test_a_file_system_that_is_left_a_moment_later_is_unmounted(disks: Disks, monkeypatch: pytest.MonkeyPatch) -> None:
    disks.make("vol-1", 1)
    used = os.open(disks.mount("vol-1"), os.O_RDONLY)
    tries: list[str] = []

    def leaves_at_the_second_try(program: str, *arguments: str, accepted: tuple[int, ...] = (0,)) -> None:
        tries.append(program)
        if len(tries) == 2:
            os.close(used)
        run(program, *arguments, accepted=accepted)

    monkeypatch.setattr(disk, "run", leaves_at_the_second_try)
    monkeypatch.setattr(disk, "_PATIENCE", 60)
    disks.unmount("vol-1")
    assert tries == ["umount", "umount"]
    assert disks.mounted() == set()


def test_one_that_stays_in_use_is_not(disks: Disks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "_PATIENCE", 0)
    disks.make("vol-1", 1)
    used = os.open(disks.mount("vol-1"), os.O_RDONLY)
    try:
        with pytest.raises(DiskInUse):
            disks.unmount("vol-1")
        assert disks.mounted() == {"vol-1"}
    finally:
        os.close(used)
        disks.unmount("vol-1")


def test_folders_in_folders_become_a_volume(disks: Disks, tmp_path: Path) -> None:
    """mkfs of e2fsprogs 1.47 corrupts its own memory where it is to copy these itself."""
    tree = tmp_path / "root"
    deepen(tree, 1_900)
    subprocess.run(["chown", "-R", f"{STORED}:{STORED}", tree], check=True)
    disks.make_of_tree("vol-1", 1, tree)
    place = disks.mount("vol-1")
    assert (place / ("d/" * 1_900) / "end").stat().st_uid == 0
    disks.unmount("vol-1")
    subprocess.run(["e2fsck", "-f", "-n", disks.volume("vol-1")], check=True, capture_output=True)
    subprocess.run(["rm", "-rf", tree], check=True)


def test_a_tree_that_is_larger_than_its_volume_is_an_error(disks: Disks, tmp_path: Path) -> None:
    tree = tmp_path / "root"
    tree.mkdir()
    with (tree / "large").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, 2 * GIB)
    with pytest.raises(DiskRefused, match="No space left"):
        disks.make_of_tree("vol-1", 1, tree)
    assert list(disks.volume("vol-1").parent.iterdir()) == []
