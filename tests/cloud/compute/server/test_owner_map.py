"""The kernel shows an image's files with a server's owners."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest

from skylift.cloud.compute.image.stored import STORED
from skylift.cloud.compute.server.owner_map import own_users, owner_map
from skylift.cloud.compute.server.rootfs import MountRefused, Rootfs

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts and user namespaces need root")

BASE = 5_000_000


@pytest.fixture
def rootfs() -> Iterator[Rootfs]:
    """Where servers' disks are: not every file system can show other owners."""
    place = Path(os.environ["SKYLIFT_DATA"]) / f"owners-{os.getpid()}"
    made = Rootfs(place / "image", place / "disk", place / "run", uid_base=BASE)
    made.image.mkdir(parents=True)
    try:
        yield made
    finally:
        made.unmount()
        shutil.rmtree(place)


def test_a_server_sees_the_images_files_as_its_own(rootfs: Rootfs) -> None:
    for name, owner in (("root's", 0), ("a user's", 1000)):
        (rootfs.image / name).touch()
        os.chown(rootfs.image / name, STORED + owner, STORED + owner)
    rootfs.mount()
    for place in (rootfs.lower, rootfs.root):
        found = {file.name: (file.stat().st_uid, file.stat().st_gid) for file in place.iterdir()}
        assert found == {"root's": (BASE, BASE), "a user's": (BASE + 1000, BASE + 1000)}
    with pytest.raises(OSError, match="Read-only"):
        (rootfs.lower / "new").touch()
    (rootfs.root / "new").touch()
    assert not (rootfs.image / "new").exists()
    rootfs.unmount()
    assert not rootfs.lower.exists() and not rootfs.root.exists()


def mounts_below(place: Path) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if line.split()[4].startswith(f"{place}/")]


def test_what_is_mounted_already_stays(rootfs: Rootfs) -> None:
    rootfs.mount()
    (rootfs.root / "written").touch()
    before = mounts_below(rootfs.runtime)
    rootfs.mount()
    assert mounts_below(rootfs.runtime) == before
    assert len(before) == 2
    assert (rootfs.root / "written").exists()


def test_an_image_that_is_gone_is_named(rootfs: Rootfs) -> None:
    rootfs.image.rmdir()
    with pytest.raises(MountRefused, match=r"image at .*lower: open_tree: No such file or directory"):
        rootfs.mount()


def test_the_same_ids_have_one_namespace() -> None:
    first = owner_map(STORED, BASE, 65536)
    assert owner_map(STORED, BASE, 65536) == first
    other = owner_map(STORED, BASE + 65536, 65536)
    spaces = [os.readlink(f"/proc/self/fd/{each}") for each in (first, other)]
    assert len({*spaces, os.readlink("/proc/self/ns/user")}) == 3
    assert all(each.startswith("user:[") for each in spaces)


def test_ids_that_the_kernel_does_not_take_are_an_error() -> None:
    with pytest.raises(OSError, match="Invalid argument"):
        owner_map(0, 0, 0)


def test_a_servers_namespace_is_its_own_roots_and_its_programs_are_nobody_else() -> None:
    """What the kernel counts for users it counts for this uid, too."""
    with own_users(BASE, 65536) as made:
        path = made()
        descriptor = os.open(path, os.O_RDONLY)
        try:
            owner = array("I", [0])
            # NS_GET_OWNER_UID of ioctl_nsfs(2)
            fcntl.ioctl(descriptor, 0xB704, owner)
        finally:
            os.close(descriptor)
        assert owner[0] == BASE
        inside = ["nsenter", f"--user={path}", "cat", "/proc/self/uid_map", "/proc/self/gid_map"]
        maps = subprocess.run(inside, capture_output=True, text=True, check=True).stdout.split()
    assert maps == ["0", str(BASE), "65536"] * 2
    assert not Path(path).exists()
