"""What of the keys goes to an interactive program, and when there can be one."""

from __future__ import annotations

import pytest

from skylift.cli.main import perform
from skylift.cli.run import mark_program
from skylift.cli.terminal import Escape


@pytest.mark.parametrize(
    ("keys", "sent", "enough"),
    [
        ([b"ls ~\r"], b"ls ~\r", False),
        ([b"~."], b"", True),
        ([b"x~.y"], b"x~.y", False),
        ([b"x\r~."], b"x\r", True),
        ([b"x\r", b"~", b"."], b"x\r", True),
        ([b"~~."], b"~.", False),
        ([b"~x"], b"~x", False),
        ([b"~\r~."], b"~\r", True),
        ([b"\n~.rest"], b"\n", True),
        (["Zoë~\r".encode()], "Zoë~\r".encode(), False),
    ],
)
def test_escape(keys: list[bytes], sent: bytes, enough: bool) -> None:
    escape, found = Escape(), b""
    left = False
    for each in keys:
        more, left = escape.read_keys(each)
        found += more
    assert (found, left) == (sent, enough)


def test_it_is_one_word_and_takes_none() -> None:
    words = mark_program(["-it", "job.py", "-it"])
    assert words.marked == ["-it", "--", "job.py", "-it"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-it"], "-it needs a terminal"),
        (["-it", "--json"], "-it and --json"),
        (["-d", "--forward", "80"], "--forward is for whoever watches"),
        (["--forward", "http"], "not a port"),
        (["--forward", "80:99999"], "not a port"),
        (["-i", "nothing-here"], "no such file"),
    ],
)
def test_what_cannot_be(options: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert perform(["run", *options, "--", "true"]) == 2
    assert words in capsys.readouterr().err
