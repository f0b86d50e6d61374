"""SKYLIFT_ENVIRONMENT_IMAGES and --plain-image: whether this machine's cloud gets images of environments."""

from __future__ import annotations

from pathlib import Path

import pytest

from skylift.cli.main import perform
from skylift.client.job.job import Program
from skylift.client.job.run_options import RunOptions
from skylift.client.job.settings import Settings
from skylift.client.plan.read_options import read_options
from skylift.place.local import IMAGES


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


@pytest.mark.parametrize(
    ("options", "wanted"), [({}, True), ({"plain_image": True}, False), ({"image": "ami-01234567"}, False)]
)
def test_a_run_may_want_none(options: RunOptions, wanted: bool) -> None:
    settings = Settings("us-east-1", Path("/nowhere"), IMAGES, lambda: "", environment_images=True)
    asked = read_options(options, Program("script", "job.py"))
    assert asked.apply_to(settings).environment_images is wanted
