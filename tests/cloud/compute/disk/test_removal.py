"""Deleting what servers have made: at any depth, without a link being followed, and whatever is in the way."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.deep_tree import deepen

from skylift.cloud.compute import program
from skylift.cloud.compute.disk.removal import NotRemoved, Removal, set_aside, trees_aside
from skylift.cloud.loops.removal import RemovalLoop


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    made = tmp_path / "instances"
    made.mkdir()
    yield made
    # pytest's own removal would end in the middle.
    subprocess.run(["rm", "-rf", made], check=True)


def until_empty(loop: RemovalLoop, place: Path) -> None:
    while trees_aside([place]):
        loop.step()
        time.sleep(0.01)


@pytest.mark.parametrize("levels", [6_000, 50_000])
def test_folders_in_folders_go_however_many(place: Path, levels: int) -> None:
    tree = place / "i-1"
    deepen(tree, levels)
    set_aside(tree)
    assert not tree.exists()
    loop = RemovalLoop([place], Removal)
    until_empty(loop, place)
    loop.close()
    assert os.listdir(place) == []


def test_no_link_is_followed_and_no_kind_of_file_is_in_the_way(place: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("ours")
    tree = place / "i-1"
    tree.mkdir()
    (tree / "link").symlink_to(outside)
    (tree / "file").symlink_to(outside / "kept")
    os.link(outside / "kept", tree / "other name")
    os.mkfifo(tree / "pipe")
    (tree / "sparse").touch()
    os.truncate(tree / "sparse", 1 << 40)
    os.mkdir(os.fsencode(tree) + b"/\xff\n")
    os.mkdir(tree / "-rf", 0)
    Removal(set_aside(tree)).wait()
    assert os.listdir(place) == []
    assert (outside / "kept").read_text() == "ours"


def test_a_tree_that_stays_is_named_and_keeps_no_other(
    place: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []

    class Refusal(Removal):
        def __init__(self, tree: Path) -> None: ...

        def wait(self) -> None:
            raise NotRemoved(f"{stuck} cannot be deleted: Operation not permitted")

    def begin(tree: Path) -> Removal:
        begun.append(tree.name)
        return Refusal(tree) if tree == stuck else Removal(tree)

    for name in ("i-1", "i-2"):
        (place / name).mkdir()
    stuck = set_aside(place / "i-1")
    set_aside(place / "i-2")
    loop = RemovalLoop([place], begin)
    while trees_aside([place]) != [stuck] or "cannot be deleted" not in caplog.text:
        loop.step()
        time.sleep(0.01)
    for _ in range(20):
        loop.step()
    loop.close()
    assert begun.count(stuck.name) == 1, "it is tried again later, not at each step"
    assert caplog.text.count("Operation not permitted; it is tried again in 10 minutes") == 1


def test_a_deletion_that_takes_long_holds_up_no_end_of_the_cloud(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "i-1").mkdir()
    left = set_aside(place / "i-1")
    slow = place.parent / "rm"
    slow.write_text("#!/bin/sh\nexec sleep 600\n")
    slow.chmod(0o755)
    monkeypatch.setattr(program, "own_environment", lambda: {"PATH": f"{slow.parent}:{os.environ['PATH']}"})
    loop = RemovalLoop([place], Removal)
    loop.step()
    began = time.monotonic()
    loop.close()
    assert time.monotonic() - began < 60
    assert left.exists()


@pytest.mark.real
def test_what_is_mounted_in_a_tree_is_not_emptied(place: Path, tmp_path: Path) -> None:
    """Also where it is of the same file system."""
    outside, tree = tmp_path / "outside", place / "i-1"
    outside.mkdir()
    (outside / "kept").write_text("ours")
    (tree / "at").mkdir(parents=True)
    subprocess.run(["mount", "--bind", outside, tree / "at"], check=True)
    try:
        aside = set_aside(tree)
        with pytest.raises(NotRemoved, match=f"mounted at {aside}/at"):
            Removal(aside)
    finally:
        subprocess.run(["umount", aside / "at"], check=True)
    assert (outside / "kept").read_text() == "ours"
    Removal(aside).wait()


@pytest.mark.real
def test_an_immutable_file_is_named(place: Path) -> None:
    tree = place / "i-1"
    tree.mkdir()
    (tree / "file").touch()
    subprocess.run(["chattr", "+i", tree / "file"], check=True)
    aside = set_aside(tree)
    try:
        with pytest.raises(NotRemoved, match=r"file.*: Operation not permitted"):
            Removal(aside).wait()
    finally:
        subprocess.run(["chattr", "-i", aside / "file"], check=True)


def test_a_deletion_that_cannot_begin_is_tried_again_later(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    begun: list[Path] = []

    def begin(tree: Path) -> Removal:
        begun.append(tree)
        raise BlockingIOError(11, "Resource temporarily unavailable")

    (place / "i-1").mkdir()
    set_aside(place / "i-1")
    loop = RemovalLoop([place], begin)
    while "tried again" not in caplog.text:
        loop.step()
        time.sleep(0.01)
    for _ in range(20):
        loop.step()
    loop.close()
    assert len(begun) == 1, "it is tried again later, not at each step"
