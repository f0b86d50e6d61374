from __future__ import annotations

import errno
import os
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from skylift.cloud.compute.server.rootfs import Rootfs, RootfsError, SeedFile, is_mounted, not_made

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="chroot and chown need root")


@needs_root
def test_seed_files_are_owned_as_the_server_sees_them(tmp_path: Path) -> None:
    rootfs = Rootfs(tmp_path / "image", tmp_path / "disk", tmp_path, uid_base=5_000_000)
    rootfs.root.mkdir()
    rootfs.write([SeedFile("/home/me/.ssh/authorized_keys", b"key", 0o600, 1000, 1001)])
    written = rootfs.root / "home/me/.ssh/authorized_keys"
    status = written.stat()
    assert written.read_bytes() == b"key"
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (5_001_000, 5_001_001, 0o600)
    assert written.parent.stat().st_mode & 0o777 == 0o700


@needs_root
def test_a_directory_that_a_kill_left_ownerless_is_given_away_the_next_time(tmp_path: Path) -> None:
    rootfs = Rootfs(tmp_path / "image", tmp_path / "disk", tmp_path, uid_base=5_000_000)
    (rootfs.root / "home/me/.ssh").mkdir(parents=True)
    rootfs.write([SeedFile("/home/me/.ssh/authorized_keys", b"key", 0o600, 1000, 1001)])
    assert (rootfs.root / "home/me/.ssh").stat().st_uid == 5_001_000


@needs_root
def test_a_link_in_the_image_does_not_lead_out(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    rootfs = Rootfs(tmp_path / "image", tmp_path / "disk", tmp_path, uid_base=5_000_000)
    rootfs.root.mkdir()
    (rootfs.root / "etc").symlink_to(outside)
    (rootfs.root / outside.relative_to("/")).mkdir(parents=True)
    rootfs.write([SeedFile("/etc/hostname", b"x")])
    assert list(outside.iterdir()) == []
    assert (rootfs.root / outside.relative_to("/") / "hostname").read_bytes() == b"x"


@needs_root
def test_what_is_written_at_each_boot_waits_for_no_volume(tmp_path: Path) -> None:
    rootfs = Rootfs(tmp_path / "image", tmp_path / "disk", tmp_path, uid_base=5_000_000)
    rootfs.root.mkdir()
    (rootfs.root / "var").symlink_to("/mnt/sdf/var")
    rootfs.write([SeedFile("/var/lib/each", b"1", each_boot=True), SeedFile("/etc/each", b"2", each_boot=True)])
    assert (rootfs.root / "etc/each").read_bytes() == b"2"
    assert {path.name for path in rootfs.root.iterdir()} == {"etc", "var"}
    with pytest.raises(RootfsError, match="/var"):
        rootfs.write([SeedFile("/var/lib/once", b"3")])


@needs_root
def test_what_is_to_last_is_looked_for_in_the_root_only(tmp_path: Path) -> None:
    rootfs = Rootfs(tmp_path / "image", tmp_path / "disk", tmp_path, uid_base=5_000_000)
    rootfs.root.mkdir()
    once, each_boot = SeedFile("/etc/once", b"1"), SeedFile("/etc/each", b"2", each_boot=True)
    rootfs.write([once, each_boot])
    rootfs.sync([once, each_boot])
    (rootfs.root / "etc/each").unlink()
    rootfs.sync([once, each_boot])
    (rootfs.root / "etc/once").unlink()
    (rootfs.root / "etc/once").symlink_to("/etc/hostname")
    with pytest.raises(RootfsError, match="/etc/once"):
        rootfs.sync([once])


@needs_root
def test_writing_leaves_this_process_where_it_was(tmp_path: Path) -> None:
    rootfs = Rootfs(tmp_path / "image", tmp_path / "disk", tmp_path, uid_base=5_000_000)
    rootfs.root.mkdir()
    before = Path("/").stat()
    rootfs.write([SeedFile("/x", b"")])
    assert Path("/").stat().st_ino == before.st_ino
    assert Path(__file__).exists()


@needs_root
def test_a_mount_that_stays_is_an_error_and_its_content_is_safe(tmp_path: Path) -> None:
    rootfs = Rootfs(tmp_path / "image", tmp_path / "disk", tmp_path, uid_base=5_000_000)
    rootfs.image.mkdir()
    (rootfs.image / "precious").touch()
    rootfs.lower.mkdir()
    with ExitStack() as end:
        for _ in range(2):
            subprocess.run(["mount", "--bind", str(rootfs.image), str(rootfs.lower)], check=True)
            end.callback(subprocess.run, ["umount", str(rootfs.lower)], check=False, stderr=subprocess.DEVNULL)
        with pytest.raises(RootfsError, match="cannot remove the mount point"):
            rootfs.unmount()
        rootfs.unmount()
        assert not rootfs.lower.exists()
    assert (rootfs.image / "precious").exists()


def test_mounts_are_known_by_the_kernels_table(tmp_path: Path) -> None:
    assert is_mounted(Path("/proc"))
    assert not is_mounted(tmp_path)


@needs_root
@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"web-1\n", "web-1"),
        (b"web-1.example.com", "web-1.example.com"),
        (b"a" * 64, "a" * 64),
        (b"a" * 65, None),
        (b"-web", None),
        (b"web 1", None),
        (b"web\nother", None),
        (b"../../etc", None),
        (b"\xff\x00", None),
        (b"", None),
    ],
)
def test_the_disk_may_name_the_server(tmp_path: Path, content: bytes, name: str | None) -> None:
    rootfs = Rootfs(tmp_path / "image", tmp_path / "disk", tmp_path, uid_base=5_000_000)
    (rootfs.root / "etc").mkdir(parents=True)
    (rootfs.root / "etc/hostname").write_bytes(content)
    assert rootfs.hostname() == name
    assert os.getcwd() == os.path.realpath(os.curdir)


@needs_root
def test_a_hostname_that_is_no_file_of_the_server_is_none(tmp_path: Path) -> None:
    rootfs = Rootfs(tmp_path / "image", tmp_path / "disk", tmp_path, uid_base=5_000_000)
    (rootfs.root / "etc").mkdir(parents=True)
    file = rootfs.root / "etc/hostname"
    assert rootfs.hostname() is None
    (tmp_path / "secret").write_text("secret")
    file.symlink_to(tmp_path / "secret")
    assert rootfs.hostname() is None
    file.unlink()
    os.mkfifo(file)
    assert rootfs.hostname() is None
    file.unlink()
    file.mkdir()
    assert rootfs.hostname() is None


def test_a_failure_without_a_path_names_the_root() -> None:
    """As where no descriptor is left for a call that takes no path."""
    assert str(not_made(OSError(errno.EMFILE, "Too many open files"))) == "cannot write its root: Too many open files"
