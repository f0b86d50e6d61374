"""The line at the bottom of a real terminal: there while nobody writes, and never in the way of what is written."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from support.picture import Picture

from skylift.cli.bottom_line import BottomLine


class Tty:
    """Both ends of a terminal, and what it shows."""

    def __init__(self, columns: int) -> None:
        self.master, self.slave = pty.openpty()
        os.set_blocking(self.master, False)
        self.columns = columns
        self.resize(columns)
        self.picture = Picture(columns)
        self.raw = b""

    def resize(self, columns: int) -> None:
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def look(self) -> list[str]:
        with suppress(BlockingIOError):
            while data := os.read(self.master, 65536):
                self.raw += data
                self.picture.feed(data)
        return self.picture.lines

    def until(self, done: Callable[[list[str]], bool]) -> list[str]:
        """Lines as they are shown, once they are as they should be."""
        end = time.monotonic() + 20
        while not done(self.look()):
            assert time.monotonic() < end, self.look()
            time.sleep(0.01)
        return self.look()

    def close(self) -> None:
        os.close(self.slave)
        os.close(self.master)


@pytest.fixture(params=[80, 40])
def tty(request: pytest.FixtureRequest) -> Iterator[Tty]:
    found = Tty(request.param)
    yield found
    found.close()


class Counting:
    """A line that changes each time it is asked for."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, columns: int) -> str:
        self.count += 1
        return f"{self.count:06d} {'=' * 200}"


def write(line: BottomLine, tty: Tty, data: bytes, pause: float = 0.0) -> None:
    with line.aside(pause):
        os.write(tty.slave, data)
        line.cursor.feed(data)


def test_it_is_there_while_nobody_writes_and_goes_when_somebody_does(tty: Tty) -> None:
    compose = Counting()
    line = BottomLine(tty.slave, compose, dim=True)
    line.begin()
    tty.until(lambda lines: len(lines) == 1 and lines[0].startswith("0000"))
    assert len(tty.look()[0]) == tty.columns - 1
    write(line, tty, b"one\ntwo\n")
    tty.until(lambda lines: lines[:2] == ["one", "two"] and lines[-1].startswith("0000"))
    for number in range(50):
        write(line, tty, b"line %d\n" % number)
    tty.until(lambda lines: lines[:-1] == ["one", "two", *(f"line {number}" for number in range(50))])
    line.finish()
    assert tty.look() == ["one", "two", *(f"line {number}" for number in range(50))]
    seen = compose.count
    time.sleep(0.5)
    assert compose.count == seen, "it does not come back"


@pytest.mark.parametrize("partial", [b"name? ", b"\r 50%|####|", b"\r 50%|####|\r", b"\x1b[31mred\n"])
def test_what_the_program_has_begun_stays_as_it_is(tty: Tty, partial: bytes) -> None:
    """Nothing at all is written until the program has come to the end of its line."""
    line = BottomLine(tty.slave, Counting(), dim=True)
    line.begin()
    write(line, tty, b"one\n")
    tty.until(lambda lines: lines[-1].startswith("0000"))
    write(line, tty, partial)
    tty.look()
    shown = tty.raw
    time.sleep(0.6)
    tty.look()
    assert tty.raw == shown
    write(line, tty, b"\x1b[0m\n")
    tty.until(lambda lines: lines[-1].startswith("0000"))
    line.finish()
    picture = Picture(tty.columns).feed(b"one\r\n" + partial.replace(b"\n", b"\r\n") + b"\x1b[0m\r\n")
    assert tty.look() == picture.lines


def test_it_waits_for_silence(tty: Tty) -> None:
    line = BottomLine(tty.slave, Counting(), dim=False)
    line.begin()
    began = time.monotonic()
    write(line, tty, b"one\n", pause=1.0)
    tty.until(lambda lines: len(lines) == 2)
    assert time.monotonic() - began >= 1.0
    line.finish()


def test_lines_of_ours_do_not_go_on_with_one_of_the_program(tty: Tty) -> None:
    line = BottomLine(tty.slave, lambda columns: "below", dim=False)
    line.begin()
    write(line, tty, b"\x1b[31mname? ")
    with line.aside():
        line.write("ours\n")
    tty.until(lambda lines: lines == ["name?", "ours", "below"])
    assert b"\x1b[0mours" in tty.raw, "in the terminal's own colours"
    line.finish()
    assert tty.look() == ["name?", "ours"]


def test_a_terminal_that_becomes_narrower(tty: Tty) -> None:
    """The cursor is at the beginning of the line, which a terminal takes along when it folds it."""
    line = BottomLine(tty.slave, lambda columns: "=" * columns, dim=False)
    line.begin()
    tty.until(lambda lines: lines == ["=" * (tty.columns - 1)])
    assert tty.picture.column == 0
    tty.resize(20)
    tty.until(lambda lines: lines == ["=" * 19])
    line.finish()
    assert tty.look() == []


def test_a_terminal_that_is_gone(tty: Tty) -> None:
    """Who closed it hears nothing more, and nobody else either."""
    line = BottomLine(tty.slave, Counting(), dim=False)
    slave = os.dup(tty.slave)
    os.close(tty.master)
    tty.master = slave
    line.begin()
    with line.aside():
        line.write("ours\n")
    line.finish()
