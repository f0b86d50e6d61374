"""The loop of images against a fake of compute: captures that are words in a list."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from skylift.cloud.compute.capture import CaptureFailed
from skylift.cloud.instance import Image, Instance
from skylift.cloud.loops.image import ImageLoop
from skylift.cloud.store.database import Database

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BASE = Image("ami-base", "base", "", "/base", 1, NOW, "x86_64")
IMAGE = replace(
    BASE, id="ami-1", name="one", root="", owner="self", public=False, state="pending", source_instance_id="i-1"
)
INSTANCE = Instance(
    id="i-1",
    reservation_id="r-1",
    launch_index=0,
    image_id="ami-base",
    type="t3.micro",
    zone="us-east-1a",
    vpc_id="vpc-1",
    subnet_id="subnet-1",
    launched=NOW,
    uid_base=1_000_000_000,
    root_gib=8,
    state="stopped",
)


class FakeCompute:
    """Servers and captures in one: what was done, in order."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.alive: set[str] = set()
        self.kept: set[Path] = set()
        self.refuses = False
        self.meanwhile: Callable[[], None] = lambda: None

    def running(self) -> dict[str, int]:
        return dict.fromkeys(self.alive, 1)

    def pause(self, server_id: str) -> None:
        self.done.append("pause")

    def resume(self, server_id: str) -> None:
        self.done.append("resume")

    def root(self, image_id: str) -> Path:
        return Path("/captures") / image_id / "root"

    def take(
        self,
        image_id: str,
        *,
        lower: Path,
        disk: Path,
        uid_base: int,
        held: Callable[[], AbstractContextManager[None]] | None,
    ) -> Path:
        assert (lower, disk, uid_base) == (Path("/base"), Path("/disks/i-1"), 1_000_000_000)
        if held is not None:
            with held():
                self.done.append("copy writes")
        self.meanwhile()
        if self.refuses:
            raise CaptureFailed("no space")
        self.done.append(f"take {image_id}")
        return self.root(image_id)

    def keep(self, needed: set[Path]) -> None:
        self.kept = needed
        self.done.append("keep")


class Scene:
    def __init__(self, path: Path) -> None:
        self.database = Database(path / "state.db")
        self.compute = FakeCompute()
        self.loop = ImageLoop(self.database, self.compute, self.compute, Path("/disks"), (CaptureFailed,))
        with self.database.write() as tx:
            tx.add(BASE)

    def add(self, instance: Instance, *images: Image) -> None:
        with self.database.write() as tx:
            for row in (instance, *images):
                tx.add(row)

    def image(self, image_id: str = "ami-1") -> Image | None:
        with self.database.read() as tx:
            return tx.get(Image, id=image_id)

    @property
    def state(self) -> str | None:
        found = self.image()
        return found.state if found else None

    def settle(self) -> None:
        self.loop.step()
        self.loop.wait_until_idle()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.loop.close()
    made.database.close()


def test_a_stopped_servers_disk_is_copied(scene: Scene) -> None:
    scene.add(INSTANCE, IMAGE)
    scene.settle()
    assert scene.compute.done == ["take ami-1"]
    image = scene.image()
    assert image is not None
    assert (image.state, image.root) == ("available", "/captures/ami-1/root")


def test_one_that_runs_is_held_while_its_writes_are_copied(scene: Scene) -> None:
    scene.compute.alive = {"i-1"}
    scene.add(replace(INSTANCE, state="running"), replace(IMAGE, no_reboot=True))
    scene.settle()
    assert scene.compute.done == ["pause", "copy writes", "resume", "take ami-1"]
    assert scene.state == "available"


def test_one_that_reboots_for_it_is_left_to_the_moment_it_is_off(scene: Scene) -> None:
    scene.compute.alive = {"i-1"}
    scene.add(replace(INSTANCE, state="running", rebooting=True), IMAGE)
    scene.settle()
    assert (scene.compute.done, scene.state) == ([], "pending")
    scene.compute.alive = set()
    scene.loop.at_rest("i-1")
    assert (scene.compute.done, scene.state) == (["take ami-1"], "available")


def test_a_server_waits_with_its_start_for_a_copy_that_is_being_made(scene: Scene) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def meanwhile() -> None:
        begun.set()
        assert go_on.wait(10)

    scene.compute.meanwhile = meanwhile
    scene.add(INSTANCE, IMAGE)
    scene.loop.step()
    assert begun.wait(10)
    states: list[str | None] = []

    def start() -> None:
        scene.loop.at_rest("i-1")
        states.append(scene.state)

    boot = threading.Thread(target=start)
    boot.start()
    go_on.set()
    boot.join()
    assert states == ["available"]
    assert scene.compute.done == ["take ami-1"]


def test_a_failure_is_said(scene: Scene) -> None:
    scene.compute.refuses = True
    scene.add(INSTANCE, IMAGE)
    scene.settle()
    image = scene.image()
    assert image is not None
    assert (image.state, image.state_reason) == ("failed", "no space")


def test_an_image_of_what_ended_fails(scene: Scene) -> None:
    scene.add(replace(INSTANCE, state="terminated"), IMAGE)
    scene.settle()
    assert (scene.compute.done, scene.state) == ([], "failed")


def test_a_deregistered_image_stays_as_long_as_a_disk_lies_over_it(scene: Scene) -> None:
    gone = replace(IMAGE, state="deregistered", root="/captures/ami-1/root")
    scene.add(replace(INSTANCE, image_id="ami-1"), gone)
    scene.settle()
    assert (scene.compute.done, scene.state) == ([], "deregistered")
    with scene.database.write() as tx:
        tx.save(replace(INSTANCE, image_id="ami-1", state="terminated"))
    scene.settle()
    assert scene.state is None
    assert scene.compute.kept == {Path("/base")}


def test_a_copy_keeps_the_directory_that_it_shares(scene: Scene) -> None:
    gone = replace(IMAGE, state="deregistered", root="/captures/ami-1/root")
    copy = replace(gone, id="ami-2", name="two", state="available", source_instance_id=None)
    pending = replace(IMAGE, id="ami-3", name="three", no_reboot=False)
    scene.add(replace(INSTANCE, state="running", rebooting=True), gone, copy, pending)
    scene.settle()
    assert scene.state is None
    assert scene.compute.kept == {
        Path("/base"),
        Path("/captures/ami-1/root"),
        # Not made yet, or at this very moment.
        Path("/captures/ami-3/root"),
    }


def test_one_that_is_deregistered_while_it_is_made_is_removed(scene: Scene) -> None:
    def deregister() -> None:
        with scene.database.write() as tx:
            tx.save(replace(IMAGE, state="deregistered"))

    scene.compute.meanwhile = deregister
    scene.add(INSTANCE, IMAGE)
    scene.settle()
    assert scene.compute.done == ["take ami-1", "keep"]
    assert scene.state is None
    assert scene.compute.kept == {Path("/base")}


def test_what_becomes_unneeded_during_a_clean_up_goes_with_the_next(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = scene.compute.keep

    def keep_meanwhile(needed: set[Path]) -> None:
        keep(needed)
        if scene.compute.done == ["keep"]:
            scene.loop.tidy()

    monkeypatch.setattr(scene.compute, "keep", keep_meanwhile)
    scene.loop.tidy()
    scene.loop.wait_until_idle()
    assert scene.compute.done == ["keep", "keep"]
