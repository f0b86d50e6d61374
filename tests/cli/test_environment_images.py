"""SKYLIFT_ENVIRONMENT_IMAGES: whether this machine's cloud gets images of environments."""

from __future__ import annotations

from pathlib import Path

import pytest

from skylift.cli.main import perform


def test_a_word_that_is_neither_is_told_before_anything_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SKYLIFT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SKYLIFT_ENVIRONMENT_IMAGES", "perhaps")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "job.py").touch()
    assert perform(["run", "job.py"]) == 2
    assert "SKYLIFT_ENVIRONMENT_IMAGES='perhaps' is neither yes nor no." in capsys.readouterr().err
    assert not (tmp_path / "home").exists()
