"""Reports of a server that become a text which only grows."""

from __future__ import annotations

from skylift.client.map.live import InputLive, LiveStream
from skylift.console.input_log import InputLog

RUN = "0123456789abcdef"


def report(out: bytes, err: bytes = b"", start: int = 0, run: str = RUN) -> InputLive:
    return InputLive(run, 1, 1.0, LiveStream(start, out), LiveStream(0, err))


def shown(*reports: InputLive) -> str:
    log = InputLog()
    for each in reports:
        log.add(each)
    return log.text.read(0, 1 << 20)[0]


def test_each_byte_is_shown_once_and_errors_are_yellow() -> None:
    text = shown(report(b"one\n"), report(b"one\ntwo\n", b"oh"), report(b"one\ntwo\n", b"oh"))
    assert text == "one\ntwo\n\x1b[33moh\x1b[39m"


def test_a_letter_that_comes_in_two_reports_is_one() -> None:
    umlaut = "ü".encode()
    assert shown(report(umlaut[:1]), report(umlaut)) == "ü"


def test_what_came_too_fast_is_told_of() -> None:
    text = shown(report(b"ab"), report(b"yz", start=1000))
    assert text.startswith("ab")
    assert "998 bytes" in text
    assert text.endswith("yz")


def test_another_run_begins_anew() -> None:
    text = shown(report(b"first"), report(b"second", run="f" * 16))
    assert "It runs again." in text
    assert text.endswith("second")


def test_a_stream_that_its_program_has_cut_shows_what_comes_after_it() -> None:
    assert shown(report(b"abcdef"), report(b"abc"), report(b"abcdefg")) == "abcdefg"
