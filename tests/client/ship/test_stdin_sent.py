"""The client's standard input, on its way into the job's record."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.agent_bench import Machine, until
from support.whole_run import Seen, host, order

from skylift.client.errors import RunError
from skylift.client.flow import Run
from skylift.client.job.outcome import Outcome
from skylift.client.job.record import JobKeys, bucket_name
from skylift.client.job.settings import Settings
from skylift.client.launch.bucket import ensure_bucket
from skylift.client.remote.api import Api
from skylift.client.ship import stdin as module
from skylift.client.ship.stdin import PIECE, Stdin, has_input

JOB = JobKeys("fed")


class Bucket:
    def __init__(self, api: Api, name: str) -> None:
        self.api, self.name = api, name
        ensure_bucket(api, name)

    def pieces(self) -> list[tuple[bytes, bool]]:
        """Each with whether it is the last one; without holes and without one thing twice."""
        top = JOB.stdin(0).rsplit("/", 1)[0] + "/"
        found, size = [], 0
        listed = self.api.pages("s3", "list_objects_v2", "Contents", Bucket=self.name, Prefix=top)
        for key in sorted(each["Key"] for each in listed):
            assert key == JOB.stdin(size)
            told = self.api.call("s3", "get_object", Bucket=self.name, Key=key)
            data = told["Body"].read()
            assert len(data) <= PIECE
            found.append((data, told["Metadata"].get("last") == "1"))
            size += len(data)
        return found

    def content(self) -> bytes:
        return b"".join(data for data, _ in self.pieces())

    def has_end(self) -> bool:
        lasts = [last for _, last in self.pieces()]
        assert not any(lasts[:-1])
        return bool(lasts) and lasts[-1]

    def tell_taken(self, text: str) -> None:
        self.api.put(self.name, JOB.stdin_taken, text.encode())


@pytest.fixture
def bucket(api: Api) -> Bucket:
    return Bucket(api, "skylift-stdin")


class Pipe:
    def __init__(self) -> None:
        self.reading, self._writing = os.pipe()

    def write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[os.write(self._writing, left) :]

    def end(self) -> None:
        """Once: by then the number may be somebody else's."""
        writing, self._writing = self._writing, -1
        if writing >= 0:
            os.close(writing)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    found = Pipe()
    yield found
    found.end()
    os.close(found.reading)


def send(
    bucket: Bucket,
    source: Stdin,
    meanwhile: Callable[[], None],
    notes: list[str] | None = None,
    *,
    billed: bool = False,
) -> int:
    """How often it has rung."""
    rung = 0

    def ring() -> None:
        nonlocal rung
        rung += 1

    async def main() -> None:
        told = ([] if notes is None else notes).append
        async with source.sending(bucket.api, bucket.name, JOB.job, told, ring, billed=billed):
            await asyncio.to_thread(meanwhile)

    asyncio.run(main())
    return rung


def test_what_is_somebodys_input(tmp_path: Path, pipe: Pipe) -> None:
    (tmp_path / "full").write_text("x")
    (tmp_path / "empty").touch()
    opened = {name: os.open(tmp_path / name, os.O_RDONLY) for name in ("full", "empty", ".")}
    opened |= {name: os.open(name, os.O_RDONLY) for name in ("/dev/null", "/dev/zero")}
    master, slave = pty.openpty()
    ours, theirs = socket.socketpair()
    found = {name: has_input(each) for name, each in opened.items()}
    assert found == {"full": True, "empty": False, ".": False, "/dev/null": False, "/dev/zero": True}
    assert (has_input(pipe.reading), has_input(ours.fileno()), has_input(slave)) == (True, True, False)
    os.read(opened["full"], 1)
    assert not has_input(opened["full"])
    for each in (*opened.values(), master, slave):
        os.close(each)
    ours.close()
    theirs.close()
    assert not has_input(opened["full"])


def test_every_byte_in_order_and_the_end(bucket: Bucket, pipe: Pipe) -> None:
    content = random.Random(7).randbytes(9_000_001)

    def write() -> None:
        pipe.write(content)
        pipe.end()
        until(bucket.has_end, "the end")

    source = Stdin(pipe.reading)
    rung = send(bucket, source, write)
    assert source.ended
    assert bucket.content() == content
    assert rung == len(bucket.pieces())


def test_a_file_from_where_it_stands(bucket: Bucket, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789" * 1_000_000)
    with (tmp_path / "file").open("rb", buffering=0) as file:
        file.seek(5)
        send(bucket, Stdin(file.fileno()), lambda: until(bucket.has_end, "the end"))
    assert bucket.content() == (b"0123456789" * 1_000_000)[5:]


def test_a_line_goes_as_it_comes(bucket: Bucket, pipe: Pipe) -> None:
    def write() -> None:
        for number in range(1, 4):
            pipe.write(b"%d\n" % number)
            until(lambda: len(bucket.pieces()) == number, "its piece")  # noqa: B023 (called at once)

    source = Stdin(pipe.reading)
    send(bucket, source, write)
    assert [data for data, _ in bucket.pieces()] == [b"1\n", b"2\n", b"3\n"]
    assert not (source.ended or bucket.has_end())


def test_a_pipe_that_nobody_writes_to_holds_nobody_up(bucket: Bucket, pipe: Pipe) -> None:
    before = threading.active_count()
    send(bucket, Stdin(pipe.reading), lambda: None)
    assert bucket.pieces() == []
    until(lambda: threading.active_count() <= before + 1, "its threads to end")


def test_who_takes_nothing_is_not_sent_all_there_is(
    bucket: Bucket, pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a server tells of that, each byte is sent once, in its place."""
    monkeypatch.setattr(module, "AHEAD", 1 << 20)
    content = random.Random(8).randbytes(20 << 20)

    def write() -> None:
        def fill() -> None:
            pipe.write(content)
            pipe.end()

        filling = threading.Thread(target=fill)
        filling.start()
        until(lambda: len(bucket.content()) >= 1 << 20, "what may be ahead")
        for lie in ("", "[]", '{"taken": -5}', '{"taken": 1e99}', '{"taken": "all"}', f'{{"taken": {1 << 80}}}'):
            bucket.tell_taken(lie)
        assert len(bucket.content()) <= 1 << 20 | PIECE
        assert filling.is_alive()

        def take() -> bool:
            bucket.tell_taken(json.dumps({"taken": len(bucket.content())}))
            return bucket.has_end()

        until(take, "the end")
        filling.join()

    send(bucket, Stdin(pipe.reading), write)
    assert bucket.content() == content


def test_a_cloud_that_is_away_costs_no_byte(bucket: Bucket, pipe: Pipe, endpoint: str) -> None:
    def write() -> None:
        pipe.write(b"one\n")
        until(lambda: bucket.content() == b"one\n", "the first")
        with socket.create_server(("127.0.0.1", 0)) as deaf:
            bucket.api.move(f"http://127.0.0.1:{deaf.getsockname()[1]}")
            pipe.write(b"two\n")
            pipe.end()
            for _ in range(4):  # more often than botocore tries by itself
                deaf.accept()[0].close()
            bucket.api.move(endpoint)
        until(bucket.has_end, "the end")

    send(bucket, Stdin(pipe.reading), write)
    assert bucket.content() == b"one\ntwo\n"


def test_words_that_cost_money_are_gathered(bucket: Bucket, pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BURST", 3)

    def write() -> None:
        for number in range(3):
            pipe.write(b"%d " % number)
            until(lambda: len(bucket.pieces()) > number, "its piece")  # noqa: B023 (called at once)
        for number in range(3, 100):
            pipe.write(b"%d " % number)
            time.sleep(0.01)
        pipe.end()
        until(bucket.has_end, "the end")

    began = time.monotonic()
    send(bucket, Stdin(pipe.reading), write, billed=True)
    assert bucket.content() == b"".join(b"%d " % number for number in range(100))
    assert len(bucket.pieces()) <= 3 + time.monotonic() - began + 2


def test_what_goes_along_first_is_whole(bucket: Bucket, pipe: Pipe) -> None:
    """Who forgets that there is a pipe hears what is waited for."""
    notes: list[str] = []

    def tell(text: str) -> None:
        notes.append(text)
        pipe.write(b"late")
        pipe.end()

    source = Stdin(pipe.reading)
    for _ in range(2):
        assert asyncio.run(source.send_first(bucket.api, bucket.name, JOB.job, tell)) == 4
    assert len(notes) == 1
    assert "</dev/null" in notes[0]
    assert bucket.content() == b"late"
    assert bucket.has_end()


def test_what_cannot_go_along_is_an_error(bucket: Bucket, pipe: Pipe) -> None:
    pipe.write(b"x")
    with pytest.raises(RunError, match="NoSuchBucket"):
        asyncio.run(Stdin(pipe.reading).send_first(bucket.api, "skylift-nowhere", JOB.job, lambda text: None))


def test_a_run_without_ssh_has_it_too(
    settings: Settings, api: Api, machine: Machine, seen: Seen, folder: Path, pipe: Pipe
) -> None:
    source = "import sys\nfor line in sys.stdin: print('read', line, end='', flush=True)\nprint('end')\n"
    job = order(folder, source, stdin=True)

    def answer() -> None:
        if seen.streams["stdout"] == b"read one\n":
            pipe.write(b"two\n")
            pipe.end()

    seen.on_output = answer
    pipe.write(b"one\n")
    with host(api, machine):
        outcome: Outcome = asyncio.run(Run(job, settings, seen, stdin=Stdin(pipe.reading)).run())
    machine.wait()
    assert (outcome.exit_code, seen.streams["stdout"]) == (0, b"read one\nread two\nend\n")
    bucket: Any = bucket_name(str(settings.account), settings.region)
    assert api.get(bucket, JobKeys(job.name).stdin(0)) == b"one\n"
