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


@pytest.mark.parametrize("option", ["keep", "python", "module", "command", "interactive", "private", "checkpoint"])
def test_an_option_that_is_not_for_a_cluster(option: str) -> None:
    options: Any = {option: "1"}
    with pytest.raises(skylift.UsageError, match=f"{option}= is not for a cluster"):
        skylift.Cluster(1, **options)
