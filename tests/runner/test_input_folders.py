"""Working directories of inputs that are put right for the next one: whatever the last one has done to them."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from skylift.runner.server.input_folders import _TICK, InputFolders
from skylift.runner.server.login_user import Login


class Here(Login):
    def __init__(self) -> None:
        pass

    uid, gid = os.geteuid(), os.getegid()


def contents(folder: Path) -> dict[str, Any]:
    """All that is there: links with their targets, folders, and files with what is in them."""
    found: dict[str, Any] = {}
    for place in sorted(folder.rglob("*")):
        name = str(place.relative_to(folder))
        if place.is_symlink():
            found[name] = os.readlink(place)
        elif place.is_dir():
            found[name] = oct(place.stat().st_mode)
        else:
            found[name] = place.read_bytes()
    return found


@pytest.fixture
def folders(tmp_path: Path) -> InputFolders:
    tree = tmp_path / "job"
    (tree / "data/deep").mkdir(parents=True)
    (tree / "empty").mkdir()
    for name in ("job.py", "data/a.csv", "data/deep/b.csv"):
        (tree / name).write_text(name)
    os.symlink("a.csv", tree / "data/link.csv")
    os.symlink("data", tree / "also")
    (tmp_path / "runs").mkdir()
    return InputFolders(tmp_path / "runs", tree, "data", Here())


def settled(path: Path) -> None:
    """Wait until a change shows in the time of the last one."""
    newest = max(each.lstat().st_ctime_ns for each in [path, *path.rglob("*")])
    while time.time_ns() - newest <= 2 * _TICK:
        time.sleep(0.01)


def test_it_has_links_to_the_jobs_files_in_folders_of_its_own(folders: InputFolders, tmp_path: Path) -> None:
    tree, folder = tmp_path / "job", folders.take()
    assert {name: each for name, each in contents(folder.path).items() if not each.startswith("0o")} == {
        "job.py": str(tree / "job.py"),
        "also": "data",
        "data/a.csv": str(tree / "data/a.csv"),
        "data/link.csv": "a.csv",
        "data/deep/b.csv": str(tree / "data/deep/b.csv"),
    }
    assert (folder.path / "also/link.csv").read_text() == "data/a.csv"
    assert (folder.path / "empty").is_dir()


def replace_link(folder: Path) -> None:
    (folder / "data/a.csv").unlink()
    (folder / "data/a.csv").symlink_to("/etc/passwd")


def replace_by_file(folder: Path) -> None:
    (folder / "job.py").unlink()
    (folder / "job.py").write_text("another")


def add(folder: Path) -> None:
    (folder / "data/out").mkdir()
    (folder / "data/out/sum.json").write_text("1")
    (folder / "data/deep/new").symlink_to("/")
    (folder / "fifo.csv").symlink_to("nowhere")
    os.mkfifo(folder / "empty/fifo")


def swap(folder: Path) -> None:
    (folder / "data/a.csv").rename(folder / "data/x")
    (folder / "data/deep/b.csv").rename(folder / "data/a.csv")
    (folder / "data/x").rename(folder / "data/deep/b.csv")


def set_the_clock_back(folder: Path) -> None:
    place, before = folder / "data", (folder / "data").stat()
    replace_link(folder)
    os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))


def remove_link(folder: Path) -> None:
    (folder / "data/link.csv").unlink()


def shut(folder: Path) -> None:
    (folder / "data").chmod(0o700)


def open_to_all(folder: Path) -> None:
    (folder / "data/deep").chmod(0o777)


def remove_folder(folder: Path) -> None:
    shutil.rmtree(folder / "data/deep")


def replace_folder(folder: Path) -> None:
    (folder / "data/deep").rename(folder / "data/deep.old")
    shutil.copytree(folder / "data/deep.old", folder / "data/deep", symlinks=True)


def replace_folder_by_link(folder: Path) -> None:
    (folder / "data/deep").rename(folder / "deep")
    (folder / "data/deep").symlink_to("../deep")


def swap_folders(folder: Path) -> None:
    (folder / "data/deep").rename(folder / "x")
    (folder / "empty").rename(folder / "data/deep")
    (folder / "x").rename(folder / "empty")


def remove_all(folder: Path) -> None:
    shutil.rmtree(folder)


def nothing(_: Path) -> None:
    pass


MENDED = [nothing, replace_link, replace_by_file, add, swap, set_the_clock_back, remove_link]
MADE_ANEW = [shut, open_to_all, remove_folder, replace_folder, replace_folder_by_link, swap_folders, remove_all]


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("meddle", [*MENDED, *MADE_ANEW])
def test_the_next_input_finds_what_the_first_one_found(
    folders: InputFolders, meddle: Callable[[Path], None], *, at_once: bool
) -> None:
    """Also where the last one was so quick that the file system's clock has not moved on."""
    folder = folders.take()
    first = contents(folder.path)
    for _ in range(3):
        if not at_once:
            settled(folder.path)
        meddle(folder.path)
        folders.give_back(folder)
        there = folder.path.exists()
        folder = folders.take()
        assert contents(folder.path) == first
        assert there == (meddle in MENDED)
    folders.remove(folder)


def test_two_inputs_at_a_time_have_a_folder_each(folders: InputFolders) -> None:
    first, second = folders.take(), folders.take()
    assert first.path != second.path
    folders.give_back(first)
    assert folders.take() is first


def test_the_working_directory_is_there_also_if_no_file_of_the_job_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "job").mkdir()
    (tmp_path / "job/a").touch()
    folders = InputFolders(tmp_path / "runs", tmp_path / "job", "sub/below", Here())
    (tmp_path / "runs").mkdir()
    folder = folders.take()
    (folder.path / "sub/below/out").touch()
    folders.give_back(folder)
    assert sorted(contents(folders.take().path)) == ["a", "sub", "sub/below"]


def test_a_folder_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "job").mkdir()
    folders = InputFolders(tmp_path / "runs", tmp_path / "job", ".", Here())
    with pytest.raises(FileNotFoundError):
        folders.take()
    (tmp_path / "runs").mkdir()
    assert folders.take().path.is_dir()
