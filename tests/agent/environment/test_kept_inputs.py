"""Large inputs on a server that is kept: the next job finds them there, unless they are not what they were."""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest

from skylift.agent.environment.inputs import InputDownloads
from skylift.agent.remote.prefix import Prefix
from skylift.contract.record import LargeInput


class Blobs:
    """What S3 has, and how often it was asked."""

    def __init__(self, *contents: bytes) -> None:
        self._contents = {hashlib.sha256(each).hexdigest(): each for each in contents}
        self.asked: list[bytes] = []

    def fetch_span(self, key: str, start: int, end: int, sink: BinaryIO, etag: str = "") -> None:
        self.asked.append(self._contents[key])
        sink.write(self._contents[key][start:end])


class Program:
    ending = ""


class Server:
    def __init__(self, root: Path, blobs: Blobs) -> None:
        self._root, self._blobs = root, blobs
        self.place = root / "job"

    def job(self, **places: bytes) -> None:
        """The next one, with these inputs. The one before is cleared away."""
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir()
        large = [
            LargeInput(place, hashlib.sha256(content).hexdigest(), len(content), 0o755)
            for place, content in places.items()
        ]
        me, kept, nobody = pwd.getpwuid(os.geteuid()), self._root / "kept", cast(Any, Program())
        inputs = InputDownloads(self.place, me, nobody, 0, kept)
        inputs.fetch_large(cast(Prefix, self._blobs), large)
        inputs.keep_large(large)
        assert {path.name: path.read_bytes() for path in self.place.iterdir()} == places
        assert {path.stat().st_mode & 0o777 for path in self.place.iterdir()} == {0o755}


@pytest.fixture
def blobs() -> Blobs:
    return Blobs(b"one" * 1000, b"two" * 1000)


@pytest.fixture
def server(tmp_path: Path, blobs: Blobs) -> Server:
    return Server(tmp_path, blobs)


def test_they_come_once_wherever_they_go(server: Server, blobs: Blobs) -> None:
    server.job(a=b"one" * 1000)
    server.job(b=b"one" * 1000, c=b"two" * 1000)
    server.job(c=b"two" * 1000, b=b"one" * 1000)
    assert blobs.asked == [b"one" * 1000, b"two" * 1000]


def test_one_that_the_program_changed_comes_again(server: Server, blobs: Blobs) -> None:
    server.job(a=b"one" * 1000)
    with (server.place / "a").open("r+b") as file:
        file.write(b"X")
    server.job(a=b"one" * 1000)
    assert len(blobs.asked) == 2


def test_one_that_the_program_put_another_in_the_place_of_is_as_it_was(server: Server, blobs: Blobs) -> None:
    server.job(a=b"one" * 1000)
    (server.place / "a").unlink()
    (server.place / "a").write_bytes(b"another")
    server.job(a=b"one" * 1000)
    assert len(blobs.asked) == 1


def test_what_no_job_has_any_more_is_not_kept(server: Server, blobs: Blobs) -> None:
    server.job(a=b"one" * 1000)
    server.job(b=b"two" * 1000)
    server.job(a=b"one" * 1000, b=b"two" * 1000)
    assert blobs.asked == [b"one" * 1000, b"two" * 1000, b"one" * 1000]
