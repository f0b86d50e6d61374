"""What a job takes along, from here to its server: large files by themselves, and nothing twice."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from support.agent_bench import Machine, Metadata
from support.deep_tree import deepen
from support.whole_run import Seen, host, order, run

from skylift.agent.machine.remove_tree import remove_below
from skylift.client.flow import Run
from skylift.client.job.outcome import Outcome
from skylift.client.job.record import bucket_name
from skylift.client.job.settings import Settings
from skylift.client.remote.api import Api
from skylift.client.ship.blob_store import BLOBS, BlobStore
from skylift.client.ship.bundle import expand

MIB = 1 << 20

SOURCE = """
import hashlib, os, sys
for place in sys.argv[1:]:
    data = open(place, "rb").read()
    print(place, len(data), hashlib.sha256(data).hexdigest()[:8], oct(os.stat(place).st_mode & 0o777))
"""


def test_second_run_sends_only_what_is_new(
    settings: Settings, api: Api, machine: Machine, endpoint: str, metadata: Metadata, tmp_path: Path
) -> None:
    folder = tmp_path / "work"
    (folder / "data").mkdir(parents=True)
    big = os.urandom(20 * MIB)
    (folder / "data/big.bin").write_bytes(big)
    (folder / "data/tool").write_bytes(os.urandom(8 * MIB))
    (folder / "data/tool").chmod(0o755)
    (folder / "small.txt").write_text("x")
    details: list[str] = []

    class Telling(Seen):
        def done(self, step: str, detail: str, seconds: float) -> None:
            super().done(step, detail, seconds)
            if step == "upload":
                details.append(detail)

    def go(machine: Machine, source: str) -> bytes:
        seen = Telling()
        places = ["data/big.bin", "data/tool", "small.txt"]
        with host(api, machine):
            outcome = run(order(folder, source, *places, inputs=["data", "small.txt"]), settings, seen)
        machine.wait()
        assert outcome.exit_code == 0, machine.console()
        return seen.streams["stdout"]

    first = go(machine, SOURCE)
    assert first.startswith(b"data/big.bin 20971520 ")
    assert b"data/tool 8388608 " in first
    assert first.count(b"0o755") == 1
    with Machine(endpoint, metadata) as second:
        assert go(second, SOURCE) == first
    with Machine(endpoint, metadata) as third:
        assert go(third, SOURCE + "print('new')") == first + b"new\n"
    assert details[0] == "4 files, 28.0 MiB"
    assert details[1] == "4 files, 28.0 MiB, nothing of it new"
    assert details[2].startswith("4 files, 28.0 MiB, ")
    assert details[2].endswith(" B of it new")
    kept = api.pages(
        "s3", "list_objects_v2", "Contents", Bucket=bucket_name(str(settings.account), "us-east-1"), Prefix=BLOBS
    )
    assert len(kept) == 4, "two bundles, and two large files once"


def test_ctrl_c_ends_a_sending_and_leaves_nothing_of_it(
    settings: Settings, api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, bucket = tmp_path / "work", bucket_name(str(settings.account), "us-east-1")
    folder.mkdir()
    with (folder / "big.bin").open("wb") as file:
        file.truncate(200 * MIB)

    stop, stopped = BlobStore.stop, threading.Event()

    def stop_and_tell(store: BlobStore) -> None:
        stop(store)
        stopped.set()

    monkeypatch.setattr(BlobStore, "stop", stop_and_tell)

    class Pressing(Seen):
        def progress(self, step: str, done: int, total: int, files: tuple[int, int] | None = None) -> None:
            if step == "upload":
                press()
                # However long it takes to be heard, no more is sent before that.
                assert stopped.wait(120)

    async def main() -> Outcome:
        nonlocal press
        started = Run(order(folder, "pass", inputs=["big.bin"]), settings, Pressing())
        loop = asyncio.get_running_loop()
        press = lambda: loop.call_soon_threadsafe(started.interrupt)  # noqa: E731
        return await started.run()

    press: Callable[[], object]
    outcome = asyncio.run(main())
    assert (outcome.state, outcome.exit_code) == ("cancelled", 130)
    assert api.uploads(bucket, BLOBS) == []
    kept = api.pages("s3", "list_objects_v2", "Contents", Bucket=bucket, Prefix=BLOBS)
    assert [each["Size"] for each in kept if each["Size"] >= MIB] == []
    assert api.pages("iam", "list_roles", "Roles", PathPrefix="/skylift/") == []


def test_a_large_input_that_is_not_what_was_sent_ends_the_job(
    settings: Settings, api: Api, machine: Machine, tmp_path: Path
) -> None:
    folder, bucket = tmp_path / "work", bucket_name(str(settings.account), "us-east-1")
    folder.mkdir()
    (folder / "big.bin").write_bytes(b"x" * 9 * MIB)
    job, seen = order(folder, "print('never')", inputs=["big.bin"]), Seen()
    begin = seen.begin

    def spoil(step: str) -> None:
        if step == "server":
            for each in api.pages("s3", "list_objects_v2", "Contents", Bucket=bucket, Prefix=BLOBS):
                if each["Size"] == 9 * MIB:
                    api.put(bucket, each["Key"], b"y" * 9 * MIB)
        begin(step)

    seen.begin = spoil  # type: ignore[method-assign]
    with host(api, machine):
        outcome = run(job, settings, seen)
    machine.wait()
    assert (outcome.state, outcome.exit_code) == ("broken", 125)
    assert "big.bin is not what was sent" in outcome.reason
    assert seen.streams["stdout"] == b""


def test_folders_in_folders_are_searched_to_the_end(tmp_path: Path) -> None:
    deepen(tmp_path / "deep", 1_500)
    assert expand(tmp_path, "**/end") == [tmp_path / "deep" / ("d/" * 1_500) / "end"]
    remove_below(tmp_path, tmp_path / "deep")
