"""Which images of the machine go, and which stay because some cloud needs them."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from skylift.cloud.compute.image.image import one_builder
from skylift.cloud.compute.image.unneeded import RECENT, name_images, remove_unneeded
from skylift.cloud.state.data import Data

OLD = time.time() - RECENT - 60


@pytest.fixture
def mine(tmp_path: Path) -> Data:
    return cloud(tmp_path, "1000/default", "ami-new")


def cloud(place: Path, name: str, *needed: str) -> Data:
    data = Data(place / name)
    data.path.mkdir(parents=True)
    data.images.mkdir(exist_ok=True)
    data.database.touch()
    if needed:
        name_images(data, needed)
    return data


def image(place: Path, name: str, asked_for: float = OLD) -> None:
    (place / name / "root").mkdir(parents=True)
    told = place / f"{name}.json"
    told.write_text("{}")
    os.utime(told, (asked_for, asked_for))


def left(place: Path) -> set[str]:
    return {each.stem for each in place.glob("ami-*")}


def test_what_no_cloud_of_any_user_needs_goes(mine: Data, tmp_path: Path) -> None:
    cloud(tmp_path, "1001/other", "ami-theirs")
    for name in ("ami-new", "ami-theirs", "ami-old"):
        image(mine.images, name)
    image(mine.images, "ami-recent", time.time())
    assert remove_unneeded(mine) == ["ami-old"]
    assert left(mine.images) == {"ami-new", "ami-theirs", "ami-recent"}
    assert not (mine.images / "ami-old").exists()
    assert remove_unneeded(mine) == []


def test_what_was_being_removed_goes_whole(mine: Data) -> None:
    image(mine.images, "ami-new")
    (mine.images / "ami-half/root").mkdir(parents=True)
    assert remove_unneeded(mine) == ["ami-half"]
    assert not (mine.images / "ami-half").exists()


def test_nothing_is_removed_while_somebody_builds(mine: Data) -> None:
    image(mine.images, "ami-old")
    with one_builder(mine, None):
        assert remove_unneeded(mine) == []
    assert left(mine.images) == {"ami-old"}
    assert remove_unneeded(mine) == ["ami-old"]


def test_where_a_cloud_cannot_say_what_it_needs_all_stays(mine: Data, tmp_path: Path) -> None:
    image(mine.images, "ami-old")
    other = cloud(tmp_path, "1001/other", "ami-theirs")
    other.images_in_use.write_text("damaged")
    with pytest.raises(ValueError, match="Expecting value"):
        remove_unneeded(mine)
    assert left(mine.images) == {"ami-old"}


def test_what_an_earlier_version_built_for_a_user_stays_until_all_of_that_users_clouds_have_spoken(
    mine: Data, tmp_path: Path
) -> None:
    silent = cloud(tmp_path, "1000/silent")
    for name in ("ami-new", "ami-old", "ami-needed"):
        image(mine.user_images, name)
    image(mine.images, "ami-new")
    assert remove_unneeded(mine) == []
    name_images(silent, ["ami-needed"])
    assert remove_unneeded(mine) == ["ami-new", "ami-old"]
    assert (left(mine.images), left(mine.user_images)) == ({"ami-new"}, {"ami-needed"})


@pytest.mark.real
def test_what_a_server_stands_on_stays(mine: Data, tmp_path: Path) -> None:
    image(mine.images, "ami-old")
    lower = tmp_path / "lower"
    lower.mkdir()
    subprocess.run(["mount", "--bind", str(mine.images / "ami-old/root"), str(lower)], check=True)
    try:
        assert remove_unneeded(mine) == []
    finally:
        subprocess.run(["umount", str(lower)], check=True)
    assert remove_unneeded(mine) == ["ami-old"]


def test_the_names_are_roots_to_write(mine: Data) -> None:
    assert json.loads(mine.images_in_use.read_text()) == ["ami-new"]
    assert mine.images_in_use.stat().st_mode & 0o777 == 0o600
