"""The supervisor's own code in a world that strikes it: what must hold, held."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from life_clock import EPOCH
from life_history import LENGTH, Blow, Job, Life, Plan, live, make_plan, tell
from life_python import Python


@functools.cache
def supervisor() -> Python:
    return Python()


def a_job(**more: Any) -> Job:
    told: dict[str, Any] = {
        "name": "j",
        "spot": False,
        "deadline": int(EPOCH) + LENGTH,
        "max_time": 3600.0,
        "units": 5,
        "pace": 2.0,
        "save_every": 0,
        "end_kind": "exit",
        "end_code": 3,
        "on_term": "die",
        "keep": 0,
        "large": False,
        "has_env": False,
    }
    return Job(**{**told, **more})


def a_plan(*blows: Blow, **more: Any) -> Plan:
    told: dict[str, Any] = {"trouble": 0.0, "outages": [], "patience": 300.0, "calm_after": 900.0}
    return Plan(blows=list(blows), **{**told, **more})


def each_way(job: dict[str, Any], *blows: Blow, number: int = 15, **plan: Any) -> list[Life]:
    """The same plan, with everybody's turns in another order each time."""
    lives = [live(seed, supervisor(), (a_plan(*blows, **plan), a_job(**job))) for seed in range(number)]
    for life in lives:
        if life.wrong:
            pytest.fail(tell(life))
    return lives


def status(life: Life) -> dict[str, Any]:
    found: dict[str, Any] = life.cloud.get("jobs/j/server/status.json")
    return found


def test_the_same_seed_is_the_same_story() -> None:
    stories = {tell(live(22, supervisor())) for _ in range(3)}
    assert len(stories) == 1


def test_seeds_plan_what_there_is_to_plan() -> None:
    kinds = {blow.kind for seed in range(400) for blow in make_plan(seed)[0].blows}
    assert {"kill supervisor", "kill keeper", "kill both", "power loss", "notice", "notice taken back"} <= kinds


@pytest.mark.parametrize("on_term", ["die", "save", "finish", "ignore"])
def test_a_program_that_goes_down_with_its_server_has_not_ended(on_term: str) -> None:
    """Supervisor, keeper and program hear of it one after the other; whoever hears first must not tell of an end."""
    for life in each_way({"on_term": on_term, "pace": 10.0}, Blow("reboot", at=20.0)):
        assert (status(life)["state"], status(life)["exit_code"]) == ("rebooted", 122), tell(life)


@pytest.mark.parametrize("spot", [False, True])
@pytest.mark.parametrize("strike", ["power cycle", "kill supervisor"])
def test_an_end_that_was_told_stays(strike: str, spot: bool) -> None:
    """Also when its supervisor did not live to note that it has told it."""
    for when in ("over", "final") if spot else ("final",):
        for life in each_way({"spot": spot, "save_every": 0}, Blow(strike, when=when), number=10):
            assert (status(life)["state"], status(life)["exit_code"]) == ("failed", 3), tell(life)


def test_the_time_of_sending_is_not_the_programs() -> None:
    """Of a server that is taken away, and could not send for a while what its program left."""
    job = {"spot": True, "on_term": "save", "pace": 20.0, "save_every": 1}
    for life in each_way(job, Blow("notice", at=30.0), outages=[(33.0, 80.0)], number=8):
        run = life.job.runs[0]
        assert run.ended is not None
        told = life.cloud.get("jobs/j/server/attempts/2.json")
        assert told["ran"] == pytest.approx(run.ended - run.started, abs=1.0), tell(life)
