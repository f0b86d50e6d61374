"""Inputs by their content: sent once, whole or not at all, found again by whoever has the same."""

from __future__ import annotations

import hashlib
import io
import threading
from pathlib import Path
from typing import Any

import pytest

from skylift.client.errors import RunError, Unreachable
from skylift.client.job.job import Bundle
from skylift.client.launch.bucket import ensure_bucket
from skylift.client.remote.api import Api
from skylift.client.ship import bundle as bundling
from skylift.client.ship.blob_store import BLOBS, Blob, BlobStore, large_files
from skylift.client.ship.bundle import plan_bundle

BUCKET = "skylift-123456789012-us-east-1"
MIB = 1 << 20


@pytest.fixture
def store(api: Api) -> BlobStore:
    ensure_bucket(api, BUCKET)
    return BlobStore(api, BUCKET)


def file_of(folder: Path, name: str, size: int, *, fill: bytes = b"0123456789abcdef") -> Path:
    path = folder / name
    path.write_bytes((fill * (size // len(fill) + 1))[:size])
    return path


def planned(folder: Path, *inputs: str) -> Bundle:
    return plan_bundle(folder, None, [], inputs)


def one(folder: Path, size: int) -> Blob:
    file_of(folder, "data.bin", size)
    (large,) = large_files(planned(folder, "data.bin"))
    return large.blob


def sent(store: BlobStore, blob: Blob) -> int:
    """Bytes that were told as progress."""
    told: list[int] = []
    store.send(blob, told.append)
    return sum(told)


@pytest.mark.parametrize("size", [8 * MIB, 40 * MIB + 7])
def test_it_is_there_whole_and_found_again(store: BlobStore, api: Api, tmp_path: Path, size: int) -> None:
    blob = one(tmp_path, size)
    assert store.missing([blob, blob]) == [blob]
    assert sent(store, blob) == size
    body = api.get(BUCKET, BLOBS + blob.sha256, size)
    assert body is not None
    assert hashlib.sha256(body).hexdigest() == blob.sha256
    assert store.missing([blob]) == []


@pytest.mark.parametrize("size", [8 * MIB, 40 * MIB])
def test_a_file_that_changed_meanwhile_is_not_there(store: BlobStore, api: Api, tmp_path: Path, size: int) -> None:
    blob = one(tmp_path, size)
    file_of(tmp_path, "data.bin", size, fill=b"x")
    with pytest.raises(RunError, match="was changed while"):
        sent(store, blob)
    assert store.missing([blob]) == [blob]
    assert api.uploads(BUCKET, BLOBS) == []


def test_a_part_that_cannot_be_sent_leaves_nothing(
    store: BlobStore, api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob, call = one(tmp_path, 40 * MIB), api.call

    def breaks(service: str, operation: str, **params: Any) -> Any:
        if operation == "upload_part" and params["PartNumber"] == 2:
            raise Unreachable("upload_part: gone")
        return call(service, operation, **params)

    monkeypatch.setattr(api, "call", breaks)
    with pytest.raises(Unreachable):
        sent(store, blob)
    assert store.missing([blob]) == [blob]
    assert api.uploads(BUCKET, BLOBS) == []


def test_a_sending_can_be_stopped(store: BlobStore, api: Api, tmp_path: Path) -> None:
    blob = one(tmp_path, 40 * MIB)
    begun = threading.Event()

    def progress(_: int) -> None:
        store.stop()
        begun.set()

    with pytest.raises(RunError, match="interrupted"):
        store.send(blob, progress)
    assert begun.is_set()
    assert api.uploads(BUCKET, BLOBS) == []


def test_large_files_travel_by_themselves_and_the_rest_together(tmp_path: Path) -> None:
    file_of(tmp_path, "large.bin", 8 * MIB)
    program = file_of(tmp_path, "tool", 8 * MIB, fill=b"t")
    program.chmod(0o755)
    file_of(tmp_path, "small.bin", 8 * MIB - 1)
    (tmp_path / "link.bin").symlink_to("large.bin")
    bundle = planned(tmp_path, "*")
    assert bundle.large == {"large.bin", "tool"}
    assert [each.as_record().mode for each in large_files(bundle)] == [0o644, 0o755]


def test_the_largest_are_those_that_a_role_has_room_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundling, "_LARGE", 1)
    for number in range(1, 51):
        file_of(tmp_path, f"{number:02}.bin", number)
    assert planned(tmp_path, "*.bin").large == {f"{number:02}.bin" for number in range(19, 51)}


def test_a_place_of_its_own_has_what_was_sent_there_alone(store: BlobStore, api: Api, tmp_path: Path) -> None:
    small = Blob("x", hashlib.sha256(b"x").hexdigest(), 1, lambda: io.BytesIO(b"x"))
    for blob in (small, one(tmp_path, 40 * MIB)):
        sent(store, blob)
        elsewhere = BlobStore(api, BUCKET, "jobs/a/in/")
        assert elsewhere.missing([blob]) == [blob]
        sent(elsewhere, blob)
        assert elsewhere.missing([blob]) == []
        assert api.get(BUCKET, "jobs/a/in/" + blob.sha256, blob.size) is not None
