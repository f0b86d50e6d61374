"""An environment that root puts into a home whose user has left links there, or leaves some meanwhile."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from at_opening import at_opening
from kept_prefix import KeptPrefix
from support.deep_tree import deepen

from skylift.agent.environment.cached_environment import CachedEnvironment
from skylift.agent.environment.prebuilt import EnvironmentOwner, PrebuiltEnvironment
from skylift.agent.machine.remove_tree import remove_below
from skylift.agent.remote.prefix import Prefix

VENV, PYTHONS = ".skylift-venv", ".local/share/uv/python"
FILES = ("bin/activate", "lib/module.py")


def seen(folder: Path) -> dict[str, tuple[int, str]]:
    """All that is in a folder, and itself."""
    return {
        str(each.relative_to(folder)): (each.lstat().st_mode, each.read_text() if each.is_file() else "")
        for each in [folder, *folder.rglob("*")]
    }


class Case:
    """A home without the environment that is in the bucket. `other` is what none of it is for: it has what a path of
    an environment's folder leads to there, wherever a link to it is put."""

    def __init__(self, folder: Path) -> None:
        self.prefix, self.told = KeptPrefix(), list[str]()
        self.home, self.other = folder / "home", folder / "other"
        self.folders = [self.home / VENV, self.home / PYTHONS]
        for each in self.folders:
            for name in FILES:
                (each / name).parent.mkdir(parents=True)
                (each / name).write_text("environment")
        for each in self.folders:
            each.chmod(0o755)
        first = self.environment({"sha256": "", "shared": True})
        assert first.write_down(None, 0.0)
        first._keep()
        pin = json.loads(self.prefix.objects["proven.json"])
        self.taking = self.environment({"sha256": pin["sha256"], "shared": False})
        remove_below(self.home.parent, self.home)
        self.home.mkdir()
        for path in ("share/uv/python", "uv/python", "python", "uv"):
            (self.other / path).mkdir(mode=0o700, parents=True, exist_ok=True)
            (self.other / path / "file").write_text("other")
        self.other.chmod(0o700)
        self.before = seen(self.other)

    def environment(self, named: dict[str, Any]) -> PrebuiltEnvironment:
        owner, named = (
            EnvironmentOwner(self.home, os.geteuid(), os.getegid()),
            {"place": "envs/recipe/image/me-1", **named},
        )
        return PrebuiltEnvironment(cast(Prefix, self.prefix), named, owner, self.folders, self.told.append)

    def lead_away(self, path: str) -> None:
        place = self.home / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.exists():
            place.rename(self.home / "moved")
        place.symlink_to(self.other)


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    yield Case(tmp_path)
    # Some of these trees are too deep for pytest to remove.
    remove_below(tmp_path, tmp_path / "home")


@pytest.mark.parametrize("path", [VENV, ".local", ".local/share", ".local/share/uv", PYTHONS])
def test_a_link_that_an_earlier_program_has_left_leads_root_nowhere(case: Case, path: str) -> None:
    case.lead_away(path)
    assert case.taking.take() is not None, case.told
    assert seen(case.other) == case.before
    assert not (case.home / path).is_symlink()
    for folder in case.folders:
        assert [(folder / name).read_text() for name in FILES] == ["environment"] * 2


def test_nobody_else_can_enter_a_folder_that_is_not_full(case: Case) -> None:
    modes = list[int]()
    with at_opening("module.py", lambda: modes.extend(each.stat().st_mode & 0o777 for each in case.folders)):
        assert case.taking.take() is not None
    assert modes == [0o700, 0o700]
    assert [each.stat().st_mode & 0o777 for each in case.folders] == [0o755, 0o755]


def test_folders_above_it_stay_as_their_user_has_them(case: Case) -> None:
    (case.home / ".local/share").mkdir(parents=True)
    (case.home / ".local/share").chmod(0o750)
    (case.home / ".local/share/file").write_text("theirs")
    assert case.taking.take() is not None, case.told
    assert (case.home / ".local/share").stat().st_mode & 0o777 == 0o750
    assert (case.home / ".local/share/file").read_text() == "theirs"


@pytest.mark.parametrize("path", [".cache", ".cache/uv"])
def test_the_cache_of_a_changed_environment_goes_and_nothing_that_a_link_leads_to(case: Case, path: str) -> None:
    case.folders[0].mkdir()
    (case.folders[0] / "module.py").touch()
    cached = CachedEnvironment(case.home / "mark", case.folders, case.home)
    cached.note("name", None)
    case.lead_away(path)
    (case.folders[0] / "module.py").write_text("changed")
    cached.confirm()
    assert not os.path.lexists(case.home / path)
    assert seen(case.other) == case.before
    assert not (case.home / "mark").exists()


@pytest.mark.parametrize("levels", [1_500, 6_000])
def test_an_environment_that_a_program_makes_too_deep_to_look_at_is_not_shared(case: Case, levels: int) -> None:
    case.folders[0].mkdir()
    cached = CachedEnvironment(case.home / "mark", case.folders, case.home)
    cached.note("name", None)
    deepen(case.folders[0] / "deep", levels)
    cached.confirm()
    assert not (case.home / "mark").exists()


def test_one_that_has_not_changed_is_shared_however_deep(case: Case) -> None:
    case.folders[0].mkdir()
    deepen(case.folders[0] / "deep", 1_500)
    cached = CachedEnvironment(case.home / "mark", case.folders, case.home)
    cached.note("name", None)
    cached.confirm()
    assert (case.home / "mark").exists()


def test_one_that_cannot_be_looked_at_is_never_the_same(case: Case) -> None:
    case.folders[0].mkdir()
    deepen(case.folders[0] / "deep", 6_000)
    cached = CachedEnvironment(case.home / "mark", case.folders, case.home)
    cached.note("name", None)
    cached.confirm()
    assert not (case.home / "mark").exists()
