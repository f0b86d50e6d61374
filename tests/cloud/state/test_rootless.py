"""What makes a cloud one without root, and who believes it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from skylift.cloud.compute.server import cgroup
from skylift.cloud.state import rootless
from skylift.cloud.state.data import is_root_path, open_root_directory
from skylift.cloud.state.home import Home


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mark").touch()
    monkeypatch.setattr(rootless, "MARK", tmp_path / "mark")


def test_root_does_not_believe_a_file_of_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path)
    home.holder.touch()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert not home.is_rootless
    assert not home.data.path.is_relative_to(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    assert home.is_rootless
    assert home.data.path.is_relative_to(tmp_path)


@pytest.mark.usefixtures("inside")
def test_in_the_namespaces_the_data_are_the_users_and_so_is_the_way_to_them(tmp_path: Path) -> None:
    assert Home(tmp_path).data.path == tmp_path / "data/0/default"
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o777)
    assert is_root_path(tmp_path / "shared")
    with open_root_directory(tmp_path / "shared/own"):
        pass


@pytest.mark.usefixtures("inside")
def test_in_the_namespaces_there_are_no_cgroups() -> None:
    assert cgroup.hierarchies() == []
