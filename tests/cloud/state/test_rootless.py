"""What makes a cloud one without root, and who believes it."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from skylift.client.errors import UsageError
from skylift.cloud.compute.image.packed import unpack_command
from skylift.cloud.compute.server import cgroup
from skylift.cloud.state import rootless
from skylift.cloud.state.data import is_root_path, open_root_directory
from skylift.cloud.state.home import Home
from skylift.cloud.state.person import calling_user
from skylift.place.own_namespaces import way_in
from skylift.place.start import prepare_home


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mark").touch()
    monkeypatch.setattr(rootless, "MARK", tmp_path / "mark")


def test_root_does_not_believe_a_file_of_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path)
    home.holder.touch()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert not Home(tmp_path).is_rootless
    assert not home.data.path.is_relative_to(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    assert home.is_rootless
    assert home.data.path.is_relative_to(tmp_path)


@pytest.mark.usefixtures("inside")
def test_in_the_namespaces_the_data_are_the_users_and_so_is_the_way_to_them(tmp_path: Path) -> None:
    assert Home(tmp_path).data.path == tmp_path / "data/0/default"
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o777)
    assert is_root_path(tmp_path / "shared")
    with open_root_directory(tmp_path / "shared/own"):
        pass


@pytest.mark.usefixtures("inside")
def test_in_the_namespaces_there_are_no_cgroups() -> None:
    assert cgroup.hierarchies() == []


@pytest.mark.real
@pytest.mark.usefixtures("inside")
def test_an_image_is_unpacked_without_the_devices_that_only_root_may_make(tmp_path: Path) -> None:
    image, root = tmp_path / "image", tmp_path / "root"
    (image / "dev").mkdir(parents=True)
    (image / "etc/dev").mkdir(parents=True)
    (image / "etc/dev/file").touch()
    os.mknod(image / "dev/null", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    root.mkdir()
    subprocess.run(["tar", "-C", image, "-czf", tmp_path / "file", "."], check=True)
    subprocess.run(unpack_command(tmp_path / "file", root), check=True)
    assert [path.relative_to(root) for path in sorted(root.rglob("*"))] == [
        *map(Path, ("dev", "etc", "etc/dev", "etc/dev/file"))
    ]


@pytest.mark.usefixtures("inside")
def test_in_the_namespaces_the_user_is_the_caller_also_if_an_administrator_became_them_by_sudo() -> None:
    """`sudo -iu dev` leaves SUDO_UID in what dev starts. The namespaces do not have that user."""
    assert calling_user({"SUDO_UID": "4711"}).uid == os.geteuid()


def test_root_starts_no_cloud_beside_one_without_root(tmp_path: Path) -> None:
    """Both would have the same credentials file."""
    Home(tmp_path).holder.touch()
    with pytest.raises(UsageError, match="without root"):
        prepare_home(Home(tmp_path))


@pytest.mark.real
@pytest.mark.parametrize(("uid", "believed"), [(0, True), (4711, False)])
def test_a_process_of_another_id_is_not_what_holds_the_namespaces(tmp_path: Path, uid: int, believed: bool) -> None:
    """A program in a server can have the mark in its /run, and any number."""
    script = (
        'mount -t tmpfs own /run && echo "$0" >/run/.skylift-rootless && echo made && exec setpriv --reuid="$1" cat'
    )
    command = ["unshare", "--mount", "sh", "-c", script, str(tmp_path), str(uid)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin and process.stdout
        assert process.stdout.readline() == b"made\n"
        process.stdin.write(b"now\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"now\n"
        Home(tmp_path).holder.write_text(str(process.pid))
        assert bool(way_in(Home(tmp_path))) is believed
        process.stdin.close()
