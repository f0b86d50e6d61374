"""An environment that is kept in the bucket while its files may be exchanged, by the program or by what its build has
left running."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path, PosixPath
from typing import Any, cast

import pytest
from at_opening import at_opening
from kept_prefix import KeptPrefix

from skylift.agent.environment.prebuilt import EnvironmentOwner, PrebuiltEnvironment
from skylift.agent.remote.prefix import Prefix

SIZE = len("environment")


class Case:
    def __init__(self, folder: Path, count: int) -> None:
        self.prefix, self.told, self.secret = KeptPrefix(), list[str](), folder / "secret"
        self.secret.write_text("root's file"[:SIZE])
        self.venv = folder / "home/venv"
        self.venv.mkdir(parents=True)
        for number in range(count):
            (self.venv / f"module{number}.py").write_text("environment")
        owner, named = (
            EnvironmentOwner(folder / "home", os.geteuid(), os.getegid()),
            {"place": "", "sha256": "", "shared": True},
        )
        self.made = PrebuiltEnvironment(cast(Prefix, self.prefix), named, owner, [self.venv], self.told.append)

    def keep(self) -> dict[str, bytes]:
        assert self.made.write_down(None, 0.0)
        return self.upload()

    def upload(self) -> dict[str, bytes]:
        self.made._keep()
        return {key: content for key, content in self.prefix.objects.items() if key != "proven.json"}


@pytest.fixture(params=[1, 3], ids=["file", "pack"])
def case(tmp_path: Path, request: Any) -> Case:
    return Case(tmp_path, request.param)


def to_link(path: Path, secret: Path) -> None:
    path.unlink()
    path.symlink_to(secret)


def to_endless(path: Path, secret: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def to_fifo(path: Path, secret: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def to_larger(path: Path, secret: Path) -> None:
    os.truncate(path, 1 << 40)


@pytest.mark.parametrize("exchange", [to_link, to_endless, to_fifo, to_larger])
@pytest.mark.parametrize("at_the_last_moment", [False, True])
def test_root_reads_nothing_else_in_their_place(
    case: Case, exchange: Callable[[Path, Path], None], at_the_last_moment: bool
) -> None:
    assert case.made.write_down(None, 0.0)
    last = sorted(case.venv.iterdir())[-1]
    if at_the_last_moment:
        with at_opening(last.name, lambda: exchange(last, case.secret)):
            kept = case.upload()
    else:
        exchange(last, case.secret)
        kept = case.upload()
    assert kept == {}
    assert "the environment is not kept" in case.told[0]


def to_nothing(path: Path, secret: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("exchange", [to_link, to_endless, to_fifo, to_nothing])
def test_what_changes_before_it_is_written_down_is_not_shared_and_the_job_goes_on(
    case: Case, exchange: Callable[[Path, Path], None]
) -> None:
    """A package's build may have left a process running."""
    last = sorted(case.venv.iterdir())[-1]
    with at_opening(last.name, lambda: exchange(last, case.secret)):
        assert not case.made.write_down(None, 0.0)
    assert "the environment is not kept" in case.told[0]
    case.made.keep()
    case.made.stop(lambda: True)
    assert case.prefix.objects == {}


@pytest.mark.parametrize("inside", [False, True])
def test_root_lists_no_folder_in_the_place_of_another(case: Case, inside: bool) -> None:
    """A link leads to what only root may list, or to another folder of the user's."""
    elsewhere = case.venv.parent / "other" if inside else case.secret.parent / "hidden"
    elsewhere.mkdir()
    (elsewhere / "of-root").touch()
    package = case.venv / "package"
    package.symlink_to(elsewhere)
    assert case.made.write_down(None, 0.0)
    assert not [each for each in case.made._index.get("entries", []) if "of-root" in each[0]]


def test_what_is_as_it_was_is_kept(case: Case) -> None:
    assert case.keep().keys() == {"index.json", "pack-00000"}
    assert case.told == []


class OldParents(Sequence[Any]):
    """What Python 3.9 has: no slices, and nothing is counted from the end."""

    def __init__(self, parents: Sequence[Path]) -> None:
        self._parents = parents

    def __len__(self) -> int:
        return len(self._parents)

    def __getitem__(self, index: Any) -> Any:
        # As there: a slice cannot be compared with a number.
        if index < 0 or index >= len(self):
            raise IndexError(index)
        return self._parents[index]


class OldPath(PosixPath):
    @property
    def parents(self) -> Sequence[Any]:
        return OldParents(super().parents)


def test_an_environment_is_written_down_by_python_39(case: Case) -> None:
    """Amazon Linux 2023 has that."""
    folder = case.venv / "lib/python"
    folder.mkdir(parents=True)
    (folder / "module.py").write_text("environment")
    case.made._folders = [OldPath(folder)]
    case.made.write_down(None, 0.0)
    written = [each[0] for each in case.made._index["entries"]]
    assert written == ["venv", "venv/lib", "venv/lib/python", "venv/lib/python/module.py"]
