"""Files of a working directory whose user exchanges them while they are opened."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from at_opening import at_opening
from mount_namespace import NAMESPACE

from skylift.runner.server.open_result import OneByOne, WorkingFolder, is_lent

ME = os.geteuid()


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


def read(place: Path, inner: str, *, cwd: str = "sub", one_by_one: bool = False) -> str | None:
    """None when it is elsewhere."""
    with WorkingFolder(place, cwd, ME) as top, OneByOne(top) as last:
        descriptor = last.open(inner) if one_by_one else top.open(inner)
        if descriptor is None:
            return None
        with os.fdopen(descriptor) as file:
            return file.read()


@pytest.mark.parametrize("one_by_one", [False, True])
def test_a_link_is_its_file_in_the_working_directory_only(place: Path, one_by_one: bool) -> None:
    for name, target in (("in", "a.txt"), ("up", "../above.txt"), ("out", place.parent / "root/a.txt")):
        (place / "sub" / name).symlink_to(target)
    (place / "sub/also").symlink_to("deep")
    found = [read(place, each, one_by_one=one_by_one) for each in ("a.txt", "in", "also/b.txt", "up", "out")]
    assert found == ["sub/a.txt", "sub/a.txt", "sub/deep/b.txt", None, None]


@pytest.mark.parametrize("one_by_one", [False, True])
def test_a_file_that_becomes_a_link_in_the_moment_in_which_it_is_opened(place: Path, one_by_one: bool) -> None:
    def exchange() -> None:
        (place / "sub/a.txt").unlink()
        (place / "sub/a.txt").symlink_to(place.parent / "root/a.txt")

    with at_opening("a.txt", exchange):
        assert read(place, "a.txt", one_by_one=one_by_one) is None


@pytest.mark.parametrize(("one_by_one", "opened"), [(False, "deep/b.txt"), (True, "deep")])
def test_a_folder_above_that_becomes_one(place: Path, one_by_one: bool, opened: str) -> None:
    def exchange() -> None:
        (place / "sub/deep").rename(place / "moved")
        (place / "sub/deep").symlink_to(place.parent / "root")

    with at_opening(opened, exchange):
        assert read(place, "deep/b.txt", one_by_one=one_by_one) is None


@pytest.mark.parametrize("one_by_one", [False, True])
def test_a_fifo_in_its_place_is_not_waited_at(place: Path, one_by_one: bool) -> None:
    def exchange() -> None:
        (place / "sub/a.txt").unlink()
        os.mkfifo(place / "sub/a.txt")

    with at_opening("a.txt", exchange), pytest.raises(OSError, match="no longer a file"):
        read(place, "a.txt", one_by_one=one_by_one)


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
    with WorkingFolder(place, "sub", ME) as top:
        exchange(place)
        descriptor = top.open("a.txt")
        assert descriptor is not None
        with os.fdopen(descriptor) as file:
            assert file.read() == "sub/a.txt"


def test_one_that_is_gone_is_told_as_such(place: Path) -> None:
    with pytest.raises(FileNotFoundError):
        WorkingFolder(place, "no", ME)


def test_another_name_of_a_file_that_the_user_may_not_read(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel lets nobody make one where fs.protected_hardlinks is set, which is so on most systems."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    os.link(place.parent / "root/a.txt", place / "sub/link.txt")
    for mode, lent in ((0o600, True), (0o640, True), (0o644, False)):
        (place / "sub/link.txt").chmod(mode)
        found = (place / "sub/link.txt").stat()
        assert (is_lent(found, ME + 1), is_lent(found, ME)) == (lent, False)
    (place / "sub/link.txt").chmod(0o600)
    with WorkingFolder(place, "sub", ME + 1) as top:
        with pytest.raises(PermissionError, match="another name of a file"):
            top.open("link.txt")
        (place.parent / "root/a.txt").unlink()
        descriptor = top.open("link.txt")
        assert descriptor is not None, "one that has no other name was written for the program"
        os.close(descriptor)


@contextmanager
def in_another_namespace(script: str, folder: Path) -> Iterator[Path]:
    """The folder as a process sees it that has run a script in a mount namespace of its own."""
    argv = [*NAMESPACE, "sh", "-ec", f"{script}; echo ready; exec cat"]
    with subprocess.Popen(argv, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin and process.stdout
        try:
            assert process.stdout.readline() == b"ready\n"
            yield Path(f"/proc/{process.pid}/root{folder}")
        finally:
            process.stdin.close()


@pytest.mark.parametrize("one_by_one", [False, True])
def test_another_namespace_has_other_files_at_the_same_paths(place: Path, one_by_one: bool) -> None:
    """There a program without root's rights may mount a file that it cannot read where it has one of its own."""
    script = "mount --bind root/a.txt job/sub/a.txt; mount --bind root job/sub/deep"
    with in_another_namespace(script, place.parent) as there:
        (place / "sub/file").symlink_to(there / "job/sub/a.txt")
        (place / "sub/folder").symlink_to(there / "job/sub/deep")
        found = [read(place, each, one_by_one=one_by_one) for each in ("file", "folder/b.txt", "a.txt", "deep/b.txt")]
        assert found == [None, None, "sub/a.txt", "sub/deep/b.txt"]
        (place / "cwd").symlink_to(there / "job/sub/deep")
        with pytest.raises(OSError, match="a link that leads elsewhere"):
            read(place, "b.txt", cwd="cwd", one_by_one=one_by_one)


def test_what_is_mounted_in_the_working_directory_is_in_it(place: Path) -> None:
    """A volume that the program has had mounted there, with its results."""
    source = (
        "import os, sys\nfrom pathlib import Path\n"
        "from skylift.runner.server.open_result import OneByOne, WorkingFolder\n"
        "with WorkingFolder(Path('job').absolute(), 'sub', os.geteuid()) as top, OneByOne(top) as last:\n"
        "    for each in (top.open, last.open):\n"
        "        print(os.read(each('volume/result.txt'), 100).decode())\n"
    )
    (place / "sub/volume").mkdir()
    script = 'mount -t tmpfs none job/sub/volume; echo -n here > job/sub/volume/result.txt; "$0" -c "$1"'
    argv = [*NAMESPACE, "sh", "-ec", script, sys.executable, source]
    done = subprocess.run(argv, cwd=place.parent, check=True, stdout=subprocess.PIPE, text=True)
    assert done.stdout == "here\nhere\n"
