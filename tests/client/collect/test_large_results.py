"""Large results, which come home in stretches, several at a time."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from stored_results import BUCKET, PREFIX, fetch, part, put, send

from skylift.client.collect import results as collect
from skylift.client.errors import ResultsDamaged, Unreachable
from skylift.client.remote.api import Api, Sink


@pytest.fixture
def large(api: Api, bucket: str, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The content of the result `a.bin`, which comes in ten stretches."""
    monkeypatch.setattr(collect, "_STRETCH", 100_000)
    body = os.urandom(950_000)
    put(api, "a.bin", body)
    return body


class Asked:
    """What is asked of S3. `before` is called before each answer, and the one from `cut_at` on breaks off."""

    def __init__(self, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
        self._stream = api.stream
        self._counting = threading.Lock()
        self._now = 0
        self.offsets: list[int] = []
        self.most_at_a_time = 0
        self.before: Callable[[str, int], None] = lambda key, offset: None
        self.cut_at = -1
        monkeypatch.setattr(api, "stream", self.stream)

    def stream(self, bucket: str, key: str, target: Sink, offset: int = 0, most: int | None = None) -> Iterator[int]:
        with self._counting:
            self.offsets.append(offset)
            self._now += 1
            self.most_at_a_time = max(self.most_at_a_time, self._now)
        try:
            self.before(key, offset)
            if offset == self.cut_at:
                yield from self._stream(bucket, key, target, offset, 60_000)
                raise Unreachable("cut")
            yield from self._stream(bucket, key, target, offset, most)
        finally:
            with self._counting:
                self._now -= 1


def test_a_large_result_comes_in_stretches(
    api: Api, large: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, others = Asked(api, monkeypatch), threading.Barrier(collect._AT_A_TIME)

    def before(key: str, offset: int) -> None:
        if offset < collect._AT_A_TIME * 100_000:
            others.wait(60)

    asked.before = before
    assert fetch(api, tmp_path) == len(large)
    assert (tmp_path / "a.bin").read_bytes() == large
    assert sorted(asked.offsets) == list(range(0, 950_000, 100_000))
    assert asked.most_at_a_time == collect._AT_A_TIME
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


def test_what_comes_first_waits_for_its_turn(
    api: Api, large: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, last = Asked(api, monkeypatch), threading.Event()

    def before(key: str, offset: int) -> None:
        if offset == 0:
            assert last.wait(60)
        elif offset == (collect._AT_A_TIME - 1) * 100_000:
            last.set()

    asked.before = before
    fetch(api, tmp_path)
    assert (tmp_path / "a.bin").read_bytes() == large


def test_a_large_result_that_was_cut_off_is_gone_on_with(
    api: Api, large: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What there is of it then is its beginning, whatever has come of the rest."""
    asked = Asked(api, monkeypatch)
    asked.cut_at = 300_000
    with pytest.raises(Unreachable):
        fetch(api, tmp_path)
    left = part(tmp_path, "a.bin", hashlib.sha256(large).hexdigest())
    assert left.read_bytes() == large[:360_000]
    asked.offsets.clear()
    assert fetch(api, tmp_path) == len(large)
    assert min(asked.offsets) == 360_000
    assert (tmp_path / "a.bin").read_bytes() == large


@pytest.mark.parametrize("size", [1 << 50, 950_001, 949_999])
def test_a_large_result_of_another_size_than_was_said(
    api: Api, large: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """A petabyte that is said to be there is asked for as far as there is something, and takes no room."""
    found = {"path": "a.bin", "size": size, "sha256": hashlib.sha256(large).hexdigest()}
    api.put(BUCKET, PREFIX.manifest, json.dumps({"results": [found]}).encode())
    asked = Asked(api, monkeypatch)
    with pytest.raises(ResultsDamaged, match=r"The result a\.bin "):
        fetch(api, tmp_path)
    assert len(asked.offsets) <= 10 + collect._AT_A_TIME
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= len(large)
    assert not (tmp_path / "a.bin").exists()


@pytest.mark.parametrize("there", [0, 400_000])
def test_a_large_result_that_is_shorter_by_whole_stretches_leaves_no_part(
    api: Api, large: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: int
) -> None:
    api.put(BUCKET, PREFIX.result("a.bin"), large[:there])
    with pytest.raises(ResultsDamaged, match=r"The result a\.bin "):
        fetch(api, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_stretch_with_more_in_it_than_was_asked_for(
    api: Api, large: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    come = 0

    def endless(bucket: str, key: str, target: Sink, offset: int = 0, most: int | None = None) -> Iterator[int]:
        nonlocal come
        while True:
            target.write(large[:30_000])
            come += 30_000
            yield 30_000

    monkeypatch.setattr(api, "stream", endless)
    with pytest.raises(ResultsDamaged, match="arrived damaged"):
        fetch(api, tmp_path)
    assert come <= collect._AT_A_TIME * 130_000
    assert list(tmp_path.iterdir()) == []


def test_many_large_results_take_no_more_room_than_one(
    api: Api, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some of them are missing, are damaged, or break off: their room is the others' then."""
    monkeypatch.setattr(collect, "_STRETCH", 10_000)
    files = {f"a{number:02}": os.urandom(95_000) for number in range(20)}
    send(api, **files)
    for name in ("a03", "a07"):
        api.call("s3", "delete_object", Bucket=BUCKET, Key=PREFIX.result(name))
    api.put(BUCKET, PREFIX.result("a11"), b"shorter")
    asked = Asked(api, monkeypatch)
    with pytest.raises(ResultsDamaged, match="So it is with 2 more"):
        fetch(api, tmp_path)
    assert asked.most_at_a_time <= collect._AT_A_TIME
    for name in files.keys() - {"a03", "a07", "a11"}:
        assert (tmp_path / name).read_bytes() == files[name]


def test_an_error_that_is_everybodys_ends_the_download(
    api: Api, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has come of the others is kept, and gone on with."""
    monkeypatch.setattr(collect, "_STRETCH", 10_000)
    files = {f"a{number:02}": os.urandom(95_000) for number in range(20)}
    send(api, **files)
    asked = Asked(api, monkeypatch)

    def before(key: str, offset: int) -> None:
        if key.endswith("a05") and offset == 50_000:
            raise Unreachable("cut")

    asked.before = before
    with pytest.raises(Unreachable, match="cut"):
        fetch(api, tmp_path)
    left = part(tmp_path, "a05", hashlib.sha256(files["a05"]).hexdigest())
    assert left.read_bytes() == files["a05"][:50_000]
    asked.before = lambda key, offset: None
    assert fetch(api, tmp_path) == 20 * 95_000
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == files


def test_large_results_that_are_replaced_while_they_are_fetched(
    api: Api, large: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a server that still may: some stretches are of the one object, some of the other."""
    asked = Asked(api, monkeypatch)

    def replace_it(key: str, offset: int) -> None:
        if offset == 500_000:
            api.put(BUCKET, PREFIX.result("a.bin"), os.urandom(len(large)))

    asked.before = replace_it
    with pytest.raises(ResultsDamaged, match="arrived damaged"):
        fetch(api, tmp_path)
    assert list(tmp_path.iterdir()) == []
