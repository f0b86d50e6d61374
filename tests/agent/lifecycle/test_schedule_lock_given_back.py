"""The turn of a schedule's run is given back, also where the answer to its last sign of life was lost."""

from __future__ import annotations

import json
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
from kept_prefix import KeptPrefix, Unreachable

from skylift.agent.lifecycle.schedule_lock import KEY, Turn
from skylift.contract.record import ScheduleTerms

OURS, OTHERS = "i-0123456789abcdef0", "i-0aaaaaaaaaaaaaaaa"


class Run:
    """A run that has its turn, and whose signs of life come to S3 while their answers are lost from the first on."""

    def __init__(self) -> None:
        self.source = KeptPrefix()
        self.lost = threading.Event()
        aws = SimpleNamespace(instance=lambda: OURS)
        context: Any = SimpleNamespace(
            job="nightly-20261128-0100", deadline=time.time() + 900, source=self.source, aws=aws, retry=self._retry
        )
        program: Any = None
        self.turn = Turn(context, ScheduleTerms(overlap="skip", lasts=600, beat=0.01), program, 600)
        self.source.fault = self._fault
        self.turn.take()
        assert self.lost.wait(60)

    def running(self) -> Any:
        return json.loads(self.source.objects[KEY])

    def _retry(self, what: str, call: Any) -> Any:
        return call()

    def _fault(self, step: str, verb: str, key: str) -> None:
        if threading.current_thread().name != "turn" or verb != "put":
            return
        if self.lost.is_set():
            raise Unreachable("no way there")
        if step == "done":
            self.lost.set()
            raise Unreachable("no way back")


def test_after_a_lost_answer() -> None:
    run = Run()
    assert run.running()["beat"] == 2
    run.turn.leave()
    assert run.running() == {}


ANOTHER = json.dumps({"job": "nightly-20261129-0100", "instance": OTHERS, "beat": 1})


@pytest.mark.parametrize("body", [ANOTHER, "{}", "x"])
def test_a_run_that_was_passed_by_has_its_turn_no_more(body: str) -> None:
    """The group for other servers is the next run's then."""
    run = Run()
    assert run.turn.is_still_held()
    run.source.objects[KEY] = body.encode()
    assert not run.turn.is_still_held()
    run.turn.leave()


def test_a_run_that_cannot_look_whether_it_has_its_turn_counts_as_one_without(
    capfd: pytest.CaptureFixture[str],
) -> None:
    run = Run()

    def unreadable(step: str, verb: str, key: str) -> None:
        raise Unreachable("no way there")

    run.source.fault = unreadable
    assert not run.turn.is_still_held()
    assert "whether this run still has the turn is not known: no way there" in capfd.readouterr().out
    run.turn.leave()


@pytest.mark.parametrize("body", [ANOTHER, "{}", "x"])
def test_what_another_run_wrote_stays(body: str) -> None:
    run = Run()
    run.source.objects[KEY] = body.encode()
    run.turn.leave()
    assert run.source.objects[KEY] == body.encode()


def test_whoever_writes_there_without_end_keeps_no_server(capfd: pytest.CaptureFixture[str]) -> None:
    run, writes = Run(), iter(range(3, 1000))

    def written_meanwhile(step: str, verb: str, key: str) -> None:
        if (step, verb) == ("asked", "put"):
            told = {"job": "nightly-20261128-0100", "instance": OURS, "beat": next(writes)}
            run.source.objects[KEY] = json.dumps(told).encode()

    run.source.fault = written_meanwhile
    run.turn.leave()
    assert run.running()["instance"] == OURS
    assert "somebody else goes on writing there" in capfd.readouterr().out
