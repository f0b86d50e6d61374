"""Which files travel, and the archive they travel in."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from skylift.runner.bundle import find_project, list_project, plan_bundle, write_archive
from skylift.runner.errors import UsageError
from skylift.runner.job import Bundle


def write(folder: Path, *places: str, text: str = "x") -> None:
    for place in places:
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def git(folder: Path, *words: str) -> None:
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-C", str(folder), *words]
    subprocess.run(command, check=True, capture_output=True)


def places(bundle: Bundle) -> list[str]:
    return [place for place, _ in bundle.files]


def packed(bundle: Bundle) -> bytes:
    buffer = io.BytesIO()
    write_archive(bundle, buffer)
    return buffer.getvalue()


def unpacked(bundle: Bundle) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(packed(bundle))) as tar:
        return {entry.name: entry for entry in tar}


def test_git_project_goes_by_its_ignore_rules(tmp_path: Path) -> None:
    write(tmp_path, "a.py", "sub/b.py", "data/big.bin", "sub/.env", "untracked.txt", "build/out.o")
    write(tmp_path, ".gitignore", text="/data\n.env\nbuild/\n")
    git(tmp_path, "init")
    git(tmp_path, "add", "a.py", "sub/b.py")
    assert list_project(tmp_path) == [".gitignore", "a.py", "sub/b.py", "untracked.txt"]


def test_tracked_file_that_was_deleted_does_not_stop_it(tmp_path: Path) -> None:
    write(tmp_path, "a.py", "gone.py")
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    (tmp_path / "gone.py").unlink()
    assert list_project(tmp_path) == ["a.py"]


def test_tracked_file_goes_even_when_it_is_ignored(tmp_path: Path) -> None:
    write(tmp_path, "kept.log", "other.log")
    git(tmp_path, "init")
    git(tmp_path, "add", "kept.log")
    write(tmp_path, ".gitignore", text="*.log\n")
    assert list_project(tmp_path) == [".gitignore", "kept.log"]


def test_nested_repository_goes_by_its_own_rules(tmp_path: Path) -> None:
    write(tmp_path, "a.py", "inner/b.py", "inner/secret")
    write(tmp_path / "inner", ".gitignore", text="secret\n")
    git(tmp_path, "init")
    git(tmp_path / "inner", "init")
    assert list_project(tmp_path) == ["a.py", "inner/.gitignore", "inner/b.py"]


def test_project_without_git_still_obeys_gitignore(tmp_path: Path) -> None:
    write(tmp_path, "pyproject.toml", "a.py", "junk/b")
    write(tmp_path, ".gitignore", text="junk\n")
    assert list_project(tmp_path) == [".gitignore", "a.py", "pyproject.toml"]
    assert not (tmp_path / ".git").exists()


def test_names_that_git_would_quote(tmp_path: Path) -> None:
    write(tmp_path, 'quo"te.py', "new\nline.py", "ünï.py", " lead.py")
    git(tmp_path, "init")
    assert set(list_project(tmp_path)) == {'quo"te.py', "new\nline.py", "ünï.py", " lead.py"}
    assert set(unpacked(plan_bundle(tmp_path, tmp_path, [], []))) == set(list_project(tmp_path))


@pytest.mark.parametrize("mark", ["pyproject.toml", ".git/HEAD"])
def test_project_is_the_nearest_folder_with_a_mark(tmp_path: Path, mark: str) -> None:
    write(tmp_path, mark, "deep/er/x.py")
    assert find_project(tmp_path / "deep" / "er") == tmp_path


def test_home_is_nobodys_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "pyproject.toml", "work/x.py")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_project(tmp_path / "work") is None


def test_inputs_keep_their_place(tmp_path: Path) -> None:
    write(tmp_path, "data/a.csv", "data/deep/b.csv", "data/c.txt", "one.txt")
    bundle = plan_bundle(tmp_path, None, [], ["data/**/*.csv", "one.txt", str(tmp_path / "data" / "c.txt")])
    assert places(bundle) == ["data/a.csv", "data/c.txt", "data/deep/b.csv", "one.txt"]
    assert bundle.size == 4


def test_folder_is_taken_whole_also_what_git_ignores(tmp_path: Path) -> None:
    write(tmp_path, "a.py", "data/x", "data/deep/y")
    write(tmp_path, ".gitignore", text="data\n")
    git(tmp_path, "init")
    assert places(plan_bundle(tmp_path, tmp_path, [], ["data"])) == [".gitignore", "a.py", "data/deep/y", "data/x"]


def test_inputs_inside_the_project_but_above_the_working_directory(tmp_path: Path) -> None:
    write(tmp_path, "pyproject.toml", "shared/x.csv", "app/a.py")
    write(tmp_path, ".gitignore", text="shared\n")
    bundle = plan_bundle(tmp_path / "app", tmp_path, [], ["../shared/x.csv"])
    assert "shared/x.csv" in places(bundle)
    assert bundle.cwd == "app"


def test_input_outside_is_an_error_with_advice(tmp_path: Path) -> None:
    write(tmp_path, "other.txt", "work/x.py")
    with pytest.raises(UsageError, match=r"other\.txt is outside") as caught:
        plan_bundle(tmp_path / "work", None, [], ["../other.txt"])
    assert caught.value.advice


@pytest.mark.parametrize("text", ["nothing", "nothing-*.csv", "sub/nothing"])
def test_input_that_is_not_there(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match="nothing"):
        plan_bundle(tmp_path, None, [], [text])


def test_file_with_a_name_like_a_glob(tmp_path: Path) -> None:
    write(tmp_path, "a[1].csv")
    assert places(plan_bundle(tmp_path, None, [], ["a[1].csv"])) == ["a[1].csv"]


def test_unreadable_input_is_told_before_anything_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "secret.txt")
    # Root may read everything, so the kernel's answer is given here.
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).endswith("secret.txt"))
    with pytest.raises(UsageError, match=r"secret\.txt cannot be read"):
        plan_bundle(tmp_path, None, [], ["secret.txt"])


def test_special_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    write(tmp_path, "a.py", "pyproject.toml")
    with pytest.raises(UsageError, match="not a regular file"):
        plan_bundle(tmp_path, None, [], ["pipe"])


def test_links(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    project = tmp_path / "project"
    write(outside, "big.bin", text="12345")
    write(project, "pyproject.toml", "a.py", "sub/b.py")
    git(project, "init")
    (project / "inside").symlink_to("a.py")
    (project / "folder").symlink_to("sub")
    (project / "far").symlink_to(outside / "big.bin")
    (project / "far-folder").symlink_to(outside)
    (project / "nowhere").symlink_to("missing")
    bundle = plan_bundle(project, project, [], [])
    entries = unpacked(bundle)
    assert entries["inside"].linkname == "a.py"
    assert entries["folder"].linkname == "sub"
    assert entries["far"].isreg()
    assert entries["far"].size == 5
    assert "far-folder" not in entries
    assert "nowhere" not in entries
    assert [note.split()[0] for note in bundle.notes] == ["far-folder", "nowhere"]


def test_link_to_a_folder_is_taken_by_in(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    project = tmp_path / "project"
    write(outside, "big.bin", "deep/small.bin")
    write(project, "pyproject.toml")
    (project / "data").symlink_to(outside)
    bundle = plan_bundle(project, project, [], ["data"])
    assert {name for name, entry in unpacked(bundle).items() if entry.isreg()} == {
        "pyproject.toml",
        "data/big.bin",
        "data/deep/small.bin",
    }


def test_link_in_the_project_and_its_content_by_in(tmp_path: Path) -> None:
    write(tmp_path, "pyproject.toml", "sub/b.py")
    git(tmp_path, "init")
    (tmp_path / "folder").symlink_to("sub")
    entries = unpacked(plan_bundle(tmp_path, tmp_path, [], ["folder"]))
    assert set(entries) == {"pyproject.toml", "sub/b.py", "folder/b.py"}


def test_archive_is_the_same_for_the_same_content(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(tmp_path / name, "b.py", "a/c.py", text="same")
    os.utime(tmp_path / "two" / "b.py", (1, 1))
    (tmp_path / "two" / "b.py").chmod(0o600)
    first, second = (packed(plan_bundle(tmp_path / name, None, [], ["b.py", "a"])) for name in ("one", "two"))
    assert first == second


def test_archive_keeps_what_can_be_executed(tmp_path: Path) -> None:
    write(tmp_path, "tool.sh", "data.txt")
    (tmp_path / "tool.sh").chmod(0o755)
    entries = unpacked(plan_bundle(tmp_path, None, [], ["tool.sh", "data.txt"]))
    assert (entries["tool.sh"].mode, entries["data.txt"].mode) == (0o755, 0o644)
    assert {entry.uid for entry in entries.values()} == {0}
    assert {entry.mtime for entry in entries.values()} == {0}


def test_empty_file_and_large_file_arrive(tmp_path: Path) -> None:
    write(tmp_path, "empty", text="")
    (tmp_path / "large").write_bytes(os.urandom(3 << 20))
    with tarfile.open(fileobj=io.BytesIO(packed(plan_bundle(tmp_path, None, [], ["empty", "large"])))) as tar:
        large = tar.extractfile("large")
        assert large is not None
        assert large.read() == (tmp_path / "large").read_bytes()
        assert tar.getmember("empty").size == 0


def test_data_that_gains_nothing_is_stored(tmp_path: Path) -> None:
    (tmp_path / "noise").write_bytes(os.urandom(5 << 20))
    (tmp_path / "text").write_bytes(b"the same words " * (5 << 16))
    assert len(packed(plan_bundle(tmp_path, None, [], ["noise"]))) > 5 << 20
    assert len(packed(plan_bundle(tmp_path, None, [], ["text"]))) < 1 << 18
    with tarfile.open(fileobj=io.BytesIO(packed(plan_bundle(tmp_path, None, [], ["noise"])))) as tar:
        member = tar.extractfile("noise")
        assert member is not None
        assert member.read() == (tmp_path / "noise").read_bytes()


def test_script_outside_goes_alone_under_its_own_name(tmp_path: Path) -> None:
    write(tmp_path, "elsewhere/x.py", "work/y.py")
    bundle = plan_bundle(tmp_path / "work", None, [tmp_path / "elsewhere" / "x.py"], [])
    assert bundle.files == (("x.py", tmp_path / "elsewhere" / "x.py"),)
