"""Taking back the last of what was written, where a user's file has it and nobody else has written there."""

from __future__ import annotations

import gzip
import io
import os
from pathlib import Path

import pytest

from skylift.cli.screen import Outlet
from skylift.client.watch.written import Written


@pytest.mark.parametrize("mode", [os.O_TRUNC, os.O_APPEND])
def test_the_end_of_a_file_is_taken_back_and_what_comes_next_is_written_there(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"before\n")
    file = os.open(path, os.O_WRONLY | mode)
    outlet = Outlet(file, 2)
    for word in (b"one\n", b"two\n", b"three\n"):
        outlet.write("stdout", word)
    assert outlet.take_back("stdout", 8)
    outlet.write("stdout", b"again\n")
    assert path.read_bytes() == (b"before\n" if mode == os.O_APPEND else b"") + b"one\ntw" + b"again\n"
    assert outlet.tails["stdout"].text() == "one\ntwagain\n"
    os.close(file)


def test_nothing_is_taken_back_that_is_another_writers(tmp_path: Path) -> None:
    """As with `> all 2>&1`, or of two runs that write to one file."""
    path = tmp_path / "all"
    file = os.open(path, os.O_WRONLY | os.O_CREAT)
    outlet = Outlet(file, os.dup(file))
    outlet.write("stdout", b"ours\n")
    outlet.write("stderr", b"theirs\n")
    assert not outlet.take_back("stdout", 5)
    outlet.write("stdout", b"more\n")
    assert not outlet.take_back("stdout", 10)
    assert path.read_bytes() == b"ours\ntheirs\nmore\n"
    assert outlet.take_back("stdout", 5)
    assert path.read_bytes() == b"ours\ntheirs\n"
    os.close(file)


def test_from_a_pipe_nothing_is_taken_back() -> None:
    reading, writing = os.pipe()
    outlet = Outlet(writing, 2)
    outlet.write("stdout", b"gone\n")
    assert not outlet.take_back("stdout", 5)
    assert outlet.tails["stdout"].text() == ""
    os.close(writing)
    assert os.read(reading, 10) == b"gone\n"
    os.close(reading)


def test_a_file_that_is_compressed_as_it_is_written_goes_on(tmp_path: Path) -> None:
    """It says that it is seekable, and refuses to go back."""
    with gzip.open(tmp_path / "out.gz", "wb") as file:
        written = Written(file)  # type: ignore[arg-type]
        file.write(b"one\ntwo\n")
        written.note(8)
        assert not written.take_back(4)
        file.write(b"three\n")
    assert gzip.decompress((tmp_path / "out.gz").read_bytes()) == b"one\ntwo\nthree\n"


def test_where_nothing_is_taken_back_the_file_goes_on_where_it_was(tmp_path: Path) -> None:
    """As with `1<> FILE`, which has more behind what was written."""
    path = tmp_path / "out"
    path.write_bytes(b"-" * 20)
    file = os.open(path, os.O_RDWR)
    outlet = Outlet(file, 2)
    outlet.write("stdout", b"ours\n")
    assert not outlet.take_back("stdout", 5)
    outlet.write("stdout", b"more\n")
    assert path.read_bytes() == b"ours\nmore\n" + b"-" * 10
    os.close(file)


def test_a_file_that_cannot_be_made_shorter_goes_on() -> None:
    class Fixed(io.BytesIO):
        def truncate(self, size: int | None = None) -> int:
            raise io.UnsupportedOperation("truncate")

    file = Fixed()
    written = Written(file)
    file.write(b"ours")
    written.note(4)
    assert not written.take_back(2)
    file.write(b" more")
    assert file.getvalue() == b"ours more"
