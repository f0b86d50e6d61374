from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.booted_server import Booted

from skylift.cloud.compute.disk.mount_table import mounts
from skylift.cloud.compute.image.image import default_image
from skylift.cloud.compute.server.lxcfs import FUSE, Sizes, ensure_lxcfs, running_lxcfs, stop_lxcfs
from skylift.cloud.compute.server.rootfs import is_mounted
from skylift.cloud.state.home import Home

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root"),
    pytest.mark.skipif(not FUSE.exists(), reason=f"there is no {FUSE}"),
]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The directory of a cloud's own lxcfs, on a machine that has no other."""
    monkeypatch.setattr("skylift.cloud.compute.server.lxcfs.SHARED", tmp_path / "none")
    yield tmp_path / "lxcfs"
    stop_lxcfs(tmp_path / "lxcfs")


def process(own: Path) -> int:
    """A descriptor of the process that serves it."""
    return os.pidfd_open(int((own / "pid").read_text()))


def test_one_that_runs_is_found_again(own: Path) -> None:
    assert running_lxcfs(own) is None
    place = ensure_lxcfs(own)
    assert place == own / "mount"
    assert "MemTotal" in (place / "proc/meminfo").read_text()
    pid = (own / "pid").read_text()
    assert ensure_lxcfs(own) == running_lxcfs(own) == place
    assert (own / "pid").read_text() == pid


def test_nothing_is_left_of_one_that_was_stopped(own: Path) -> None:
    place = ensure_lxcfs(own)
    assert place is not None
    served_by = process(own)
    stop_lxcfs(own)
    assert select.select([served_by], [], [], 0)[0]
    os.close(served_by)
    assert not is_mounted(place)
    assert not own.exists()
    stop_lxcfs(own)


def test_one_that_was_killed_is_replaced(own: Path) -> None:
    place = ensure_lxcfs(own)
    assert place is not None
    served_by = process(own)
    signal.pidfd_send_signal(served_by, signal.SIGKILL)
    assert select.select([served_by], [], [], 60)[0]
    os.close(served_by)
    assert running_lxcfs(own) is None
    assert ensure_lxcfs(own) == place
    assert "MemTotal" in (place / "proc/meminfo").read_text()


def test_servers_that_go_while_it_begins_do_not_keep_it_from_it(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it has a mount namespace of its own, which is to be without theirs: one is listed that is gone by then."""
    listed = tmp_path / "bin" / "cut"
    listed.parent.mkdir()
    listed.write_text(
        f'#!/bin/sh\nmkdir {tmp_path}/once && echo /run/skylift/none/lower\nexec {shutil.which("cut")} "$@"\n'
    )
    listed.chmod(0o755)
    monkeypatch.setenv("PATH", f"{listed.parent}:{os.environ['PATH']}")
    monkeypatch.setattr("skylift.cloud.state.program.root_path", lambda path: path)
    monkeypatch.setattr("skylift.cloud.compute.server.lxcfs._may_read_pid_1", lambda: False)
    assert ensure_lxcfs(own) == own / "mount"
    assert (tmp_path / "once").exists()


def test_one_ends_whichever_others_have_begun_meanwhile(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In mount namespaces of their own, which are copies of the one that has its mount."""
    monkeypatch.setattr("skylift.cloud.compute.server.lxcfs._may_read_pid_1", lambda: False)
    ensure_lxcfs(own)
    served_by = process(own)
    other = tmp_path / "other"
    try:
        assert ensure_lxcfs(other) == other / "mount"
        stop_lxcfs(own)
        assert select.select([served_by], [], [], 0)[0]
    finally:
        stop_lxcfs(other)
        os.close(served_by)


def test_a_machine_without_it_has_none(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(own))
    monkeypatch.setattr("skylift.cloud.state.program.root_path", lambda path: path)
    assert ensure_lxcfs(own) is None


def test_one_that_ends_at_once_leaves_servers_without(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "bin" / "lxcfs"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\necho no such thing >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{broken.parent}:{os.environ['PATH']}")
    monkeypatch.setattr("skylift.cloud.state.program.root_path", lambda path: path)
    assert ensure_lxcfs(own) is None
    assert "no such thing" in caplog.text
    assert not own.exists()


def test_a_disk_that_is_unmounted_is_free(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where lxcfs has a mount namespace of its own, and mounts of this machine are not shared."""
    monkeypatch.setattr("skylift.cloud.compute.server.lxcfs._may_read_pid_1", lambda: False)
    disk = tmp_path / "a disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "--make-private", "none", disk], check=True)
    try:
        place = ensure_lxcfs(own)
        assert place is not None
        assert "MemTotal" in (place / "proc/meminfo").read_text()
        held = Path(f"/proc/{int((own / 'pid').read_text())}/mountinfo").read_text()
        assert "a\\040disk" in Path("/proc/self/mountinfo").read_text()
        assert "a\\040disk" not in held
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize("name", ["a disk", "a back\\slash", "*"])
def test_it_may_be_on_a_disk_of_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Where it has a mount namespace of its own, which keeps what it is on, and nothing of another cloud's."""
    monkeypatch.setattr("skylift.cloud.compute.server.lxcfs._may_read_pid_1", lambda: False)
    monkeypatch.setattr("skylift.cloud.compute.server.lxcfs.SHARED", tmp_path / "none")
    disk, other = tmp_path / name, tmp_path / f"{name} of another cloud"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "--make-private", "none", disk], check=True)
    try:
        assert ensure_lxcfs(other) == other / "mount"
        place = ensure_lxcfs(disk / "lxcfs")
        assert place == disk / "lxcfs/mount"
        assert "MemTotal" in (place / "proc/meminfo").read_text()
        held = [mount.place for mount in mounts(int((disk / "lxcfs/pid").read_text()))]
        assert disk in held
        assert other / "mount" not in held
    finally:
        stop_lxcfs(disk / "lxcfs")
        stop_lxcfs(other)
        subprocess.run(["umount", disk], check=True)


def memory(server: Booted) -> str:
    """In KiB, or why it cannot be read."""
    done = server.ssh("awk '/MemTotal/ {print $2}' /proc/meminfo; nproc >/dev/null")
    return done.stdout.strip() or done.stderr.strip()


def kill(own: Path) -> None:
    served_by = process(own)
    signal.pidfd_send_signal(served_by, signal.SIGKILL)
    assert select.select([served_by], [], [], 60)[0]
    os.close(served_by)


@pytest.mark.real
def test_servers_that_run_look_through_the_next_one(
    own: Path, image_home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = default_image(image_home.data)
    assert image is not None
    sizes = Sizes(own)
    server = Booted(tmp_path / "server", image.root, "", {}, lxcfs=sizes.place())
    try:
        server.boot()
        servers, its_own = {server.id: server.first_process}, str(1 << 20)
        assert sizes.show(servers) == ""
        assert memory(server) == its_own
        mounted = Path(f"/proc/{server.first_process}/mountinfo")
        before = mounted.read_text().count(" - fuse.lxcfs ")
        for _ in range(2):
            kill(own)
            assert "not connected" in memory(server)
            assert sizes.show(servers) == ""
            assert memory(server) == its_own
            assert mounted.read_text().count(" - fuse.lxcfs ") == before, "nothing is left of the one before"

        # Where none can be begun it reads this machine's, which is better than nothing, and that is told.
        kill(own)
        with monkeypatch.context() as patched:
            patched.setattr("skylift.cloud.compute.server.lxcfs.find_program", lambda _: None)
            assert "this machine's size" in sizes.show(servers)
            assert sizes.place() is None
        assert int(memory(server)) > 1 << 20
        assert sizes.show(servers) == ""
        assert memory(server) == its_own

        # Another process of the cloud takes over after that.
        kill(own)
        assert Sizes(own).show(servers) == ""
        assert memory(server) == its_own
    finally:
        server.close()


def test_where_there_was_none_nothing_is_amiss(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skylift.cloud.compute.server.lxcfs.find_program", lambda _: None)
    sizes = Sizes(own)
    monkeypatch.undo()
    assert sizes.show({"i-1": os.getpid()}) == ""
    assert sizes.place() is None
