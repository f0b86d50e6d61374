"""Files of a working directory whose user exchanges them while they are opened."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from at_opening import at_opening
from mount_namespace import NAMESPACE

from skylift.agent.results.open_result import WorkingFolder


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A job's folder with a working directory, and something beside it that is none of the user's."""
    found = tmp_path / "job"
    (found / "sub/deep").mkdir(parents=True)
    for path in ("sub/a.txt", "sub/deep/b.txt", "above.txt"):
        (found / path).write_text(path)
    (tmp_path / "root").mkdir()
    for name in ("a.txt", "b.txt"):
        (tmp_path / "root" / name).write_text("root's")
    return found


def read(place: Path, inner: str) -> str:
    with WorkingFolder(place, "sub") as top, os.fdopen(top.open(inner)) as file:
        return file.read()


def is_elsewhere(place: Path, inner: str) -> bool:
    with pytest.raises(OSError, match="a link that leads elsewhere"):
        read(place, inner)
    return True


def test_a_link_is_its_file_in_the_working_directory_only(place: Path) -> None:
    for name, target in (("in", "a.txt"), ("up", "../above.txt"), ("out", place.parent / "root/a.txt")):
        (place / "sub" / name).symlink_to(target)
    (place / "sub/also").symlink_to("deep")
    found = [read(place, each) for each in ("a.txt", "in", "also/b.txt")]
    assert found == ["sub/a.txt", "sub/a.txt", "sub/deep/b.txt"]
    assert is_elsewhere(place, "up")
    assert is_elsewhere(place, "out")


def test_a_file_that_becomes_a_link_in_the_moment_in_which_it_is_opened(place: Path) -> None:
    def exchange() -> None:
        (place / "sub/a.txt").unlink()
        (place / "sub/a.txt").symlink_to(place.parent / "root/a.txt")

    with at_opening("a.txt", exchange):
        assert is_elsewhere(place, "a.txt")


def test_a_folder_above_that_becomes_one(place: Path) -> None:
    def exchange() -> None:
        (place / "sub/deep").rename(place / "moved")
        (place / "sub/deep").symlink_to(place.parent / "root")

    with at_opening("deep/b.txt", exchange):
        assert is_elsewhere(place, "deep/b.txt")


def test_a_fifo_in_its_place_is_not_waited_at(place: Path) -> None:
    def exchange() -> None:
        (place / "sub/a.txt").unlink()
        os.mkfifo(place / "sub/a.txt")

    with at_opening("a.txt", exchange), pytest.raises(OSError, match="no longer a file"):
        read(place, "a.txt")


def exchange_cwd(place: Path) -> None:
    (place / "sub").rename(place / "moved")
    (place / "sub").symlink_to(place.parent / "root")


def exchange_place(place: Path) -> None:
    place.rename(place.with_name("moved"))
    (place.parent / "root/sub").mkdir()
    place.symlink_to(place.parent / "root")


@pytest.mark.parametrize("exchange", [exchange_cwd, exchange_place])
def test_a_working_directory_that_leads_elsewhere_is_none(place: Path, exchange: Callable[[Path], None]) -> None:
    exchange(place)
    with pytest.raises(OSError, match=r"a link that leads elsewhere|Not a directory"):
        read(place, "a.txt")


@pytest.mark.parametrize("exchange", [exchange_cwd, exchange_place])
def test_one_that_is_open_stays_what_it_was(place: Path, exchange: Callable[[Path], None]) -> None:
    with WorkingFolder(place, "sub") as top:
        exchange(place)
        with os.fdopen(top.open("a.txt")) as file:
            assert file.read() == "sub/a.txt"


def test_one_that_is_gone_is_told_as_such(place: Path) -> None:
    with pytest.raises(FileNotFoundError):
        WorkingFolder(place, "no")


def test_what_is_mounted_in_the_working_directory_is_in_it(place: Path) -> None:
    """A volume that the program has had mounted there, with its results."""
    source = (
        "import os, sys\nfrom pathlib import Path\n"
        "from skylift.agent.results.open_result import WorkingFolder\n"
        "with WorkingFolder(Path('job').absolute(), 'sub') as top:\n"
        "    print(os.read(top.open('volume/result.txt'), 100).decode())\n"
    )
    (place / "sub/volume").mkdir()
    script = 'mount -t tmpfs none job/sub/volume; echo -n here > job/sub/volume/result.txt; "$0" -c "$1"'
    argv = [*NAMESPACE, "sh", "-ec", script, sys.executable, source]
    done = subprocess.run(argv, cwd=place.parent, check=True, stdout=subprocess.PIPE, text=True)
    assert done.stdout == "here\n"
