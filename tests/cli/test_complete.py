"""What the shell offers for a word that is being typed: asked as bash asks, in a process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def offered(folder: Path, line: str) -> list[str]:
    words = line.split(" ")
    environment = {**os.environ, "SKYLIFT_HOME": str(folder / "home"), "SKYLIFT_DATA": str(folder / "data")}
    environment |= {"_SKYLIFT_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run(
        [sys.executable, "-m", "skylift.cli.main"],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=environment,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("skylift pri", {"price"}),
        ("skylift run --type c7g.met", {"c7g.metal"}),
        ("skylift price -t t3.mic", {"t3.micro"}),
        ("skylift types m7i.48", {"m7i.48xlarge"}),
        ("skylift types --region us-east-", {"us-east-1"}),
        ("skylift run --image deb", {"debian-12", "debian-13"}),
        ("skylift run --on l", {"local"}),
        ("skylift run --arch a", {"arm64"}),
        ("skylift ps --state run", {"running"}),
    ],
)
def test_words(tmp_path: Path, line: str, words: set[str]) -> None:
    found = set(offered(tmp_path, line))
    assert found & words, found
    assert all(word.startswith(line.rsplit(" ", maxsplit=1)[-1]) for word in found)


def test_jobs_of_a_cloud_that_is_down_are_none_and_it_stays_down(tmp_path: Path) -> None:
    assert offered(tmp_path, "skylift logs -f x") == []
    assert list(tmp_path.iterdir()) == []


def test_either_side_of_a_copy_may_be_a_file_here(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").touch()
    (tmp_path / "date").touch()
    assert offered(tmp_path, "skylift cp da") == ["data/", "date"]
    assert offered(tmp_path, "skylift cp data/") == ["data/a.csv"]
    assert offered(tmp_path, "skylift cp nowhere/x") == []
    assert offered(tmp_path, "skylift cp job:da") == []


def test_a_project_that_cannot_be_read_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.skylift\n")
    assert offered(tmp_path, "skylift run --type t3.nan") == ["t3.nano"]
    assert offered(tmp_path, "skylift logs x") == []
