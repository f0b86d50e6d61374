"""What is sent as a checkpoint, and what is not: never half of one."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from skylift.runner.supervisor.checkpoint import Checkpoint, is_written, look
from skylift.runner.supervisor.verdict import Ended


class Bucket:
    """What a prefix is for a checkpoint. `during` is called in the middle of a sending."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.during: Callable[[], object] = lambda: None

    def put_file(self, key: str, file: BinaryIO, size: int, until: float) -> str:
        import hashlib

        body = file.read(3)
        self.during()
        body += file.read()
        self.objects[key] = body
        return hashlib.sha256(body).hexdigest()

    def fetch(self, key: str, path: Path) -> None:
        path.write_bytes(self.objects[key])

    def delete(self, key: str) -> None:
        self.objects.pop(key, None)


class Attempt:
    def __init__(self, number: int = 1, **fields: Any) -> None:
        self.number, self.fields = number, fields

    def note(self, until: float = 0.0, **fields: Any) -> None:
        self.fields.update(fields)

    @property
    def kept(self) -> str:
        return str(self.fields["checkpoint"]["key"])


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


def checkpoint(folder: Path, bucket: Any, attempt: Any, name: str = "job/state") -> Checkpoint:
    (folder / "job").mkdir(exist_ok=True)
    return Checkpoint(folder / name, bucket, attempt, pwd.getpwuid(os.geteuid()), folder / "spool")


def age(path: Path, seconds: float = 60) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def rewrite(path: Path, text: str) -> None:
    """As programs should."""
    part = path.with_name("part")
    part.write_text(text)
    part.replace(path)


def test_a_file_is_there_again_as_it_was(tmp_path: Path, bucket: Bucket) -> None:
    attempt = Attempt()
    first = checkpoint(tmp_path, bucket, attempt)
    first.path.write_text("12345")
    first.path.chmod(0o640)
    assert first.send(0)
    assert not first.send(0), "it is there already"
    first.path.write_text("what is on a server that was taken away")
    second = checkpoint(tmp_path, bucket, Attempt(2, **attempt.fields))
    second.restore(tmp_path, 0)
    assert second.path.read_text() == "12345"
    assert second.path.stat().st_mode & 0o777 == 0o640


def test_a_folder_is_there_again_and_nothing_else_in_it(tmp_path: Path, bucket: Bucket) -> None:
    attempt = Attempt()
    first = checkpoint(tmp_path, bucket, attempt)
    (first.path / "deep").mkdir(parents=True)
    (first.path / "deep/model").write_bytes(b"\0" * 1000)
    assert first.send(0)
    (first.path / "younger").write_text("")
    second = checkpoint(tmp_path, bucket, Attempt(2, **attempt.fields))
    second.restore(tmp_path, 0)
    assert [path.name for path in second.path.rglob("*") if path.is_file()] == ["model"]
    assert not (tmp_path / "spool").exists()


def test_one_that_is_written_over_while_it_is_read_is_not_taken(tmp_path: Path, bucket: Bucket) -> None:
    attempt = Attempt()
    found = checkpoint(tmp_path, bucket, attempt)
    found.path.write_text("whole")
    assert found.send(0)
    whole = attempt.kept
    found.path.write_text("another")
    bucket.during = lambda: found.path.write_text("half")
    assert not found.send(0)
    assert attempt.kept == whole
    assert bucket.objects[whole] == b"whole"


def test_one_that_is_renamed_over_while_it_is_read_is_whole(tmp_path: Path, bucket: Bucket) -> None:
    attempt = Attempt()
    found = checkpoint(tmp_path, bucket, attempt)
    found.path.write_text("first")
    bucket.during = lambda: rewrite(found.path, "second")
    assert found.send(0)
    assert bucket.objects[attempt.kept] == b"first"
    bucket.during = lambda: None
    assert found.send(0), "the second is another one"
    assert bucket.objects[attempt.kept] == b"second"


def test_a_folder_that_changes_while_it_is_packed_is_not_taken(
    tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tarfile

    attempt = Attempt()
    found = checkpoint(tmp_path, bucket, attempt)
    found.path.mkdir()
    (found.path / "a").write_text("1")
    pack = tarfile.TarFile.add

    def add_and_change(*args: Any, **more: Any) -> None:
        pack(*args, **more)
        (found.path / "b").write_text("2")

    monkeypatch.setattr(tarfile.TarFile, "add", add_and_change)
    assert not found.send(0)
    assert attempt.fields == {}


def test_the_one_before_is_there_until_the_next_one_is(tmp_path: Path, bucket: Bucket) -> None:
    attempt = Attempt()
    found = checkpoint(tmp_path, bucket, attempt)
    for number in range(4):
        rewrite(found.path, str(number))
        assert found.send(0)
    assert sorted(bucket.objects.values()) == [b"2", b"3"]
    assert bucket.objects[attempt.kept] == b"3"


def test_who_has_it_open_for_writing_is_seen(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    source = "import sys; file = open(sys.argv[1], sys.argv[2]); print('open', flush=True); input()"
    for mode, written in (("w", True), ("r", False)):
        writer = subprocess.Popen(
            [sys.executable, "-c", source, folder / "part", mode], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert writer.stdout is not None
        writer.stdout.readline()
        assert is_written(folder) is written
        assert is_written(folder / "part") is written
        writer.communicate(b"\n")
    assert not is_written(folder)


def test_what_changed_in_place_after_sigterm_counts_only_from_who_ended_by_itself(
    tmp_path: Path, bucket: Bucket
) -> None:
    for by_itself, kept in ((True, b"maybe half"), (False, b"whole")):
        attempt = Attempt()
        found = checkpoint(tmp_path, bucket, attempt)
        found.path.write_text("whole")
        found.send(0)
        found.mark()
        found.path.write_text("maybe half")
        assert found.finish(0, by_itself=by_itself) is by_itself
        assert bucket.objects[attempt.kept] == kept


def test_what_was_whole_at_sigterm_or_is_renamed_counts_from_everybody(tmp_path: Path, bucket: Bucket) -> None:
    attempt = Attempt()
    found = checkpoint(tmp_path, bucket, attempt)
    found.path.write_text("at SIGTERM")
    found.mark()
    assert found.finish(0, by_itself=False)
    assert bucket.objects[attempt.kept] == b"at SIGTERM"
    found = checkpoint(tmp_path, bucket, attempt)
    found.mark()
    rewrite(found.path, "renamed")
    assert found.finish(0, by_itself=False)
    assert bucket.objects[attempt.kept] == b"renamed"


def test_none_is_no_trouble(tmp_path: Path, bucket: Bucket) -> None:
    found = checkpoint(tmp_path, bucket, Attempt())
    found.restore(tmp_path, 0)
    found.mark()
    assert found.finish(0, by_itself=False)
    assert look(found.path) is None
    assert bucket.objects == {}


def test_one_that_is_damaged_on_its_way_is_not_used(tmp_path: Path, bucket: Bucket) -> None:
    attempt = Attempt()
    found = checkpoint(tmp_path, bucket, attempt)
    found.path.write_text("whole")
    found.send(0)
    bucket.objects[attempt.kept] = b"other"
    with pytest.raises(Ended, match="not the one that was sent"):
        checkpoint(tmp_path, bucket, attempt).restore(tmp_path, 0)


def test_it_is_old_enough_before_it_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.write_text("1")
    age(path)
    found = look(path)
    assert found is not None
    assert found.age > 50
