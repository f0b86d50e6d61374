"""Root directories of images that are made of servers' disks, with no server around them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.deep_tree import deepen

from skylift.cloud.compute.disk.removal import is_aside
from skylift.cloud.compute.image.image_from_disk import CaptureFailed, Captures, Overlay
from skylift.cloud.compute.image.stored import STORED

pytestmark = pytest.mark.real
_BASE = 1_300_000_000


class Disk:
    """An image's root, and what a server has written over it, as overlayfs has both."""

    def __init__(self, folder: Path) -> None:
        self.lower, self.disk, self.outside = folder / "lower", folder / "disk", folder / "outside"
        self.upper = self.disk / "upper"
        for each in (self.lower, self.upper, self.outside, folder / "captures"):
            each.mkdir(parents=True)
        os.chown(self.upper, _BASE, _BASE)
        os.chown(self.lower, STORED, STORED)
        (self.outside / "kept").write_text("ours")
        self._captures = Captures(folder / "captures", folder / "scratch")

    def below(self, name: str, text: str = "image") -> Path:
        return _file(self.lower / name, text, STORED)

    def above(self, name: str, text: str = "server") -> Path:
        return _file(self.upper / name, text, _BASE)

    def remove(self, name: str) -> None:
        (self.upper / name).parent.mkdir(parents=True, exist_ok=True)
        os.mknod(self.upper / name, 0o20000, 0)

    def take(self, *, runs: bool = False) -> Path:
        return self._captures.take(
            "ami-1", lower=self.lower, disk=self.disk, uid_base=_BASE, held=self._held if runs else None
        )

    def pack(self, file: Path) -> None:
        self._captures.pack(file, 1, lower=self.lower, disk=self.disk, uid_base=_BASE)

    @contextmanager
    def _held(self) -> Iterator[None]:
        yield
        # The server goes on: what it writes from here on is not in the image.
        self.above("later")


def _file(path: Path, text: str, owner: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    for each in (path.parent, path):
        os.chown(each, owner, owner)
    return path


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


@pytest.mark.parametrize("runs", [False, True])
def test_what_the_server_left_alone_is_on_the_disk_once(disk: Disk, runs: bool) -> None:
    same, changed = disk.below("usr/same"), disk.below("usr/changed")
    disk.below("usr/gone")
    disk.above("usr/changed", "other")
    suid = disk.above("usr/new")
    suid.chmod(0o4755)
    disk.remove("usr/gone")
    root = disk.take(runs=runs)
    assert (root / "usr/same").stat().st_ino == same.stat().st_ino
    assert (root / "usr/changed").read_text() == "other"
    assert changed.read_text() == "image"
    assert sorted(os.listdir(root / "usr")) == ["changed", "new", "same"]
    assert ((root / "usr/new").stat().st_uid, (root / "usr/new").stat().st_mode & 0o7777) == (STORED, 0o4755)
    assert not (root / "later").exists()
    assert os.listdir(root.parent) == ["root"]
    # It is the server's own disk that was read, and it is as it was.
    assert suid.stat().st_uid == _BASE


def test_a_directory_that_was_made_anew_has_nothing_of_the_old_one(disk: Disk) -> None:
    disk.below("etc/old")
    disk.above("etc/new")
    os.setxattr(disk.upper / "etc", "trusted.overlay.opaque", b"y")
    root = disk.take()
    assert os.listdir(root / "etc") == ["new"]
    assert os.listxattr(root / "etc") == []


def test_a_directory_and_a_file_may_have_changed_places(disk: Disk) -> None:
    disk.below("was-folder/file")
    disk.below("was-file")
    disk.above("was-folder")
    disk.above("was-file/file")
    root = disk.take()
    assert (root / "was-folder").read_text() == (root / "was-file/file").read_text() == "server"


def test_no_link_leads_out_of_the_image(disk: Disk) -> None:
    """A directory where the image has a link, and a link where it has a directory."""
    os.symlink(disk.outside, disk.lower / "link")
    disk.above("link/kept", "theirs")
    disk.remove("link/other")
    disk.below("folder/kept")
    os.symlink(disk.outside, disk.upper / "folder")
    root = disk.take()
    assert not (root / "link").is_symlink()
    assert (root / "folder").is_symlink()
    assert {each.name: each.read_text() for each in disk.outside.iterdir()} == {"kept": "ours"}


@pytest.mark.parametrize("attribute", ["redirect", "metacopy"])
def test_what_overlayfs_finds_elsewhere_is_left_to_it(disk: Disk, attribute: str) -> None:
    os.setxattr(disk.above("file"), f"trusted.overlay.{attribute}", b"/other")
    (disk.outside / "tree").mkdir()
    assert not Overlay(disk.lower, disk.upper, disk.outside / "tree").merge()
    assert (disk.upper / "file").exists()


def test_a_deep_directory_is_copied_with_all_the_rest(disk: Disk) -> None:
    same = disk.below("same")
    disk.above("/".join(["a"] * 250) + "/file")
    root = disk.take()
    assert (root / "same").stat().st_ino != same.stat().st_ino
    assert (root / "/".join(["a"] * 250) / "file").read_text() == "server"


def test_paths_that_no_program_can_copy_are_an_error_and_leave_nothing(disk: Disk, tmp_path: Path) -> None:
    deepen(disk.upper / "a", 6_000)
    try:
        with pytest.raises(CaptureFailed, match="File name too long"):
            disk.take()
        assert all(is_aside(each) for each in (tmp_path / "captures").iterdir())
    finally:
        # pytest's own removal would end in the middle.
        subprocess.run(["rm", "-rf", disk.disk, tmp_path / "captures"], check=True)


@pytest.mark.parametrize("levels", [1_400, 1_900])
def test_folders_in_folders_become_a_volume_with_all_the_rest(disk: Disk, tmp_path: Path, levels: int) -> None:
    """mkfs of e2fsprogs 1.47 corrupts its own memory where it is to copy these itself."""
    disk.below("same")
    deepen(disk.upper / "a", levels)
    volume, place = tmp_path / "vol-1.img", tmp_path / "volume"
    disk.pack(volume)
    place.mkdir()
    subprocess.run(["mount", "-o", "loop,ro", volume, place], check=True)
    try:
        assert (place / "same").read_text() == "image"
        assert (place / "a" / ("d/" * levels) / "end").exists()
        assert place.stat().st_uid == 0
    finally:
        subprocess.run(["umount", place], check=True)
        subprocess.run(["rm", "-rf", disk.disk], check=True)
    subprocess.run(["e2fsck", "-f", "-n", volume], check=True, capture_output=True)
