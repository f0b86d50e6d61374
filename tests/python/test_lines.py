"""Output as lines: whole characters and whole lines, however it is cut, and an end whenever the reader wants one."""

from __future__ import annotations

import asyncio
import threading
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylift.python.lines import AsyncPieces, Lines, Pieces


def read(pieces: list[bytes]) -> list[str]:
    lines = Lines()
    return [line for piece in pieces for line in lines.feed(piece)] + lines.end()


@pytest.mark.parametrize(
    ("pieces", "wanted"),
    [
        ([], []),
        ([b"one\n", b"two\n"], ["one", "two"]),
        ([b"on", b"", b"e\ntw", b"o"], ["one", "two"]),
        ([b"\n\n"], ["", ""]),
        (["\u20ac".encode()[:1], "\u20ac".encode()[1:], b"\n"], ["\u20ac"]),
        ([b"a\r", b"\nb\r\n"], ["a", "b"]),
        ([b"10%\r20%\r", b"30%\n"], ["10%", "20%", "30%"]),
        ([b"\xff\n\xe2\x82"], ["\ufffd", "\ufffd"]),
        # What other splitters take for the end of a line is text.
        (["a\x0cb\u2028c\n".encode()], ["a\x0cb\u2028c"]),
    ],
)
def test_lines(pieces: list[bytes], wanted: list[str]) -> None:
    assert read(pieces) == wanted


@given(st.text(alphabet="a\u20ac\r\n\U0001f600"), st.lists(st.integers(0, 40)))
def test_it_does_not_matter_where_it_is_cut(text: str, cuts: list[int]) -> None:
    data = text.encode()
    places = sorted({0, len(data), *(each for each in cuts if each < len(data))})
    pieces = [data[start:end] for start, end in pairwise(places)]
    whole = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    assert read(pieces) == (whole if whole[-1] else whole[:-1])


def test_a_long_line_costs_no_more_than_its_length() -> None:
    assert read([b"x" * 1000] * 20_000 + [b"\n"]) == ["x" * 20_000_000]


def test_who_has_had_enough_holds_nobody_up() -> None:
    pieces = Pieces()
    done = threading.Event()

    def write() -> None:
        for _ in range(1000):
            pieces.put(b"more\n")
        pieces.put(None)
        done.set()

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    lines = pieces.lines()
    assert [next(lines) for _ in range(3)] == ["more"] * 3
    assert not done.is_set(), "it has not waited for its reader"
    pieces.close()
    assert done.wait(10)
    writer.join()


async def test_likewise_in_an_event_loop() -> None:
    pieces = AsyncPieces()
    done = threading.Event()

    def write() -> None:
        for _ in range(1000):
            pieces.put(b"more\n")
        pieces.put(None)
        done.set()

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    lines = pieces.lines()
    assert [await anext(lines) for _ in range(3)] == ["more"] * 3
    assert not done.is_set(), "it has not waited for its reader"
    pieces.close()
    assert await asyncio.to_thread(done.wait, 10)
    writer.join()
