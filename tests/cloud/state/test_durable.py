"""What is written so that it lasts: in which order the disk is asked to keep it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from skylift.cloud.state.durable import begin_write_out, make_directory, replace_file


@pytest.fixture(name="synced")
def synced_fixture(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the disk was asked to keep, by the names that it had then."""
    found: list[str] = []
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        fsync(descriptor)
        found.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))

    monkeypatch.setattr(os, "fsync", watched)
    return found


def test_a_file_that_the_disk_begins_to_write_is_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"content")
    with file.open("r+b") as opened:
        begin_write_out(opened.fileno(), 0, 7)
        begin_write_out(opened.fileno(), 4096, 1 << 20)
    assert file.read_bytes() == b"content"
    # No error either: what a disk cannot do, the sync says that must follow.
    begin_write_out(-1, 0, 1)


def test_a_file_is_replaced_once_its_content_is_kept(tmp_path: Path, synced: list[str]) -> None:
    file = tmp_path / "file"
    file.write_text("old")
    replace_file(file, b"new", 0o640, (os.getuid(), os.getgid()))
    assert file.read_text() == "new"
    assert file.stat().st_mode & 0o777 == 0o640
    assert synced == [str(tmp_path / ".file.new"), str(tmp_path)]
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_has_its_mode_whatever_the_umask_is(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        replace_file(tmp_path / "file", b"for all", 0o644)
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


def test_what_a_kill_left_is_replaced(tmp_path: Path) -> None:
    left = tmp_path / ".file.new"
    left.write_text("half of")
    left.chmod(0o400)
    replace_file(tmp_path / "file", b"whole", 0o600)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "whole"


def test_each_directory_that_is_made_is_kept(tmp_path: Path, synced: list[str]) -> None:
    outer, inner = tmp_path / "a", tmp_path / "a/b"
    assert make_directory(inner) == [outer, inner]
    assert synced == [str(tmp_path), str(outer)]
    assert make_directory(inner) == []
    assert inner.stat().st_mode & 0o777 == 0o700
