"""Repositories of somebody else's, whose own settings and index are traps: their files are listed, and that is all."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from skylift.client.errors import UsageError
from skylift.client.ship import git as asking
from skylift.client.ship.bundle import list_project, plan_bundle


def git(folder: Path, *words: str) -> None:
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-C", str(folder), *words]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """What each trap would make."""
    return tmp_path / "canary"


@pytest.fixture
def trap(tmp_path: Path, canary: Path) -> Path:
    """A program for settings that name one."""
    path = tmp_path / "trap"
    path.write_text(f"#!/bin/sh\ntouch {canary}\nexit 1\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "a.py").write_text("print()\n")
    git(folder, "init", "--initial-branch=main")
    git(folder, "add", ".")
    git(folder, "commit", "-m", "first")
    return folder


@pytest.fixture(params=["git", "git before 2.45"])
def git_version(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The older one does not know the variable that forbids lazy fetches."""
    if request.param != "git":
        real = shutil.which("git")
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin/git").write_text(f'#!/bin/sh\nunset GIT_NO_LAZY_FETCH\nexec {real} "$@"\n')
        (tmp_path / "bin/git").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")


def make_partial(folder: Path, *settings: tuple[str, str]) -> None:
    """As a partial clone that lacks its ignore rules: git fetches them when it lists the files."""
    (folder / ".gitignore").write_text("build/\n")
    git(folder, "add", ".gitignore")
    found = subprocess.run(
        ["git", "-C", str(folder), "rev-parse", ":.gitignore"], check=True, capture_output=True, text=True
    )
    git(folder, "update-index", "--skip-worktree", ".gitignore")
    (folder / ".gitignore").unlink()
    blob = found.stdout.strip()
    (folder / ".git/objects" / blob[:2] / blob[2:]).unlink()
    git(folder, "config", "core.repositoryFormatVersion", "1")
    git(folder, "config", "extensions.partialClone", "origin")
    git(folder, "config", "remote.origin.promisor", "true")
    for name, value in settings:
        git(folder, "config", name, value)


@pytest.mark.usefixtures("git_version")
@pytest.mark.parametrize(
    "settings",
    [
        (("remote.origin.url", "ssh://host.invalid/x"), ("core.sshCommand", "TRAP")),
        (("remote.origin.url", "ext::TRAP"), ("protocol.ext.allow", "always")),
        (("remote.origin.url", "."), ("remote.origin.uploadpack", "TRAP"), ("protocol.allow", "always")),
        (("remote.origin.url", "git://host.invalid/x"), ("core.gitProxy", "TRAP")),
        (("remote.origin.url", "https://host.invalid/x"), ("credential.helper", "!TRAP"), ("http.proxy", "x:y@z")),
    ],
    ids=lambda settings: settings[-1][0] if settings[-1][0].startswith("core") else settings[1][0],
)
def test_a_partial_clone_fetches_nothing(
    project: Path, trap: Path, canary: Path, settings: tuple[tuple[str, str], ...]
) -> None:
    make_partial(project, *((name, value.replace("TRAP", str(trap))) for name, value in settings))
    assert list_project(project) == ["a.py"]
    assert not canary.exists()


@pytest.mark.parametrize(
    "name",
    [
        "core.fsmonitor",
        "core.pager",
        "pager.ls-files",
        "alias.ls-files",
        "core.sshCommand",
        "core.alternateRefsCommand",
        "core.editor",
        "core.askPass",
        "diff.external",
        "filter.trap.process",
        "filter.trap.clean",
        "filter.trap.smudge",
    ],
)
def test_no_program_of_the_settings_is_run(project: Path, trap: Path, canary: Path, name: str) -> None:
    (project / ".gitattributes").write_text("* filter=trap diff=trap\n")
    (project / "a.py").write_text("changed\n")
    git(project, "config", name, f"!{trap}" if name.startswith("alias") else str(trap))
    assert list_project(project) == [".gitattributes", "a.py"]
    assert not canary.exists()


def test_settings_that_are_included_are_the_repositorys_too(project: Path, trap: Path, canary: Path) -> None:
    (project / "more").write_text(f"[core]\n\tfsmonitor = {trap}\n")
    git(project, "config", "include.path", "../more")
    assert list_project(project) == ["a.py", "more"]
    assert not canary.exists()


def test_no_hook_is_run(project: Path, trap: Path, canary: Path) -> None:
    for hook in ("post-index-change", "fsmonitor-watchman", "reference-transaction", "post-checkout"):
        shutil.copy(trap, project / ".git/hooks" / hook)
    (project / "hooks").mkdir()
    shutil.copy(trap, project / "hooks/post-index-change")
    git(project, "config", "core.hooksPath", "hooks")
    os.utime(project / "a.py", (1, 1))
    assert list_project(project) == ["a.py", "hooks/post-index-change"]
    assert not canary.exists()


def test_a_nested_repository_is_no_way_around(project: Path, trap: Path, canary: Path) -> None:
    inner = project / "inner"
    inner.mkdir()
    (inner / "b.py").write_text("print()\n")
    git(inner, "init")
    make_partial(inner, ("remote.origin.url", "ssh://host.invalid/x"), ("core.sshCommand", str(trap)))
    git(inner, "config", "core.fsmonitor", str(trap))
    assert list_project(project) == ["a.py", "inner/b.py"]
    assert not canary.exists()


def test_what_the_caller_inherited_is_about_another_repository(
    project: Path, tmp_path: Path, trap: Path, canary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a hook of git's: what is set there would list that repository's files, or run its programs."""
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git/index"))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.fsmonitor")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", str(trap))
    (project / "untracked.txt").write_text("x")
    assert list_project(project) == ["a.py", "untracked.txt"]
    assert not canary.exists()


def test_a_repository_cannot_say_that_its_files_are_elsewhere(project: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "secret").write_text("secret")
    git(project, "config", "core.worktree", str(elsewhere))
    assert list_project(project) == ["a.py"]


def test_a_folder_that_is_called_like_a_repository_is_not_taken_for_one_above(project: Path) -> None:
    inner = project / "inner"
    (inner / ".git").mkdir(parents=True)
    with pytest.raises(UsageError, match="not a git repository"):
        list_project(inner)


def rewrite_index(project: Path, before: bytes, after: bytes) -> None:
    """Names in the index that git would not write there itself, but reads."""
    assert len(before) == len(after)
    path = project / ".git/index"
    content = path.read_bytes()[:-20]
    assert content.count(before) == 1
    content = content.replace(before, after)
    path.write_bytes(content + hashlib.sha1(content).digest())


@pytest.mark.parametrize("name", ["../secret", "x/../../secret", ".git/config", "x/.GIT/config", "ABSOLUTE"])
def test_an_index_cannot_name_what_is_not_the_projects(project: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text("secret")
    (project / "x/.GIT").mkdir(parents=True)
    (project / "x/.GIT/config").write_text("secret")
    wanted = str(tmp_path / "secret") if name == "ABSOLUTE" else name
    stand_in = project / ("y" * len(wanted))
    stand_in.write_text("x")
    git(project, "add", stand_in.name)
    rewrite_index(project, stand_in.name.encode(), wanted.encode())
    stand_in.unlink()
    bundle = plan_bundle(project, project, [], [])
    assert [each.place for each in bundle.files] == ["a.py"]
    assert any(repr(wanted)[1:-1] in note for note in bundle.notes)


def test_tracked_file_behind_a_link_to_a_folder(project: Path, tmp_path: Path) -> None:
    """git lists it by the name that it is tracked by, whatever stands there now."""
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys/id").write_text("secret")
    (project / "conf").mkdir()
    (project / "conf/id").write_text("x")
    git(project, "add", ".")
    shutil.rmtree(project / "conf")
    (project / "conf").symlink_to(tmp_path / "keys")
    bundle = plan_bundle(project, project, [], [])
    assert [each.place for each in bundle.files] == ["a.py"]
    assert any(note.startswith("conf/id ") for note in bundle.notes)


def test_a_repository_of_another_user_says_what_to_do(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only root can give files away; git's own tests have this variable for that."""
    real = shutil.which("git")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/git").write_text(f'#!/bin/sh\nGIT_TEST_ASSUME_DIFFERENT_OWNER=1 exec {real} "$@"\n')
    (tmp_path / "bin/git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    with pytest.raises(UsageError, match="of another user") as caught:
        list_project(project)
    assert f"safe.directory {project}" in caught.value.advice


def test_listing_has_an_end(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings that are read from a pipe, into which nobody writes."""
    os.mkfifo(project / "pipe")
    git(project, "config", "include.path", "../pipe")
    monkeypatch.setattr(asking, "_PATIENCE", 0.5)
    with pytest.raises(UsageError, match=r"within 0\.5 seconds"):
        list_project(project)


def test_nothing_of_the_repository_is_changed(project: Path) -> None:
    def look() -> dict[Path, tuple[int, bytes]]:
        return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in project.rglob("*") if path.is_file()}

    os.utime(project / "a.py", (1, 1))
    before = look()
    list_project(project)
    assert look() == before
