"""Small inputs in archives by their content: a job sends those that hold what is new."""

from __future__ import annotations

import io
import json
import os
import random
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO

import pytest

from skylift.runner.job.job import SentFile
from skylift.runner.launch.bucket import ensure_bucket
from skylift.runner.launch.role import job_policy
from skylift.runner.remote.api import Api
from skylift.runner.ship.blob_store import BLOBS, BlobStore, large_files
from skylift.runner.ship.bundle import plan_bundle
from skylift.runner.ship.pack import MOST_PACKS, Pack, group, pack_bundle

BUCKET = "skylift-123456789012-us-east-1"


@pytest.fixture
def archive() -> Iterator[IO[bytes]]:
    with tempfile.TemporaryFile() as file:
        yield file


def sent(place: str, size: int) -> SentFile:
    return SentFile(place, Path("/w", place), Path("/w", place), 1, 1, size, "", False)


def named(count: int, size: int = 2048) -> list[SentFile]:
    return [sent(f"data/{number // 500:03}/{number:06}.bin", size) for number in range(count)]


def groups(files: list[SentFile]) -> list[tuple[str, ...]]:
    return [tuple(each.place for each in found) for found in group(files)]


@pytest.mark.parametrize("count", [0, 1, 5, 5000, 60_000])
@pytest.mark.parametrize("size", [0, 2048, 7 << 20])
def test_every_file_is_in_one_group_and_groups_are_few(count: int, size: int) -> None:
    files = named(count, size)
    found = groups(files)
    assert [place for each in found for place in each] == [each.place for each in files]
    assert 1 <= len(found) <= MOST_PACKS


def test_sizes_of_any_kind_are_in_few_groups() -> None:
    chance = random.Random(4)
    for _ in range(30):
        files = [sent(f"{number:05}", int(chance.paretovariate(0.6)) * 100) for number in range(chance.randrange(3000))]
        assert len(groups(files)) <= MOST_PACKS


@pytest.mark.parametrize("change", ["larger", "gone", "more"])
def test_a_file_that_changes_moves_few_others(change: str) -> None:
    """Of 10 MiB, what is in groups that were not there before."""
    files = named(5000)
    before, most = set(groups(files)), 0
    assert len(before) > 3
    for at in range(100, 5000, 357):
        after = list(files)
        if change == "larger":
            after[at] = replace(files[at], size=9000)
        elif change == "gone":
            del after[at]
        else:
            after.insert(at + 1, sent(f"{files[at].place}.new", 2048))
        moved = [each for each in groups(after) if each not in before]
        most = max(most, sum(map(len, moved)))
        assert len(moved) <= 2
    assert most < 3000


def fill(folder: Path, count: int) -> None:
    for number in range(count):
        place = folder / "data" / f"{number % 20:02}" / f"{number:04}.bin"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(os.urandom(4096))


def packs_of(folder: Path, archive: IO[bytes]) -> tuple[Pack, ...]:
    return pack_bundle(plan_bundle(folder, None, [], ["data"]), archive)


def entries(pack: Pack) -> list[tarfile.TarInfo]:
    with pack.blob.open() as file, tarfile.open(fileobj=io.BytesIO(file.read())) as tar:
        return list(tar)


def test_what_is_there_is_not_sent_again(api: Api, tmp_path: Path, archive: IO[bytes]) -> None:
    ensure_bucket(api, BUCKET)
    fill(tmp_path, 1200)
    store, told, heard = BlobStore(api, BUCKET), list[int](), list[int]()

    def send() -> int:
        told.clear()
        heard.clear()
        missing = store.missing([each.blob for each in packs_of(tmp_path, archive)])
        store.send_all(missing, told.append, lambda blob: heard.append(blob.files))
        assert sum(told) == sum(each.size for each in missing)
        return len(missing)

    first = send()
    assert first > 2
    assert sum(heard) == 1200
    assert send() == 0
    (tmp_path / "data" / "07" / "0007.bin").write_bytes(b"new")
    assert send() == 1
    assert sum(told) < 4 << 20
    for each in packs_of(tmp_path, archive):
        body = api.get(BUCKET, BLOBS + each.blob.sha256)
        with each.blob.open() as file:
            assert body == file.read()


def test_a_pack_holds_what_its_record_says(tmp_path: Path, archive: IO[bytes]) -> None:
    fill(tmp_path, 700)
    (tmp_path / "data" / "link").symlink_to("00/0000.bin")
    (tmp_path / "data" / "empty.bin").touch()
    names = []
    for each in packs_of(tmp_path, archive):
        found = entries(each)
        names += [entry.name for entry in found]
        assert each.as_record() == {
            "sha256": each.blob.sha256,
            "files": len(found),
            "size": sum(entry.size for entry in found if entry.isreg()),
        }
    assert len(names) == len(set(names)) == 702


def test_a_role_has_room_for_all_that_travels_by_itself(tmp_path: Path, archive: IO[bytes]) -> None:
    """As many as there may be, in the account and region of the longest names."""
    for number in range(40):
        with (tmp_path / f"{number:02}.bin").open("wb") as file:
            file.truncate((8 << 20) + number)
    bundle = plan_bundle(tmp_path, None, [], ["*.bin"])
    count = len(large_files(bundle)) + MOST_PACKS
    bucket = "skylift-123456789012-ap-southeast-1"
    inputs = [f"arn:aws:s3:::{bucket}/{BLOBS}{number:064x}" for number in range(count)]
    policy = job_policy("x" * 40, bucket, "1" * 12, "ap-southeast-1", None, inputs, "y" * 40, spot=True)
    # White space does not count.
    assert len(json.dumps(policy, separators=(",", ":"))) < 10_240
