"""Times of a job while somebody sets the clock of its server."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest

from skylift.agent.lifecycle.recovery import NotedStart
from skylift.agent.machine import clock
from skylift.agent.machine.clock import AlarmClock, Stopwatch


class Wall:
    """This machine's clocks, of which the one on the wall is off by so many seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.off = 0.0
        monkeypatch.setattr(clock, "time", SimpleNamespace(time=self.time, monotonic=time.monotonic))
        monkeypatch.setattr(clock, "_LOOK", 0.02)

    def time(self) -> float:
        return time.time() + self.off


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    return Wall(monkeypatch)


def test_a_deadline_comes_with_the_clock(wall: Wall) -> None:
    rang = threading.Event()
    alarm = AlarmClock(time.time() + 3600, rang.set)
    alarm.start()
    assert not rang.wait(0.1)
    wall.off = 3600
    assert rang.wait(60)


@pytest.mark.parametrize("off", [-86400.0, 86400.0])
def test_a_cap_is_as_long_as_it_is_whatever_the_clock_says(wall: Wall, off: float) -> None:
    rang, began = threading.Event(), time.monotonic()
    alarm = AlarmClock(time.time() + 10 * 86400, rang.set, 0.3)
    alarm.start()
    wall.off = off
    assert rang.wait(60)
    assert time.monotonic() - began >= 0.3


def test_an_alarm_that_is_called_off_says_nothing(wall: Wall) -> None:
    rang = threading.Event()
    alarm = AlarmClock(time.time() + 3600, rang.set)
    alarm.start()
    alarm.cancel()
    wall.off = 3601
    alarm.join(60)
    assert not rang.is_set()


def test_how_long_a_program_has_run_is_not_the_walls_to_say(wall: Wall) -> None:
    watch = Stopwatch()
    assert watch.seconds is None
    watch.start(already=5.0)
    wall.off = 86400
    assert watch.seconds is not None
    assert 5.0 <= watch.seconds < 60
    watch.stop()
    ended = watch.seconds
    watch.stop()
    assert watch.seconds == ended


def test_the_start_that_an_older_supervisor_noted_is_read() -> None:
    noted = {"boot": "b", "time": 1.0, "arrived": {}, "kills": 0, "status": {}}
    assert NotedStart.parse(noted) == NotedStart("b", 1.0, 0.0, {}, 0, {})
