"""The shutdown command of servers: what a command line means. Its effect is in test_image."""

from __future__ import annotations

import time

import pytest

from skylift.cloud.compute.image.debian13.shutdown import ShutdownRefused, due, parse


@pytest.mark.parametrize(
    ("line", "action", "when", "message"),
    [
        ("shutdown", "poweroff", "+1", ""),
        ("shutdown now", "poweroff", "now", ""),
        ("shutdown -h now", "poweroff", "now", ""),
        ("shutdown -P +60", "poweroff", "+60", ""),
        ("shutdown -r +5 back in a minute", "reboot", "+5", "back in a minute"),
        ("shutdown --no-wall -H 23:15 quiet", "halt", "23:15", "quiet"),
        ("shutdown -rk now test", "warn", "now", "test"),
        ("shutdown -c", "cancel", "now", ""),
        ("shutdown --show", "show", "now", ""),
        ("shutdown now -- -not an option", "poweroff", "now", "-not an option"),
        ("poweroff", "poweroff", "now", ""),
        ("reboot", "reboot", "now", ""),
        ("halt", "halt", "now", ""),
        ("halt -p", "poweroff", "now", ""),
    ],
)
def test_command_lines(line: str, action: str, when: str, message: str) -> None:
    name, *arguments = line.split()
    request = parse(name, arguments)
    assert (request.action, request.when, request.message) == (action, when, message)


def test_no_wall_tells_nobody_but_the_console() -> None:
    assert not parse("shutdown", ["--no-wall", "-P", "+5"]).wall
    assert not parse("poweroff", ["--no-wall"]).wall
    assert parse("shutdown", ["-c"]).wall


def test_force_skips_the_orderly_part() -> None:
    assert parse("reboot", ["-f"]).force
    assert not parse("reboot", []).force


@pytest.mark.parametrize("line", ["shutdown -x now", "shutdown --later", "poweroff now", "reboot --bogus"])
def test_unknown_options_are_refused_by_name(line: str) -> None:
    name, *arguments = line.split()
    with pytest.raises(ShutdownRefused, match=arguments[0]):
        parse(name, arguments)


@pytest.fixture
def utc(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield None
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("utc")
def test_times() -> None:
    now = 1_800_000_000.0  # 2027-01-15 08:00:00
    assert due("now", now) == now
    assert due("+0", now) == now
    assert due("+90", now) == now + 5400
    assert due("8:30", now) == now + 1800
    assert due("07:59", now) == now + 86400 - 60
    assert due("08:00", now) == now + 86400


@pytest.mark.parametrize("when", ["later", "25:00", "12:60", "+x", "-5", "12:5", ""])
def test_what_is_not_a_time_is_refused(when: str) -> None:
    with pytest.raises(ShutdownRefused, match="is not a time"):
        due(when, 0.0)
