"""What `cloud down --erase` leaves where it is cut off, or where something cannot be deleted."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.deep_tree import deepen

from skylift.cloud.compute.capability import assess
from skylift.cloud.compute.disk.mount_table import mounts_below
from skylift.cloud.compute.disk.removal import NotRemoved, Removal, trees_aside
from skylift.cloud.compute.server.rootfs import is_mounted
from skylift.cloud.process.cannot_start import CannotStart
from skylift.cloud.state.home import Home, RootKey
from skylift.cloud.wiring import teardown
from skylift.cloud.wiring.teardown import take_down


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    place = Path(os.environ["SKYLIFT_DATA"]) / secrets.token_hex(4)
    monkeypatch.setenv("SKYLIFT_DATA", str(place))
    home = Home(tmp_path / "home")
    home.path.mkdir()
    home.data.make()
    home.data.database.write_bytes(b"old")
    home.data.database.with_name("state.db-wal").write_bytes(b"changes of old")
    (home.data.objects / "1").write_bytes(b"an object")
    yield home
    subprocess.run(["rm", "-rf", place], check=True)


def test_an_erase_that_is_cut_off_leaves_no_half_of_a_cloud(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    class Cut:
        def __init__(self, tree: Path) -> None:
            raise KeyboardInterrupt

    with monkeypatch.context() as cut, pytest.raises(KeyboardInterrupt):
        cut.setattr(teardown, "Removal", Cut)
        take_down(home, erase=True)
    assert not home.data.path.exists()
    place = home.data.path.parent
    assert len(trees_aside([place])) == 1
    home.data.make()
    take_down(home, erase=True)
    assert os.listdir(place) == []


def test_a_start_beside_an_erase_keeps_its_key(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process may start a cloud there as soon as the old one's data are gone."""
    home.write_root_key(RootKey("old", "secret"))
    new = RootKey("new", "secret")

    def start(directory: Path) -> None:
        if directory == home.data.path.parent:
            home.write_root_key(new)

    monkeypatch.setattr(teardown, "sync_directory", start)
    take_down(home, erase=True)
    assert home.root_key() == new


def test_folders_in_folders_are_erased_with_the_cloud(home: Home) -> None:
    deepen(home.data.instances / "i-1", 6_000)
    take_down(home, erase=True)
    assert os.listdir(home.data.path.parent) == []


@pytest.mark.real
def test_what_cannot_be_deleted_is_named_and_in_no_new_clouds_way(home: Home) -> None:
    stuck = home.data.instances / "stuck"
    stuck.touch()
    subprocess.run(["chattr", "+i", stuck], check=True)
    try:
        for _ in range(2):
            with pytest.raises(NotRemoved, match=r"gone, but not all of its files: .*stuck.*: Operation not permitted"):
                take_down(home, erase=True)
            assert not home.data.path.exists()
            home.data.make()
        (left,) = trees_aside([home.data.path.parent, home.data.instances])
        named = [each.found for each in assess(home) if each.name == "still to be deleted"]
        assert named == [f"{left}; the log says why, if it stays"]
    finally:
        subprocess.run(["chattr", "-R", "-i", home.data.path.parent], check=True)


def test_what_is_down_and_not_to_be_erased_stays(home: Home) -> None:
    take_down(home)
    assert home.data.database.read_bytes() == b"old"
    assert (home.data.objects / "1").exists()


@pytest.mark.real
@pytest.mark.parametrize("name", ["with a blank", "tab\tand\nline", "back\\slash\\040", "form\x0cfeed\x85\udcff"])
def test_nothing_is_erased_through_a_mount_whatever_it_is_called(home: Home, name: str) -> None:
    place = home.data.instances / name
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", place], check=True)
    try:
        (place / "precious").touch()
        with pytest.raises(CannotStart, match="nothing was erased"):
            take_down(home, erase=True)
        assert (place / "precious").exists()
        assert is_mounted(place)
        assert mounts_below(home.data.instances) == [place]
        with pytest.raises(NotRemoved, match="something is mounted"):
            Removal(home.data.instances)
    finally:
        subprocess.run(["umount", place], check=True)
    assert not is_mounted(place)
