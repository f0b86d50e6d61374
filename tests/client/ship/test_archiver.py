"""The archives that a bundle's files travel in."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from made_bundles import packed, unpacked, write

from skylift.client.ship.bundle import plan_bundle


def test_archive_is_the_same_for_the_same_content(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(tmp_path / name, "b.py", "a/c.py", text="same")
    os.utime(tmp_path / "two" / "b.py", (1, 1))
    (tmp_path / "two" / "b.py").chmod(0o600)
    first, second = (packed(plan_bundle(tmp_path / name, None, [], ["b.py", "a"])) for name in ("one", "two"))
    assert first == second


def test_archive_keeps_what_can_be_executed(tmp_path: Path) -> None:
    write(tmp_path, "tool.sh", "data.txt")
    (tmp_path / "tool.sh").chmod(0o755)
    entries = unpacked(plan_bundle(tmp_path, None, [], ["tool.sh", "data.txt"]))
    assert (entries["tool.sh"].mode, entries["data.txt"].mode) == (0o755, 0o644)
    assert {entry.uid for entry in entries.values()} == {0}
    assert {entry.mtime for entry in entries.values()} == {0}


def test_empty_file_and_large_file_arrive(tmp_path: Path) -> None:
    write(tmp_path, "empty", text="")
    (tmp_path / "large").write_bytes(os.urandom(3 << 20))
    with tarfile.open(fileobj=io.BytesIO(packed(plan_bundle(tmp_path, None, [], ["empty", "large"])))) as tar:
        large = tar.extractfile("large")
        assert large is not None
        assert large.read() == (tmp_path / "large").read_bytes()
        assert tar.getmember("empty").size == 0


def test_data_that_gains_nothing_is_stored(tmp_path: Path) -> None:
    (tmp_path / "noise").write_bytes(os.urandom(5 << 20))
    (tmp_path / "text").write_bytes(b"the same words " * (5 << 16))
    assert len(packed(plan_bundle(tmp_path, None, [], ["noise"]))) > 5 << 20
    assert len(packed(plan_bundle(tmp_path, None, [], ["text"]))) < 1 << 18
    with tarfile.open(fileobj=io.BytesIO(packed(plan_bundle(tmp_path, None, [], ["noise"])))) as tar:
        member = tar.extractfile("noise")
        assert member is not None
        assert member.read() == (tmp_path / "noise").read_bytes()


@pytest.mark.parametrize("kind", ["noise", "text"])
def test_many_small_files_are_what_tar_reads(tmp_path: Path, kind: str) -> None:
    """Of each kind enough that it is decided how they are compressed."""
    files = {
        f"many/{number}": os.urandom(2048) if kind == "noise" else b"%d words, " % number * 200 for number in range(300)
    }
    for place, data in files.items():
        write(tmp_path, place)
        (tmp_path / place).write_bytes(data)
    archive = packed(plan_bundle(tmp_path, None, [], ["many"]))
    (tmp_path / "there").mkdir()
    subprocess.run(["tar", "xzf", "-", "-C", str(tmp_path / "there")], input=archive, check=True)
    assert {place: (tmp_path / "there" / place).read_bytes() for place in files} == files
