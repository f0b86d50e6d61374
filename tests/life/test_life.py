"""The supervisor's own code in a world that strikes it: what must hold, held."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from life_clock import EPOCH
from life_history import Life, live, tell
from life_plan import LENGTH, Blow, Job, Plan, make_plan
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
        # What a program that catches SIGTERM exits with may have been told before its supervisor has heard.
        if on_term in ("die", "ignore"):
            assert (status(life)["state"], status(life)["exit_code"]) == ("rebooted", 122), tell(life)


@pytest.mark.parametrize("on_term", ["die", "save"])
@pytest.mark.parametrize("strike", ["reboot", "power cycle"])
def test_a_spot_job_with_a_checkpoint_goes_on_elsewhere_after_a_reboot(strike: str, on_term: str) -> None:
    job = {"spot": True, "save_every": 1, "on_term": on_term, "pace": 20.0, "end_code": 0}
    for life in each_way(job, Blow(strike, at=65.0)):
        assert status(life)["state"] == "succeeded", tell(life)
        first, *later = life.job.runs
        assert later, tell(life)
        assert later[0].server is not first.server, tell(life)
        assert later[-1].count_at_start > 0, tell(life)


def test_a_checkpoint_that_a_program_leaves_at_a_shutdown_counts() -> None:
    """It is not sent before, and who starts the server again knows how the program has ended."""
    job = {"spot": True, "save_every": 50, "on_term": "save", "pace": 20.0, "end_code": 0}
    for life in each_way(job, Blow("reboot", at=65.0), number=25):
        first, *later = life.job.runs
        # In the model a server goes off after 1 to 90 s, whoever is still busy.
        if first.code == 75 and later:
            assert later[-1].count_at_start > 0, tell(life)


def test_a_program_that_ends_with_0_in_a_shutdown_is_done_if_it_could_go_on_elsewhere() -> None:
    job = {"spot": True, "save_every": 50, "on_term": "finish", "pace": 20.0, "end_code": 0}
    for life in each_way(job, Blow("reboot", at=65.0), number=25):
        if life.job.runs[0].code == 0:
            assert (status(life)["state"], len(life.job.runs)) == ("succeeded", 1), tell(life)


def test_who_stands_by_takes_nothing_up_from_a_server_that_goes_down() -> None:
    """The second pair, which is there since the keeper was killed, begins when the shutdown has ended the first."""
    for life in each_way({"pace": 10.0}, Blow("kill keeper", at=5.0), Blow("reboot", at=20.0), number=25):
        assert (status(life)["state"], status(life)["exit_code"]) == ("rebooted", 122), tell(life)


@pytest.mark.parametrize("spot", [False, True])
@pytest.mark.parametrize("strike", ["power cycle", "kill supervisor"])
def test_an_end_that_was_told_stays(strike: str, spot: bool) -> None:
    """Also when its supervisor did not live to note that it has told it."""
    for when in ("over", "final") if spot else ("final",):
        for life in each_way({"spot": spot, "save_every": 0}, Blow(strike, when=when), number=10):
            assert (status(life)["state"], status(life)["exit_code"]) == ("failed", 3), tell(life)


@pytest.mark.parametrize("more", [[], [Blow("kill supervisor", at=45.0)]])
def test_the_time_of_sending_is_not_the_programs(more: list[Blow]) -> None:
    """Of a server that is taken away, and could not send for a while what its program left."""
    job = {"spot": True, "on_term": "save", "pace": 20.0}
    for life in each_way(job, Blow("notice", at=30.0), *more, outages=[(33.0, 80.0)], number=8):
        run = life.job.runs[0]
        assert run.ended is not None
        told = life.cloud.get("jobs/j/server/attempts/2.json")
        assert told["ran"] == pytest.approx(run.ended - run.started, abs=1.0), tell(life)


LONG = {"pace": 30.0, "units": 5}
MUTANTS: dict[str, tuple[str, str, str, dict[str, Any], list[Blow], str]] = {
    "a holder that is not heard of is not ended": (
        "attempts",
        "end_server(self._aws, holder, self._until)",
        "pass",
        {"spot": True, "pace": 60.0},
        [Blow("kill both", at=20.0), Blow("a server too many", at=30.0)],
        "two at once",
    ),
    "an attempt is taken whoever has it": (
        "attempts",
        'body, {"if-none-match": "*"})',
        "body, {})",
        {"spot": True},
        [Blow("a server too many", at=0.0)],
        "two at once",
    ),
    "a program that may have started is started": (
        "recovery",
        'return start is not None and ("pid" in self._noted or start["boot"] != self.boot)',
        "return False",
        LONG,
        [Blow("kill supervisor", at=20.0)],
        "is not to be run again",
    ),
    "a keeper forgets how a program ended": (
        "guardian",
        'if noted.get("pid") != ended.si_pid or noted.get("end") is not None:',
        "if True:",
        LONG,
        [Blow("kill supervisor", at=20.0)],
        "the record has no end",
    ),
    "the cap is not kept": ("running", "cap.start()", "pass", {**LONG, "max_time": 30.0}, [], "with a cap of"),
    "the fleet is left": (
        "delivery",
        "        if session.record.fleet:\n            release_fleet(context)\n",
        "",
        {"spot": True},
        [],
        "is brought after the job's end",
    ),
    "results are told of and not sent": (
        "results",
        '"size": file.tell(), "sha256": digest}',
        '"size": file.tell(), "sha256": ""}',
        {},
        [],
        "is not there as the manifest has it",
    ),
    "a signal is 127 and not 128": (
        "outcome",
        "exit_code = 128 - code if code < 0 else code",
        "exit_code = 127 - code if code < 0 else code",
        {**LONG, "on_term": "die"},
        [Blow("cancel", at=20.0)],
        "the record says cancelled",
    ),
    "an answer to a notice is the job's end": (
        "outcome",
        "return code != 0\n",
        "return False\n",
        {**LONG, "spot": True, "on_term": "save"},
        [Blow("notice", at=20.0)],
        "the record says failed",
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_what_is_broken_by_hand_is_seen(name: str) -> None:
    """The model must be able to fail: one decision of the supervisor's is another one, and a promise does not hold."""
    module, old, new, job, blows, expected = MUTANTS[name]
    broken = Python(edit={module: [(old, new)]})
    for seed in range(20):
        life = live(seed, broken, (a_plan(*blows), a_job(**job)))
        if any(expected in each for each in life.wrong):
            return
    pytest.fail(tell(life))


def test_an_end_that_its_attempt_has_told_stays() -> None:
    """The server goes down right after: what ended in that second might have been ended by it, and was told already."""
    for life in each_way({"spot": True, "end_code": 0}, Blow("reboot", when="over"), lost=("server/status.json", 20.0)):
        assert (status(life)["state"], status(life)["exit_code"]) == ("succeeded", 0), tell(life)


def test_what_was_never_told_is_not_waited_for() -> None:
    """Of an object that is not there a server hears that it is denied, as one hears whose role is not known yet."""
    job = {"units": 1, "pace": 0.2}
    for life in each_way(job, Blow("kill supervisor", at=8.0), lost=("server/status.json", 12.0), number=10):
        assert life.job.final_at is not None, tell(life)
        assert life.job.final_at < EPOCH + 60, tell(life)


@pytest.mark.parametrize("strike", ["power cycle", "power loss"])
@pytest.mark.parametrize("when", ["forgotten", "over", "final"])
def test_the_values_of_a_spot_job_go_with_its_end_and_not_before(when: str, strike: str) -> None:
    """A next server could neither begin the job without them, nor know its end."""
    for life in each_way({"spot": True, "has_env": True}, Blow(strike, when=when), number=8):
        assert (status(life)["state"], status(life)["exit_code"]) == ("failed", 3), tell(life)


def test_a_disk_that_fails_once_while_results_are_sent_is_not_the_jobs_end() -> None:
    sending = "        with self._sending:\n"
    failing = sending + "            if final:\n                self._fail_once()\n"
    method = "    def _send_files(self"
    once = "    def _fail_once(self) -> None:\n        if not self.__dict__.setdefault('failed', False):\n"
    once += "            self.failed = True\n            raise OSError(5, 'Input/output error')\n\n"
    struck = Python(edit={"results": [(sending, failing), (method, once + method)]})
    for seed in range(5):
        life = live(seed, struck, (a_plan(), a_job(spot=True)))
        assert (status(life)["state"], status(life)["exit_code"]) == ("failed", 3), tell(life)
        assert life.wrong == [], tell(life)
