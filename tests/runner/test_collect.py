"""Results on their way home, and what may go wrong there."""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from skylift.runner.bucket import ensure_bucket
from skylift.runner.collect import bring_home, read_manifest
from skylift.runner.ec2 import Api, Sink
from skylift.runner.errors import ResultsDamaged, RunError, Unreachable
from skylift.runner.job import Settings
from skylift.runner.record import Prefix

BUCKET = "skylift-123456789012-us-east-1"
PREFIX = Prefix("x")


@pytest.fixture
def bucket(api: Api, settings: Settings) -> str:
    ensure_bucket(api, BUCKET)
    return BUCKET


def put(api: Api, path: str, body: bytes, digest: str | None = None) -> None:
    api.put(BUCKET, PREFIX.result(path), body)
    found = {"path": path, "size": len(body), "sha256": digest or hashlib.sha256(body).hexdigest()}
    manifest = {"results": [found], "unmatched": [], "left_behind": []}
    api.put(BUCKET, PREFIX.manifest, json.dumps(manifest).encode())


def fetch(api: Api, home: Path) -> int:
    come: list[int] = []
    bring_home(api, BUCKET, PREFIX, read_manifest(api, BUCKET, PREFIX), home, come.append)
    return sum(come)


def test_file_replaces_the_one_that_is_there(api: Api, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old and longer")
    put(api, "a.txt", b"new")
    assert fetch(api, tmp_path) == 3
    assert (tmp_path / "a.txt").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_damaged_file_never_takes_the_place_of_a_good_one(api: Api, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("good")
    put(api, "a.txt", b"bad", digest="0" * 64)
    with pytest.raises(ResultsDamaged, match=r"a\.txt arrived damaged") as caught:
        fetch(api, tmp_path)
    assert "s3://" in caught.value.advice
    assert (tmp_path / "a.txt").read_text() == "good"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("path", ["../a.txt", "/etc/a.txt", "b/../../a.txt"])
def test_place_outside_is_refused(api: Api, bucket: str, tmp_path: Path, path: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    manifest = {"results": [{"path": path, "size": 1, "sha256": "0"}], "unmatched": [], "left_behind": []}
    api.put(BUCKET, PREFIX.manifest, json.dumps(manifest).encode())
    with pytest.raises(ResultsDamaged, match="outside"):
        fetch(api, home)
    assert [each.name for each in tmp_path.iterdir()] == ["home"]


def test_place_that_cannot_be_written(api: Api, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a file where a folder should be")
    put(api, "a/b.txt", b"x")
    with pytest.raises(ResultsDamaged, match="cannot be written here"):
        fetch(api, tmp_path)


def test_job_without_a_manifest_has_no_results(api: Api, bucket: str) -> None:
    assert read_manifest(api, bucket, Prefix("none")).results == ()


def test_what_was_cut_off_is_gone_on_with(
    api: Api, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = bytes(range(256)) * 20_000
    put(api, "a.bin", body)
    stream = api.stream
    offsets: list[int] = []

    def cut(bucket: str, key: str, target: Sink, offset: int = 0) -> Iterator[int]:
        offsets.append(offset)
        for number, size in enumerate(stream(bucket, key, target, offset)):
            yield size
            if number == 1 and len(offsets) == 1:
                raise Unreachable("cut")

    monkeypatch.setattr(api, "stream", cut)
    with pytest.raises(Unreachable):
        fetch(api, tmp_path)
    assert not (tmp_path / "a.bin").exists()
    assert fetch(api, tmp_path) == len(body)
    assert offsets == [0, 2 << 20]
    assert (tmp_path / "a.bin").read_bytes() == body
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


def test_what_is_here_is_not_fetched_again(
    api: Api, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(api, "a.txt", b"same")
    (tmp_path / "a.txt").write_text("same")
    monkeypatch.delattr(Api, "stream")
    assert fetch(api, tmp_path) == 4


def test_two_that_bring_the_same_home(api: Api, bucket: str, tmp_path: Path) -> None:
    put(api, "a.txt", b"x")
    digest = hashlib.sha256(b"x").hexdigest()
    with (tmp_path / f".a.txt.{digest[:12]}.skylift-part").open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(RunError, match="Another skylift"):
            fetch(api, tmp_path)
