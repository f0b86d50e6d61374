"""What results do not replace, in the repository that they come to: what git tracks, unless the user has said so, and
a virtual environment."""

from __future__ import annotations

import os
import subprocess
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stored_results import BUCKET, PREFIX, send, told

from skylift.client.collect.results import Manifest, bring_home
from skylift.client.collect.spared import spared
from skylift.client.job.job import Program
from skylift.client.job.outcome import Result
from skylift.client.job.record import encode_record, parse_record
from skylift.client.map.inputs import Inputs
from skylift.client.map.places import Template
from skylift.client.map.planning import MapLimits, plan_map
from skylift.client.map.spec import encode_spec, parse_spec
from skylift.client.plan.plan_job import Order, plan_job
from skylift.client.remote.api import Api


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    (folder / "sub").mkdir(parents=True)
    for place in ("Makefile", "sub/conftest.py", "untracked", "same"):
        (folder / place).write_text("mine")
    git(folder, "init")
    git(folder, "add", "Makefile", "sub", "same")
    return folder


def bring(api: Api, home: Path, *outputs: str, said: bool) -> Manifest:
    manifest = replace(told(api, *outputs), spares_tracked=not said)
    return bring_home(api, BUCKET, PREFIX, manifest, home, lambda _: None)


def written(home: Path) -> set[str]:
    """What a job has written."""
    found = (each for each in home.rglob("*") if ".git" not in each.parts and each.is_file())
    return {each.relative_to(home).as_posix() for each in found if each.read_text() == "theirs"}


THEIRS = dict.fromkeys(("Makefile", "sub/conftest.py", "untracked", "new", "sub/new"), b"theirs")


def test_what_git_tracks_stays_when_only_a_table_asked(api: Api, bucket: str, home: Path) -> None:
    send(api, **THEIRS, same=b"mine")
    brought = bring(api, home, "*", said=False)
    assert written(home) == {"untracked", "new", "sub/new"}
    assert (home / "Makefile").read_text() == "mine"
    assert [each.path for each in brought.missing] == ["Makefile", "sub/conftest.py"]
    assert "git tracks another one here" in brought.missing[0].reason
    assert {each.path for each in brought.results} == {"untracked", "new", "sub/new", "same"}


def test_the_record_says_who_asked(tmp_path: Path) -> None:
    """Whoever fetches the results later, from wherever."""
    (tmp_path / "job.py").touch()
    for spares in (True, False):
        job = plan_job(Order(Program("script", "job.py"), outputs=("a*",), spares_tracked=spares), tmp_path, {})
        record = parse_record("key", encode_record(job, created=1, deadline=2, packs=()))
        assert (record.outputs, record.spares_tracked) == (("a*",), spares)
        _, spec = plan_map(job, Inputs(()), MapLimits(), Template())
        assert parse_spec(encode_spec(spec)).spares_tracked == spares


def test_the_command_line_may_replace_it(api: Api, bucket: str, home: Path) -> None:
    send(api, **THEIRS)
    assert bring(api, home, "*", said=True).missing == ()
    assert written(home) == set(THEIRS)


@pytest.mark.parametrize("where", ["subfolder", "nested", "link to it", "worktree"])
def test_the_repository_is_that_of_each_file(api: Api, bucket: str, home: Path, tmp_path: Path, where: str) -> None:
    send(api, **{"conftest.py": b"theirs", "sub/conftest.py": b"theirs", "inner/a": b"theirs"})
    target = home
    if where == "subfolder":
        target = home / "sub"
    elif where == "nested":
        (home / "inner").mkdir()
        (home / "inner/a").write_text("mine")
        git(home / "inner", "init")
        git(home / "inner", "add", "a")
    elif where == "link to it":
        target = tmp_path / "link"
        target.symlink_to(home)
    else:
        git(home, "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-m", "first")
        git(home, "worktree", "add", str(tmp_path / "tree"))
        target = tmp_path / "tree"
    bring(api, target, "**", said=False)
    tracked = {"subfolder": {"conftest.py"}, "nested": {"sub/conftest.py", "inner/a"}}.get(where, {"sub/conftest.py"})
    assert written(target) == {"conftest.py", "sub/conftest.py", "inner/a"} - tracked


@pytest.mark.parametrize("broken", ["no git", "no repository"])
def test_where_git_cannot_tell_nothing_is_replaced(
    api: Api, bucket: str, home: Path, tmp_path: Path, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(api, **THEIRS)
    if broken == "no git":
        monkeypatch.setenv("PATH", str(tmp_path))
    else:
        (home / ".git/HEAD").write_text("nonsense")
    bring(api, home, "*", said=False)
    assert written(home) == {"new", "sub/new"}


def test_a_name_that_some_file_systems_take_for_another(api: Api, bucket: str, home: Path) -> None:
    """The file of that name is there, as it is where case is ignored."""
    (home / "makefile").write_text("mine")
    send(api, makefile=b"theirs", MAKEFILE=b"theirs")
    assert [each.path for each in bring(api, home, "*", said=False).missing] == ["makefile"]


def test_a_name_that_some_file_systems_spell_in_another_way(api: Api, bucket: str, home: Path) -> None:
    """APFS and ext4 with its `casefold` find the file by all of these names, so that it is there."""
    names = [unicodedata.normalize(form, "ré\u00dfum\u00e9") for form in ("NFC", "NFD")]
    names += ["r\u00e9ssum\u00e9", "r\u200d\u00e9\u00dfum\u00e9"]
    for name in names:
        (home / name).write_text("mine")
    git(home, "add", names[0])
    send(api, **dict.fromkeys(names, b"theirs"))
    assert sorted(each.path for each in bring(api, home, "*", said=False).missing) == sorted(names)
    assert written(home) == set()


def test_folders_that_are_not_here_are_not_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server can name some ten thousand results, each in two thousand folders of its own."""
    looks: list[object] = []
    real = os.access

    def counted(path: Any, mode: int) -> bool:
        looks.append(path)
        return real(path, mode)

    monkeypatch.setattr(os, "access", counted)
    deep = [Result(f"{number}{'/d' * 2_000}", 1, "0" * 64) for number in range(50)]
    assert spared(deep, tmp_path, tracked=True) == {}
    assert len(looks) <= 2 * len(deep)


@pytest.mark.parametrize("inner", ["pyvenv.cfg/x", "n" * 256, "/".join(["n" * 250] * 16)])
def test_what_no_file_here_can_be_is_not_here(tmp_path: Path, inner: str) -> None:
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv/pyvenv.cfg").touch()
    assert list(spared([Result(f"venv/{inner}", 1, "0" * 64)], tmp_path, tracked=False)) == [f"venv/{inner}"]


HEAD = {
    "HEAD": b"ref: refs/heads/x\n",
    "config": b'[core]\nrepositoryformatversion = 0\nbare = false\nworktree = .\nfsmonitor = "echo > planted;false"\n',
    "objects/x": b"x",
    "refs/x": b"x",
    "info/exclude": b"",
}


def test_results_make_no_folder_a_repository(api: Api, bucket: str, tmp_path: Path) -> None:
    """git takes a folder with these for one, without a `.git`, and runs its programs at `git status`: so does a prompt
    that shows the branch."""
    send(api, **{f"out/{name}": body for name, body in HEAD.items()})
    for outputs in (("out",), ("**",), ("out/**", "out/*"), (".",)):
        brought = bring(api, tmp_path, *outputs, said=True)
        subprocess.run(["git", "status"], cwd=tmp_path / "out", check=False, capture_output=True)
        assert not (tmp_path / "out/planted").exists()
        assert brought.not_written == ("out/HEAD",)
    assert (tmp_path / "out/config").exists()
    assert bring(api, tmp_path, "out/HEAD", said=True).missing == ()
    assert (tmp_path / "out/HEAD").exists(), "who names it gets it"


@pytest.mark.parametrize("mark", ["pyvenv.cfg", "conda-meta/history"])
@pytest.mark.parametrize("said", [True, False])
def test_nothing_is_written_into_a_virtual_environment(
    api: Api, bucket: str, tmp_path: Path, mark: str, said: bool
) -> None:
    """A `.pth` file there is run by each start of its Python."""
    (tmp_path / "venv" / mark).parent.mkdir(parents=True)
    (tmp_path / "venv" / mark).touch()
    send(
        api, **{"venv/lib/x.pth": b"theirs", f"venv/{mark}": b"theirs", "new/pyvenv.cfg": b"theirs", "new/x": b"theirs"}
    )
    for outputs in ((".",), ("*",), ("v*/**",), ("**/*",)):
        brought = bring(api, tmp_path, *outputs, said=said)
        assert sorted(each.path for each in brought.missing) == sorted([f"venv/{mark}", "venv/lib/x.pth"])
        assert not (tmp_path / "venv/lib").exists()
    assert "a virtual environment" in brought.missing[0].reason
    assert written(tmp_path) == {"new/pyvenv.cfg", "new/x"}
    bring(api, tmp_path, "venv", said=said)
    assert "venv/lib/x.pth" not in written(tmp_path)
