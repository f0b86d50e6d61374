"""Trees of a program's making, which are removed whole and alone."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from mount_namespace import NAMESPACE

from skylift.agent.environment.unpack import clear_away
from skylift.agent.machine.remove_tree import remove_below

DEEP = 5000
"""Levels: more than Python calls functions in each other, than a path has names, and than a process has descriptors."""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "job"


@pytest.fixture
def deep() -> Iterator[Path]:
    """In memory: many a disk takes two milliseconds to remove a folder."""
    found = Path(tempfile.mkdtemp(dir="/dev/shm", prefix="skylift-deep-"))
    yield found / "job"
    # Also after a failure, and deeper than Python could.
    subprocess.run(["rm", "-rf", found], check=True)


def dig(place: Path, levels: int) -> None:
    """As a program does. In a process of its own, which may stand where no path leads."""
    source = f"import os\nfor _ in range({levels}):\n    open('f', 'w')\n    os.mkdir('d')\n    os.chdir('d')\n"
    place.mkdir()
    subprocess.run([sys.executable, "-c", source], cwd=place, check=True)


def opened_below(place: Path) -> list[str]:
    """What this process holds open there. Meanwhile it may close descriptors that others have left."""
    found = []
    for each in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            found.append(os.readlink(f"/proc/self/fd/{each}"))
    return [each for each in found if each.startswith(str(place))]


def test_a_tree_that_is_deeper_than_any_path(deep: Path) -> None:
    dig(deep, DEEP)
    clear_away(deep)
    assert not deep.exists()
    assert opened_below(deep) == []


def test_it_takes_two_descriptors_however_deep_it_is(place: Path) -> None:
    dig(place, 60)
    source = (
        "import resource, sys\nfrom pathlib import Path\nfrom skylift.agent.machine.remove_tree import remove_below\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (9, 9))\n"
        "remove_below(Path(sys.argv[1]).parent, Path(sys.argv[1]))\n"
    )
    subprocess.run([sys.executable, "-c", source, place], check=True)
    assert not place.exists()


def test_no_link_is_followed(place: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").touch()
    (place / "sub").mkdir(parents=True)
    (place / "sub/link").symlink_to(tmp_path / "other")
    (place / "sub/file").symlink_to(tmp_path / "other/file")
    os.mkfifo(place / "sub/fifo")
    remove_below(place.parent, place)
    assert not place.exists()
    assert [each.name for each in (tmp_path / "other").iterdir()] == ["file"]


def test_a_link_goes_itself(place: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    place.symlink_to(tmp_path / "other")
    remove_below(place.parent, place)
    assert not place.is_symlink()
    with pytest.raises(FileNotFoundError):
        remove_below(tmp_path, tmp_path / "no")
    assert (tmp_path / "other").is_dir()


@pytest.mark.parametrize("path", ["a", "a/b", "a/b/c"])
def test_a_link_on_the_way_is_removed_itself(tmp_path: Path, path: str) -> None:
    for top in ("home/a/b/c", "other/b/c", "other/c", "other"):
        (tmp_path / top).mkdir(parents=True, exist_ok=True)
        (tmp_path / top / "file").touch()
    (tmp_path / "home" / path).rename(tmp_path / "home/moved")
    (tmp_path / "home" / path).symlink_to(tmp_path / "other")
    remove_below(tmp_path / "home", tmp_path / "home/a/b/c")
    assert not os.path.lexists(tmp_path / "home" / path)
    assert sorted(str(each.relative_to(tmp_path / "other")) for each in (tmp_path / "other").rglob("file")) == [
        "b/c/file",
        "c/file",
        "file",
    ]
    assert opened_below(tmp_path) == []


def test_below_a_folder_as_anywhere(tmp_path: Path) -> None:
    (tmp_path / "a/b/c").mkdir(parents=True)
    (tmp_path / "a/b/c/file").touch()
    remove_below(tmp_path, tmp_path / "a/b")
    assert [each.name for each in tmp_path.rglob("*")] == ["a"]
    for gone in ("a/b", "a/b/c", "no/b"):
        with pytest.raises(FileNotFoundError):
            remove_below(tmp_path, tmp_path / gone)


def test_a_folder_that_is_moved_away_meanwhile_leads_nowhere_else(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the way up it has another folder above it, whose files are none of this tree."""
    (place / "a/b").mkdir(parents=True)
    (place / "a/b/file").touch()
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").touch()
    unlink = os.unlink

    def move_and_unlink(name: Any, **how: Any) -> None:
        if (place / "a/b").exists():
            (place / "a/b").rename(tmp_path / "other/b")
        unlink(name, **how)

    monkeypatch.setattr(os, "unlink", move_and_unlink)
    with pytest.raises(OSError, match="it was moved while it was removed"):
        remove_below(place.parent, place)
    assert sorted(each.name for each in (tmp_path / "other").iterdir()) == ["b", "file"]


def test_what_cannot_be_removed_is_left_and_everything_else_goes(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "a").mkdir(parents=True)
    for name in ("first", "fixed", "last", "a/file"):
        (place / name).touch()
    unlink = os.unlink

    def refuse(name: Any, **how: Any) -> None:
        if name == "fixed":
            raise PermissionError(1, "Operation not permitted", name)
        unlink(name, **how)

    monkeypatch.setattr(os, "unlink", refuse)
    with pytest.raises(PermissionError, match="fixed"):
        remove_below(place.parent, place)
    assert [each.name for each in place.iterdir()] == ["fixed"]


def remove_in_namespace(place: Path, mounting: str) -> str:
    """The error, of clear_away in a namespace where there are these mounts by then."""
    source = (
        "import os\nfrom pathlib import Path\nfrom skylift.agent.job.outcome import Ended\n"
        "from skylift.agent.environment.unpack import clear_away\n"
        "before = len(os.listdir('/proc/self/fd'))\n"
        "try:\n    clear_away(Path('job').absolute())\nexcept Ended as ended:\n    print(ended.reason)\n"
        "assert len(os.listdir('/proc/self/fd')) == before\n"
        "print(*sorted(str(each) for each in Path('job').rglob('*')))\n"
    )
    argv = [*NAMESPACE, "sh", "-ec", f'{mounting}; exec "$0" -c "$1"', sys.executable, source]
    return subprocess.run(argv, cwd=place.parent, check=True, stdout=subprocess.PIPE, text=True).stdout


@pytest.mark.parametrize("mounting", ["mount -t tmpfs none job/a/data", "mount --bind volume job/a/data"])
def test_what_is_mounted_in_it_is_left(place: Path, mounting: str) -> None:
    """Also of the disk that the tree is on."""
    for name in ("a/data", "a/b"):
        (place / name).mkdir(parents=True)
    for name in ("file", "a/file", "a/b/file"):
        (place / name).touch()
    (place.parent / "volume").mkdir()
    told = remove_in_namespace(place, f"{mounting}; mkdir job/a/data/sub; touch job/a/data/sub/theirs")
    words, left = told.splitlines()
    assert "left something mounted in its folder on this server (data)." in words
    assert left == "job/a job/a/data job/a/data/sub job/a/data/sub/theirs"


def test_what_is_mounted_on_it_is_left(place: Path) -> None:
    place.mkdir()
    told = remove_in_namespace(place, "mount -t tmpfs none job; touch job/theirs")
    words, left = told.splitlines()
    assert words.startswith("An earlier job has left something mounted")
    assert left == "job/theirs"
