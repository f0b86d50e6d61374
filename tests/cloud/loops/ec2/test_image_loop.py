"""The loop of images: a fake of compute that has root directories."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.fresh_state import fresh_state
from support.plain_instance import LAUNCHED as NOW
from support.plain_instance import plain_instance

from skylift.cloud.compute.image.image_from_disk import CaptureFailed
from skylift.cloud.domain.instance import Image
from skylift.cloud.domain.volume import Snapshot
from skylift.cloud.loops.ec2.image import ImageLoop
from skylift.cloud.store.database import Database

BASE = Image("ami-base", "base", "", "/base", 1, NOW, "x86_64")
IMAGE = replace(
    BASE, id="ami-1", name="one", root="", owner="self", public=False, state="pending", source_instance_id="i-1"
)
IMAGE = replace(IMAGE, snapshot_id="snap-1")
SNAPSHOT = Snapshot(
    "snap-1", "vol-1", 8, NOW, state="completed", of_root=True, root="/captures/snap-1/root", image_id="ami-1"
)
INSTANCE = plain_instance(image_id="ami-base", state="stopped")


class FakeCompute:
    def __init__(self) -> None:
        self.kept: list[set[Path]] = []
        self.refuses = False

    def root(self, name: str) -> Path:
        return Path("/captures") / name / "root"

    def unpack(self, image_id: str, file: Path) -> Path:
        assert file == Path("/snap-1.img")
        if self.refuses:
            raise CaptureFailed("no root")
        return self.root(image_id)

    def keep(self, needed: set[Path]) -> None:
        self.kept.append(needed)


class Scene:
    def __init__(self, path: Path) -> None:
        self.database = Database(fresh_state(path))
        self.compute = FakeCompute()
        self.loop = ImageLoop(self.database, self.compute, lambda snapshot_id: Path(f"/{snapshot_id}.img"))
        with self.database.write() as tx:
            tx.add(BASE)

    def add(self, *rows: object) -> None:
        with self.database.write() as tx:
            for row in rows:
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


def test_an_image_is_there_when_all_of_its_snapshots_are(scene: Scene) -> None:
    data = replace(SNAPSHOT, id="snap-2", state="pending", of_root=False, root="")
    scene.add(INSTANCE, IMAGE, SNAPSHOT, data)
    scene.settle()
    assert scene.state == "pending"
    with scene.database.write() as tx:
        tx.save(replace(data, state="completed"))
    scene.loop.look_at("ami-1")
    scene.loop.wait_until_idle()
    image = scene.image()
    assert image is not None
    assert (image.state, image.root) == ("available", "/captures/snap-1/root")


@pytest.mark.parametrize("refuses", [False, True])
def test_an_image_of_a_file_system_gets_a_root_directory_of_its_own(scene: Scene, refuses: bool) -> None:
    scene.compute.refuses = refuses
    scene.add(replace(IMAGE, source_instance_id=None), replace(SNAPSHOT, of_root=False, root="", image_id=None))
    scene.settle()
    image = scene.image()
    assert image is not None
    expected = ("failed", "", "snap-1: no root") if refuses else ("available", "/captures/ami-1/root", "")
    assert (image.state, image.root, image.state_reason) == expected


def test_a_failure_is_said(scene: Scene) -> None:
    scene.add(INSTANCE, IMAGE, replace(SNAPSHOT, state="error", message="no space"))
    scene.settle()
    image = scene.image()
    assert image is not None
    assert (image.state, image.state_reason) == ("failed", "snap-1: no space")


def test_a_deregistered_image_stays_as_long_as_a_disk_lies_over_it(scene: Scene) -> None:
    gone = replace(IMAGE, state="deregistered", root="/captures/snap-1/root")
    scene.add(replace(INSTANCE, image_id="ami-1"), gone)
    scene.settle()
    assert (scene.compute.kept, scene.state) == ([], "deregistered")
    with scene.database.write() as tx:
        tx.save(replace(INSTANCE, image_id="ami-1", state="terminated"))
    scene.settle()
    assert scene.state is None
    assert scene.compute.kept == [{Path("/base")}]


def test_root_directories_stay_as_long_as_images_or_snapshots_need_them(scene: Scene) -> None:
    gone = replace(IMAGE, state="deregistered", root="/captures/snap-1/root")
    copy = replace(gone, id="ami-2", name="two", state="available", source_instance_id=None)
    alone = replace(SNAPSHOT, id="snap-2", root="/captures/snap-2/root", image_id=None)
    pending = replace(SNAPSHOT, id="snap-3", state="pending", root="", image_id="ami-3")
    scene.add(gone, copy, alone, pending)
    scene.settle()
    assert scene.state is None
    assert scene.compute.kept == [
        {
            Path("/base"),
            Path("/captures/snap-1/root"),
            Path("/captures/snap-2/root"),
            # Not made yet, or at this very moment.
            Path("/captures/snap-3/root"),
        }
    ]


def test_what_becomes_unneeded_during_a_clean_up_goes_with_the_next(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = scene.compute.keep

    def keep_meanwhile(needed: set[Path]) -> None:
        keep(needed)
        if len(scene.compute.kept) == 1:
            scene.loop.tidy()

    monkeypatch.setattr(scene.compute, "keep", keep_meanwhile)
    scene.loop.tidy()
    scene.loop.wait_until_idle()
    assert len(scene.compute.kept) == 2
