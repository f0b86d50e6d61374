"""Where a program leaves the cursor: whether a line of ours may stand there for a while."""

from __future__ import annotations

import pytest

from skylift.cli.cursor import Cursor


@pytest.mark.parametrize(
    ("written", "free"),
    [
        (b"", True),
        (b"a line\n", True),
        (b"a line\r\n", True),
        (b"name? ", False),
        (b" 50%|#####     |\r", False),
        (b"\r 50%|#####     |", False),
        (b"\r 50%|#####     |\rdone\n", True),
        # Taken away by the program itself.
        (b"\r 50%\r\x1b[K", True),
        (b"\r 50%\x1b[2K", False),
        (b"\r 50%\x1b[2K\r", False),
        (b"\x1b[31mred\x1b[0m\n", True),
        (b"\x1b[31mred\n\x1b[0m", True),
        (b"\x1b[31mred\n", False),
        (b"\x1b[31mred\n\x1b[39m", True),
        (b"\x1b[1;38;2;1;2;3;48;5;7mred\n\x1b[22m", False),
        (b"\x1b[1;38;2;1;2;3;48;5;7mred\n\x1b[22;39;49m", True),
        (b"\x1b[1;38;5;0mred\n\x1b[m", True),
        (b"\x1b(B\x1b[mplain\n", True),
        (b"\x1b]0;a title\x07\n", True),
        (b"\x1b]8;;https://example.org\x1b\\link\x1b]8;;\x1b\\\n", True),
        # Only the program knows where it is now.
        (b"\x1b[2A\n", False),
        (b"\x1b[?1049h\n", False),
        (b"\x1b7\n", False),
        (b"\x1b[?25l\n", False),
        # Not whole yet.
        (b"\n\x1b", False),
        (b"\n\x1b[3", False),
        (b"\x1b]0;a title\n", False),
        (b"\x1b[" + b"9" * 5000 + b"m\n", False),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 100_000])
def test_where_it_is(written: bytes, free: bool, size: int) -> None:
    cursor = Cursor()
    for start in range(0, len(written), size):
        cursor.feed(written[start : start + size])
    assert cursor.free is free


def test_a_line_of_ours_makes_it_known_again() -> None:
    cursor = Cursor()
    cursor.feed(b"\x1b[31m\x1b[2Aname? ")
    cursor.reset()
    assert cursor.free


def test_it_is_known_after_much_output() -> None:
    cursor = Cursor()
    cursor.feed(b"\x1b[32mok\x1b[0m line\n" * 500_000 + b"\x1b[32mok\x1b[0m and")
    assert not cursor.free
    cursor.feed(b"\n")
    assert cursor.free
