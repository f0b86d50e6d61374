"""Small inputs in archives by their content: a job sends those that hold what is new."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO

import pytest

from skylift.client.errors import RunError, UsageError
from skylift.client.job.cache import Cache
from skylift.client.job.job import SentFile
from skylift.client.launch.bucket import ensure_bucket
from skylift.client.launch.role import job_policy
from skylift.client.remote.api import Api
from skylift.client.ship import known_packs
from skylift.client.ship.archiver import Archiver
from skylift.client.ship.blob_store import BLOBS, BlobStore, large_files
from skylift.client.ship.bundle import plan_bundle
from skylift.client.ship.known_packs import KnownPacks, Packed
from skylift.client.ship.pack import MOST_PACKS, Pack, group, pack_bundle
from skylift.contract import record

BUCKET = "skylift-123456789012-us-east-1"
NOWHERE = Path("/nowhere")


@pytest.fixture
def archive() -> Iterator[IO[bytes]]:
    with tempfile.TemporaryFile() as file:
        yield file


def sent(place: str, size: int) -> SentFile:
    """Groups are made of places and sizes: a hundred thousand of these need no path of their own."""
    return SentFile(place, NOWHERE, NOWHERE, 1, 1, size, "", False)


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


def packs_of(folder: Path, archive: IO[bytes], known: KnownPacks | None = None) -> tuple[Pack, ...]:
    return pack_bundle(plan_bundle(folder, None, [], ["data"]), archive, known)


@pytest.mark.parametrize("count", [1, 100])
def test_temporary_files_without_room(tmp_path: Path, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not the fault of a file that is sent; nor is it told once more where the archive is closed."""
    fill(tmp_path, count)
    monkeypatch.setattr(tempfile, "tempdir", "/the/full/disk")
    with pytest.raises(UsageError) as caught, Path("/dev/full").open("r+b", buffering=0) as full:
        packs_of(tmp_path, full)
    assert caught.value.message == "What the job sends cannot be packed in /the/full/disk: No space left on device."
    assert caught.value.advice == "Set TMPDIR to a folder with more room, or send less."


def content(packs: tuple[Pack, ...]) -> list[tuple[dict[str, object], int]]:
    return [(each.as_record(), each.blob.size) for each in packs]


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
        assert each.as_record() == record.Pack(
            each.blob.sha256, len(found), sum(entry.size for entry in found if entry.isreg())
        )
    assert len(names) == len(set(names)) == 702


def test_what_was_packed_before_is_only_read(tmp_path: Path, archive: IO[bytes]) -> None:
    """Another client, later: it writes no archive, unless one has to be sent."""
    fill(tmp_path, 700)
    (tmp_path / "data" / "link").symlink_to("00/0000.bin")
    cache = Cache(tmp_path / "cache")
    first = packs_of(tmp_path, archive, KnownPacks(cache))
    size = archive.tell()
    again = packs_of(tmp_path, archive, KnownPacks(cache))
    assert content(again) == content(first)
    assert archive.tell() == size > 0
    for one, other in zip(first, again, strict=True):
        with one.blob.open() as before, other.blob.open() as now:
            assert now.read() == before.read()


def test_a_change_counts_whatever_the_files_time_says(tmp_path: Path, archive: IO[bytes]) -> None:
    fill(tmp_path, 700)
    known = KnownPacks(Cache(tmp_path / "cache"))
    before = packs_of(tmp_path, archive, known)
    changed = tmp_path / "data" / "07" / "0007.bin"
    times, body = changed.stat(), changed.read_bytes()
    with changed.open("r+b") as file:
        file.write(bytes(each ^ 1 for each in body))
    os.utime(changed, ns=(times.st_atime_ns, times.st_mtime_ns))
    size = archive.tell()
    after = packs_of(tmp_path, archive, known)
    assert sum(one != other for one, other in zip(content(before), content(after), strict=True)) == 1
    assert size < archive.tell() < size + (3 << 20)


def test_files_that_change_before_a_known_pack_is_sent_are_not_sent(
    api: Api, tmp_path: Path, archive: IO[bytes]
) -> None:
    ensure_bucket(api, BUCKET)
    fill(tmp_path, 20)
    known = KnownPacks(Cache(tmp_path / "cache"))
    packs_of(tmp_path, archive, known)
    (again,) = packs_of(tmp_path, archive, known)
    place = tmp_path / "data" / "07" / "0007.bin"
    place.write_bytes(os.urandom(4096))
    with pytest.raises(RunError, match="was changed"):
        BlobStore(api, BUCKET).send(again.blob, print)
    place.write_bytes(b"shorter")
    with pytest.raises(RunError, match="was changed"):
        BlobStore(api, BUCKET).send(again.blob, print)
    place.unlink()
    with pytest.raises(RunError, match="was changed"):
        BlobStore(api, BUCKET).send(again.blob, print)
    assert api.size(BUCKET, again.blob.key) is None


def test_what_another_machine_has_compressed_otherwise_is_noticed_and_forgotten(
    api: Api, tmp_path: Path, archive: IO[bytes]
) -> None:
    ensure_bucket(api, BUCKET)
    fill(tmp_path, 20)
    cache, bundle = Cache(tmp_path / "cache"), plan_bundle(tmp_path, None, [], ["data"])
    known = KnownPacks(cache)
    (right,) = pack_bundle(bundle, archive, known)
    known.note(Archiver(bundle).read(bundle.files).sha256, Packed("0" * 64, 4096))
    known.save()
    (wrong,) = pack_bundle(bundle, archive, KnownPacks(cache))
    with pytest.raises(RunError, match="was changed"):
        BlobStore(api, BUCKET).send(wrong.blob, print)
    (again,) = pack_bundle(bundle, archive, KnownPacks(cache))
    assert content((again,)) == content((right,))
    BlobStore(api, BUCKET).send(again.blob, print)


def test_the_last_packs_are_known_and_damaged_lines_are_not(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    known = KnownPacks(cache)
    for number in range(600):
        known.note(f"{number:064x}", Packed(f"{number:064x}", number))
    assert known.find(f"{7:064x}") == Packed(f"{7:064x}", 7)
    known.save()
    known = KnownPacks(cache)
    there = [number for number in range(600) if known.find(f"{number:064x}") is not None]
    # It was used last.
    assert there == [7, *range(89, 600)]
    (tmp_path / "cache" / "packs").write_bytes(b"nothing like that")
    assert KnownPacks(cache).is_empty


@pytest.mark.parametrize("name", ["archiver.py", "bundle.py", "sent_file.py"])
def test_packs_that_other_code_has_made_are_not_known(tmp_path: Path, name: str) -> None:
    code = tmp_path / "ship"
    shutil.copytree(Path(known_packs.__file__).parent, code, ignore=shutil.ignore_patterns("__pycache__"))
    before = known_packs.digest_of_code(code)
    with (code / name).open("a") as file:
        file.write("# changed\n")
    assert known_packs.digest_of_code(code) != before


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
