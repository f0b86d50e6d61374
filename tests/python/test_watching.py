"""How far it is, told to a function, to bars like tqdm's, or in plain lines."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from skylift.python.watching import Recorder


class Tqdm:
    """Of tqdm, what is promised to be used."""

    all: list[Tqdm] = []  # noqa: RUF012 - each test has its own

    def __init__(self, *, total: int, desc: str, unit: str, unit_scale: bool) -> None:
        self.told = (total, desc, unit, unit_scale)
        self.n = 0
        self.closed = False
        self.all.append(self)

    def update(self, n: int) -> bool:
        self.n += n
        return True

    def close(self) -> None:
        self.closed = True


def walk(watcher: Recorder) -> None:
    with watcher:
        watcher.begin("check")
        watcher.done("check", "t3.small", 0.5)
        watcher.begin("upload")
        watcher.progress("upload", 10, 30)
        watcher.progress("upload", 30, 30)
        watcher.done("upload", "30 B\x1b[2J", 1.25)
        watcher.begin("results")
        watcher.progress("results", 5, 50)


def test_a_function() -> None:
    heard: list[tuple[str, int, int]] = []
    walk(Recorder(progress=lambda *told: heard.append(told)))
    assert heard == [
        ("check", 0, 0),
        ("check", 1, 1),
        ("upload", 0, 0),
        ("upload", 10, 30),
        ("upload", 30, 30),
        ("results", 0, 0),
        ("results", 5, 50),
    ]


def test_bars_that_come_to_no_end_are_closed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tqdm, "all", [])
    walk(Recorder(progress=Tqdm))
    assert [(bar.told, bar.n, bar.closed) for bar in Tqdm.all] == [
        ((30, "upload", "B", True), 30, True),
        ((50, "results", "B", True), 5, True),
    ]


def test_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    walk(Recorder(progress=True))
    out, err = capsys.readouterr()
    assert (out, err) == ("", "check: t3.small (0.50 s)\nupload: 30 B\\x1b[2J (1.25 s)\n")


def test_nothing_is_printed_unasked(capsys: pytest.CaptureFixture[str]) -> None:
    walk(Recorder())
    assert capsys.readouterr() == ("", "")


def test_a_note_is_printed_by_no_handler_but_the_users() -> None:
    """Python prints a warning where nobody has set up logging."""
    noted = "from skylift.python.watching import Recorder; Recorder().note('x')"
    done = subprocess.run([sys.executable, "-c", noted], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")


def test_what_cannot_show_it() -> None:
    nobody: Any = 3
    with pytest.raises(TypeError, match="progress must be True, a function or a class like tqdm's, not int"):
        Recorder(progress=nobody)
