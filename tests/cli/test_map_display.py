"""What a map's living line says, and what it takes to say it."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from skylift.cli import map_display
from skylift.cli.map_display import MapDisplay
from skylift.cli.screen import Live, Outlet, make_screen
from skylift.client.job.outcome import Outcome
from skylift.client.map.places import Template
from skylift.client.map.reading import MapReader
from skylift.client.price.run_price import cost_of
from skylift.client.watch.monitor import RunningProgram
from skylift.contract.map_progress import Progress, ServerTime
from skylift.contract.map_spec import MapInput, MapSpec, ObjectRange
from skylift.contract.states import State

HOUR = ServerTime("t3.small", "on-demand", 2, 3600.0)


class Reader:
    """A map whose other servers are `others` whenever it is looked at."""

    def __init__(self) -> None:
        self.account = SimpleNamespace(settings=SimpleNamespace(region="us-east-1"))
        self.spec, self.outcomes = SimpleNamespace(inputs=(1, 2, 3)), dict[int, Any]()
        self.others: tuple[ServerTime, ...] = (HOUR,)
        self.ended_early = ""
        self.looks = 0

    def read_on(self) -> list[Any]:
        return []

    def progress(self) -> Progress:
        self.looks += 1
        return Progress(1, float(self.looks), 3, running=self.looks, others=self.others)

    def wait(self, looks: int) -> None:
        """Until it was looked at so many times more, and what was seen is there."""
        until, end = self.looks + looks + 1, time.monotonic() + 60
        while self.looks < until:
            assert time.monotonic() < end
            time.sleep(0.01)


@pytest.fixture
def screen() -> Live:
    null = os.open(os.devnull, os.O_WRONLY)
    return Live(Outlet(null, null), stdout_shows=False)


@pytest.mark.parametrize("quiet", [True, False])
def test_why_no_input_has_run_is_told(quiet: bool, capfd: pytest.CaptureFixture[str]) -> None:
    """Also with --quiet: no input can say it."""
    reader: Any = Reader()
    reader.is_there, reader.name, reader.gone = True, "sums", ""
    reader.spec = MapSpec(("python", "job.py"), True, (), (MapInput(0, "a", "a"),))
    words = "The Python environment could not be made."
    outcome = Outcome("sums", State.ENVIRONMENT_FAILED, 123, words, detail="No Python 3.2.\n", instance="i-0a")
    work: Any = SimpleNamespace(run=lambda: done(outcome), interrupt=lambda: None)
    map_display.watch_map(
        reader, work, make_screen(Outlet(2, 2), quiet=quiet, json=False), Template(), quiet=quiet, as_json=False
    )
    told = capfd.readouterr().err
    assert "0 of 1 inputs succeeded, 1 have no outcome." in told
    assert told.count(words) == told.count("No Python 3.2.") == 1


def test_how_a_map_has_ended_is_told_before_s3_is_asked(capfd: pytest.CaptureFixture[str]) -> None:
    """S3 may take long, and whoever does not wait for it has seen the end."""

    def left(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    reader: Any = Reader()
    reader.is_there, reader.name, reader.gone = True, "sums", ""
    reader.account.api = SimpleNamespace(call=left)
    part = ObjectRange("theirs", "us-east-1", "a.csv", '"0"', 2, 2, 4, "a.csv")
    reader.spec = MapSpec(("python", "job.py"), True, (), (MapInput(0, "s3://theirs/a.csv", "a.csv", part=part),))
    outcome = Outcome("sums", State.FAILED, 1, "The program exited with 1.", instance="i-0a")
    work: Any = SimpleNamespace(run=lambda: done(outcome), interrupt=lambda: None)
    with pytest.raises(KeyboardInterrupt):
        map_display.watch_map(
            reader, work, make_screen(Outlet(2, 2), quiet=False, json=False), Template(), quiet=False, as_json=False
        )
    assert "sums: exit code 1 (failed)" in capfd.readouterr().err


@pytest.mark.parametrize("as_json", [False, True])
def test_why_a_map_has_ended_early_is_told(as_json: bool, capfd: pytest.CaptureFixture[str]) -> None:
    reader: Any = Reader()
    reader.name, reader.gone = "sums", ""
    reader.spec = MapSpec(("python", "job.py"), True, (), (MapInput(0, "a", "a"), MapInput(1, "b", "b")))
    reader.ended_early = "It was ended early: 1 of 2 inputs have failed (--halt).\x1b[2J"
    screen = make_screen(Outlet(2, 2), quiet=False, json=as_json)
    map_display.show_map(reader, Template(), Path(), screen, quiet=False, job={"name": "sums"} if as_json else None)
    told = capfd.readouterr()
    words = "It was ended early: 1 of 2 inputs have failed (--halt)."
    if as_json:
        assert json.loads(told.out)["ended_early"].startswith(words)
    else:
        assert f"0 of 2 inputs succeeded, 2 have no outcome.\n{words}\\x1b[2J\n" in told.err


async def done(outcome: Outcome) -> Outcome:
    return outcome


def test_the_cost_of_other_servers_is_reckoned_when_it_changes_and_not_for_each_drawing(
    screen: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    reckoned = []

    def reckon(times: tuple[ServerTime, ...], region: str) -> float | None:
        reckoned.append(times)
        return cost_of(times, region)

    monkeypatch.setattr(map_display, "cost_of", reckon)
    monkeypatch.setattr(map_display, "_LOOK_EVERY", 0.01)
    reader = Reader()
    run = RunningProgram(time.time(), time.time(), hourly=0.0)
    with MapDisplay(cast(MapReader, reader), screen, quiet=True):
        assert screen.instead is not None
        reader.wait(2)
        drawn = [screen.instead(run, 80) for _ in range(20)]
        assert all("≈ $0.02" in each for each in drawn), drawn
        assert reckoned == [(HOUR,)]
        reader.others = (HOUR._replace(seconds=36000.0),)
        reader.wait(2)
        assert "≈ $0.21" in screen.instead(run, 80)
        reader.others = (HOUR._replace(instance_type="no.such"),)
        reader.wait(2)
        assert "≈" not in screen.instead(run, 80), "the price of one is not known"
    assert len(reckoned) == 3
    # Nor are the outcomes counted for it: there may be a million.
    reader.outcomes = cast(Any, None)
    assert "0 of 3 done" in screen.instead(run, 80)


def test_no_more_inputs_run_than_are_left(screen: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record has outcomes that the coordinator's last report does not have."""
    monkeypatch.setattr(map_display, "_LOOK_EVERY", 0.01)
    reader, succeeded = Reader(), SimpleNamespace(succeeded=True)
    reader.outcomes = dict.fromkeys(range(3), succeeded)
    with MapDisplay(cast(MapReader, reader), screen, quiet=True):
        assert screen.instead is not None
        reader.wait(2)
        assert "3 of 3 done · 0 running" in screen.instead(RunningProgram(time.time(), time.time(), hourly=0.0), 80)
