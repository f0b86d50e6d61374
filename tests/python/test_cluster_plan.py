"""What `skylift.Cluster` refuses before anything is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import skylift


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder, and no cloud that could be asked for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SKYLIFT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SKYLIFT_ON", "nowhere")


@pytest.mark.parametrize("servers", [0, -1, (0, 0), (-1, 2), 101, (1, 2, 3), "2", 1.5, True, (True, 2), None])
def test_a_number_of_servers(servers: Any) -> None:
    with pytest.raises(skylift.UsageError, match="is not a number of servers"):
        skylift.Cluster(servers)


def test_limits_that_are_the_wrong_way_round() -> None:
    with pytest.raises(skylift.UsageError, match="the least is more than the most") as caught:
        skylift.Cluster((3, 2))
    assert caught.value.advice == "Meant as (2, 3)?"


@pytest.mark.parametrize("name", ["Upper", "a" * 34, "-a", "a/b", "a b"])
def test_a_name_that_leaves_room_for_the_workers(name: str) -> None:
    with pytest.raises(skylift.UsageError, match="cannot be used"):
        skylift.Cluster(1, name=name)


PROJECT = '[project]\nname = "p"\nversion = "1"\ndependencies = ["distributed"]\n'
LOCK = "".join(f'[[package]]\nname = "{name}"\nversion = "1"\n' for name in ("distributed", "tornado"))


def test_pages_for_which_the_lock_has_no_bokeh(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "uv.lock").write_text(LOCK)
    with pytest.raises(skylift.UsageError, match=r"^skylift.Cluster\(\): dashboard: Dask's pages need bokeh") as caught:
        skylift.Cluster(1, dashboard=True)
    assert caught.value.advice == "uv add bokeh"


@pytest.mark.parametrize("lock", [None, LOCK + '[[package]]\nname = "bokeh"\nversion = "3"\n'])
def test_pages_that_there_may_be(tmp_path: Path, lock: str | None) -> None:
    """Without a lock, bokeh may come with another package. What is looked at next is the place."""
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    if lock is not None:
        (tmp_path / "uv.lock").write_text(lock)
    with pytest.raises(skylift.UsageError, match="nowhere"):
        skylift.Cluster(1, dashboard=True)


def test_a_lock_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "uv.lock").write_bytes(b"\xff")
    with pytest.raises(skylift.UsageError, match=r"uv\.lock"):
        skylift.Cluster(1, dashboard=True)


@pytest.mark.parametrize("option", ["keep", "python", "module", "command", "interactive", "private", "checkpoint"])
def test_an_option_that_is_not_for_a_cluster(option: str) -> None:
    options: Any = {option: "1"}
    with pytest.raises(skylift.UsageError, match=f"{option}= is not for a cluster"):
        skylift.Cluster(1, **options)
