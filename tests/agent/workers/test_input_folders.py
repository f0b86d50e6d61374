"""Working directories of inputs, which root makes and the inputs' user has."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.deep_tree import deepen

from skylift.agent.job.login_user import Login
from skylift.agent.machine.remove_tree import remove_below
from skylift.agent.workers.input_folders import InputFolders, make_unchangeable

WATCHED = """
import os, sys
from pathlib import Path
from skylift.agent.workers.input_folders import InputFolders

class Other:
    uid, gid = (65534, 65534) if os.geteuid() == 0 else (os.geteuid(), os.getegid())

ours, seen = os.geteuid(), []

def watch(event, args):
    if event in ("os.mkdir", "os.symlink", "os.chown"):
        place = args[event == "os.symlink"]
        above = os.path.dirname(place)
        seen.append((event, place, above.startswith(sys.argv[2]) and os.lstat(above).st_uid))

folders = InputFolders(Path(sys.argv[1]), "sub/below", Other())
sys.addaudithook(watch)
folders.make(Path(sys.argv[2]))
for event, place, owner in seen:
    assert owner in (False, ours), (event, place)
for each in (sys.argv[2], *(os.path.join(place, name) for place, names, _ in os.walk(sys.argv[2]) for name in names)):
    assert os.path.islink(each) or os.lstat(each).st_uid == Other.uid, each
print(len([each for each in seen if each[0] == "os.mkdir"]))
"""

TAKEN = """
import os, stat, sys
from pathlib import Path
from skylift.agent.workers.input_folders import make_unchangeable

ours, seen = os.geteuid(), []

def watch(event, args):
    if event in ("os.chmod", "os.chown"):
        place, folder = args[0], args[-1]
        if isinstance(place, int):
            seen.append("folder")
            return
        assert folder >= 0 and "/" not in place, (event, args)
        above = os.fstat(folder)
        assert above.st_uid == ours and not above.st_mode & 0o222, (event, args)
        seen.append("file")

sys.addaudithook(watch)
make_unchangeable(Path(sys.argv[1]))
print(seen.count("folder") > 0, seen.count("file") > 0)
"""


class Here(Login):
    def __init__(self) -> None:
        pass

    uid, gid = os.geteuid(), os.getegid()


def contents(folder: Path) -> dict[str, Any]:
    """All that is there: links with their targets, and folders with their modes."""
    found: dict[str, Any] = {}
    for place in sorted(folder.rglob("*")):
        inner = str(place.relative_to(folder))
        found[inner] = os.readlink(place) if place.is_symlink() else oct(place.stat().st_mode & 0o7777)
    return found


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "job"
    (tree / "data/deep").mkdir(parents=True)
    (tree / "empty").mkdir()
    for name in ("job.py", "data/a.csv", "data/deep/b.csv"):
        (tree / name).write_text(name)
    os.symlink("a.csv", tree / "data/link.csv")
    os.symlink("data", tree / "also")
    return tree


def test_it_has_links_to_the_jobs_files_in_folders_of_its_own(tree: Path, tmp_path: Path) -> None:
    folders = InputFolders(tree, "data", Here())
    for path in (tmp_path / "first", tmp_path / "second"):
        folders.make(path)
        assert contents(path) == {
            "job.py": str(tree / "job.py"),
            "also": "data",
            "empty": "0o755",
            "data": "0o755",
            "data/a.csv": str(tree / "data/a.csv"),
            "data/link.csv": "a.csv",
            "data/deep": "0o755",
            "data/deep/b.csv": str(tree / "data/deep/b.csv"),
        }
        assert (path / "also/link.csv").read_text() == "data/a.csv"


@pytest.mark.parametrize(
    ("cwd", "added"),
    [("sub/below", {"sub": "0o755", "sub/below": "0o755"}), ("data/new", {"data/new": "0o755"}), ("also/new", {})],
)
def test_the_working_directory_is_there_also_if_no_file_of_the_job_is_in_it(
    tree: Path, tmp_path: Path, cwd: str, added: dict[str, str]
) -> None:
    """But nothing is made through a link."""
    InputFolders(tree, ".", Here()).make(tmp_path / "without")
    InputFolders(tree, cwd, Here()).make(tmp_path / "with")
    assert contents(tmp_path / "with") == contents(tmp_path / "without") | added


def test_root_does_nothing_in_a_folder_that_the_inputs_user_has(tree: Path, tmp_path: Path) -> None:
    """Another input can exchange what is below, and root would follow."""
    argv = [sys.executable, "-c", WATCHED, str(tree), str(tmp_path / "made")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "6\n", "")


def test_one_that_is_there_already_is_an_error(tree: Path, tmp_path: Path) -> None:
    folders = InputFolders(tree, ".", Here())
    folders.make(tmp_path / "made")
    with pytest.raises(FileExistsError):
        folders.make(tmp_path / "made")


def test_no_file_of_the_job_can_be_changed(tree: Path) -> None:
    (tree / "run.sh").touch(0o755)
    make_unchangeable(tree)
    for each in (tree, *tree.rglob("*")):
        assert each.is_symlink() or not each.stat().st_mode & 0o222, each
        assert os.geteuid() or each.lstat().st_uid == 0
    assert (tree / "run.sh").stat().st_mode & 0o777 == 0o555
    assert os.readlink(tree / "also") == "data"


def test_root_changes_nothing_in_a_folder_that_its_user_still_has(tree: Path) -> None:
    """A process that a build has left could put a link to any file there."""
    done = subprocess.run([sys.executable, "-c", TAKEN, str(tree)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "True True\n", "")


def test_a_link_in_the_place_of_the_jobs_folder_is_not_followed(tree: Path, tmp_path: Path) -> None:
    tree.rename(tmp_path / "other")
    tree.symlink_to(tmp_path / "other")
    with pytest.raises(NotADirectoryError):
        make_unchangeable(tree)
    assert (tmp_path / "other/job.py").stat().st_mode & 0o200


def test_folders_in_folders_are_there_for_each_input(tree: Path, tmp_path: Path) -> None:
    deepen(tree / "deep", 1_500)
    InputFolders(tree, ".", Here()).make(tmp_path / "input")
    assert (tmp_path / "input/deep" / ("d/" * 1_500) / "end").is_symlink()
    for each in (tree / "deep", tmp_path / "input"):
        remove_below(each.parent, each)
