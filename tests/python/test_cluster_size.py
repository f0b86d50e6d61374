"""How many workers are started or given back, and what becomes of those that fail."""

from __future__ import annotations

import threading

import pytest

from skylift.python.cluster.size import IDLE, ClusterLimits, Size
from skylift.python.cluster.workers import FAILURES, LONGEST, SHORTEST, Workers


@pytest.mark.parametrize(
    ("limits", "there", "target", "change"),
    [
        ((2, 2), 0, 0, 2),
        ((2, 2), 2, 9, 0),
        ((0, 8), 0, 3, 3),
        ((0, 8), 3, 50, 5),
        ((1, 8), 0, 0, 1),
        ((0, 8), 3, 1, 0),
        ((2, 2), 5, 5, -3),
    ],
)
def test_a_look(limits: tuple[int, int], there: int, target: int, change: int) -> None:
    assert Size(ClusterLimits(*limits)).change(there, target, 1000) == change


def test_a_worker_goes_when_fewer_have_been_enough_for_a_while() -> None:
    size = Size(ClusterLimits(1, 8))
    assert size.change(4, 2, 1000) == 0
    assert size.change(4, 4, 1000 + IDLE / 2) == 0, "they are needed again"
    assert size.change(4, 0, 1000 + IDLE) == 0
    assert size.change(4, 0, 1000 + IDLE * 2 - 1) == 0
    assert size.change(4, 0, 1000 + IDLE * 2) == -3


class Crew:
    """Workers whose starts are held up by `gate`, where it is closed, or fail as `error` says."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.ended: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.error: Exception | None = None
        self.now = 1000.0
        self.workers = Workers(lambda number: f"w{number}", self._start, self.ended.append, lambda: self.now)

    def _start(self, name: str) -> None:
        self.started.append(name)
        self.gate.wait()
        if self.error is not None:
            raise self.error

    def settle(self) -> None:
        for each in self.workers._workers.values():
            each.starting.exception()


def test_workers_on_their_way_are_waited_for_and_count() -> None:
    crew = Crew()
    crew.gate.clear()
    crew.workers.add(2)
    crew.workers.forget_lost(set(), lambda: pytest.fail("none is missing yet"))
    assert len(crew.workers) == 2
    crew.gate.set()
    assert sorted(crew.workers.close()) == ["w1", "w2"]
    crew.workers.add(1)
    assert sorted(crew.started) == ["w1", "w2"], "none is started after the end"


def test_a_lost_worker_is_replaced_and_three_that_never_came_are_not() -> None:
    crew = Crew()
    crew.workers.add(1)
    crew.settle()
    crew.workers.registered({"w1", "of-somebody-else"})
    for _ in range(FAILURES + 1):
        # Its server is lost each time after it has worked.
        name = crew.started[-1]
        crew.workers.registered({name})
        crew.workers.forget_lost(set(), set)
        assert len(crew.workers) == 0
        crew.workers.add(1)
        crew.settle()
    for _ in range(FAILURES):
        crew.workers.forget_lost(set(), set)
        crew.workers.add(1)
        crew.settle()
    assert crew.workers.failing
    assert len(crew.workers) == 0
    crew.workers.reset_failures()
    crew.workers.add(1)
    assert len(crew.workers) == 1
    assert crew.workers.close() == crew.started, "jobs of lost ones are to be removed, too"


def test_workers_that_cannot_be_started_are_tried_again_for_ever() -> None:
    """EC2 has no room, say. Three tries in a row, which cost nothing, were the end of it: the tasks of a cluster of
    (0, 8) waited for nobody."""
    crew = Crew()
    crew.error = RuntimeError("No room.")
    pause = SHORTEST
    for _ in range(10):
        crew.workers.add(2)
        assert len(crew.workers) == 2
        crew.settle()
        crew.workers.forget_lost(set(), set)
        crew.now += pause - 1
        crew.workers.add(1)
        assert len(crew.workers) == 0 and not crew.workers.failing
        crew.now += 1
        pause = min(2 * pause, LONGEST)
    crew.error = None
    crew.workers.add(1)
    crew.settle()
    crew.workers.registered({"w21"})
    assert crew.workers.close() == ["w21"]


def test_somebody_who_asks_does_not_wait_for_the_next_try() -> None:
    crew = Crew()
    crew.error = RuntimeError("No room.")
    crew.workers.add(1)
    crew.settle()
    crew.workers.forget_lost(set(), set)
    crew.workers.add(1)
    assert len(crew.workers) == 0
    crew.workers.reset_failures()
    crew.workers.add(1)
    assert len(crew.workers) == 1
    assert crew.workers.close() == []


def test_a_worker_of_a_job_that_goes_on_is_not_lost() -> None:
    """It boots, or its line to the scheduler is down."""
    crew = Crew()
    crew.workers.add(1)
    crew.settle()
    crew.workers.forget_lost(set(), lambda: {"w1"})
    assert len(crew.workers) == 1


def test_a_name_that_another_job_has_is_not_ended() -> None:
    crew = Crew()
    crew.error = RuntimeError("taken")
    crew.workers.add(1)
    assert crew.workers.close() == []


def test_only_own_workers_are_given_back() -> None:
    crew = Crew()
    crew.workers.add(2)
    crew.settle()
    crew.workers.give_back({"w2", "of-somebody-else"})
    assert crew.workers.close() == ["w1"]
    assert crew.ended == ["w2"]
