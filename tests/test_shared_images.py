"""Images that are kept for the next run of the tests. Root directories are small here: nothing looks into them."""

from __future__ import annotations

import os
import time
from pathlib import Path

from support.shared_images import UNUSED, forget_unused, share_images


def image(folder: Path, name: str) -> Path:
    (folder / name / "root").mkdir(parents=True)
    (folder / name / "root/motd").write_text(name)
    file = folder / f"{name}.json"
    file.write_text("{}")
    return file


def test_an_image_is_the_same_files_by_other_names(tmp_path: Path) -> None:
    image(tmp_path / "kept", "ami-1")
    share_images(tmp_path / "kept", tmp_path / "run")
    assert (tmp_path / "run/ami-1/root/motd").samefile(tmp_path / "kept/ami-1/root/motd")


def test_on_another_file_system_it_is_copied(tmp_path: Path) -> None:
    there = Path("/dev/shm") / f"skylift-{os.getpid()}"
    image(tmp_path / "kept", "ami-1")
    try:
        share_images(tmp_path / "kept", there)
        assert (there / "ami-1/root/motd").read_text() == "ami-1"
    finally:
        forget(there)


def forget(folder: Path) -> None:
    for file in folder.glob("ami-*.json"):
        os.utime(file, (0, 0))
    forget_unused(folder)
    folder.rmdir()


def test_a_run_gets_the_image_of_its_own_recipe(tmp_path: Path) -> None:
    for name in ("ami-1", "ami-2"):
        image(tmp_path / "kept", name)
    share_images(tmp_path / "kept", tmp_path / "run", "ami-2")
    assert sorted(each.name for each in (tmp_path / "run").iterdir()) == ["ami-2", "ami-2.json"]


def test_what_a_killed_run_left_by_half_is_made_again(tmp_path: Path) -> None:
    image(tmp_path / "run", "ami-1")
    (tmp_path / "kept/ami-1/root").mkdir(parents=True)
    share_images(tmp_path / "run", tmp_path / "kept")
    assert (tmp_path / "kept/ami-1/root/motd").read_text() == "ami-1"
    assert not (tmp_path / "kept/ami-1/ami-1").exists()


def test_what_no_run_has_used_for_two_weeks_goes(tmp_path: Path) -> None:
    old, used = image(tmp_path, "ami-1"), image(tmp_path, "ami-2")
    os.utime(old, (0, time.time() - UNUSED - 60))
    forget_unused(tmp_path)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["ami-2", used.name]
