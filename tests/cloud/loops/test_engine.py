from __future__ import annotations

import threading

from skylift.cloud.loops.engine import Engine


class Counted:
    """A step that says each time that it was run."""

    def __init__(self) -> None:
        self.times = 0
        self._run = threading.Semaphore(0)

    def __call__(self) -> None:
        self.times += 1
        self._run.release()

    def await_run(self) -> None:
        assert self._run.acquire(timeout=120)


def failing() -> None:
    raise ValueError("this step cannot")


def test_steps_run_at_the_start_and_at_every_wake_and_chores_not_that_often() -> None:
    engine, step, chore = Engine(), Counted(), Counted()
    engine.steps, engine.chores = (step,), (chore,)
    engine.start()
    step.await_run()
    chore.await_run()
    for _ in range(3):
        engine.wake()
        step.await_run()
    engine.stop()
    assert chore.times == 1


def test_a_step_that_fails_stops_neither_the_next_one_nor_the_next_time() -> None:
    engine, step = Engine(), Counted()
    engine.steps = (failing, step)
    engine.start()
    step.await_run()
    engine.wake()
    step.await_run()
    engine.stop()


def test_a_wake_while_the_steps_run_is_not_lost() -> None:
    engine, after = Engine(), Counted()
    woken = threading.Event()

    def wakes_once() -> None:
        if not woken.is_set():
            woken.set()
            engine.wake()

    engine.steps = (wakes_once, after)
    engine.start()
    after.await_run()
    after.await_run()
    engine.stop()


def test_the_steps_run_again_when_it_was_asked_for() -> None:
    """Each run asks for the next one, as long as there is something to come."""
    engine, step = Engine(), Counted()

    def asks() -> None:
        if step.times < 2:
            engine.wake_in(0.01)

    engine.steps = (asks, step)
    engine.start()
    for _ in range(3):
        step.await_run()
    engine.stop()


def test_a_step_that_asks_for_a_later_run_is_not_run_at_once_for_that() -> None:
    engine, step = Engine(), Counted()
    engine.steps = (lambda: engine.wake_in(3600), step)
    engine.start()
    step.await_run()
    engine.wake()
    step.await_run()
    engine.stop()
    assert step.times == 2
