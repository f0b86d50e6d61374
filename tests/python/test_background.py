"""Work beside the caller's event loop: it is no obstacle, and to cancel is to press Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import aclosing
from functools import partial

import pytest

from skylift.python import background
from skylift.python.background import Background, OneCoroutine, in_threads


class Patient:
    """Work that ends when it is interrupted for the nth time."""

    def __init__(self, times: int = 1, result: str = "done") -> None:
        self._times, self._result = times, result
        self._heard = 0
        self._end = asyncio.Event()
        self.began = threading.Event()

    async def run(self) -> str:
        self.began.set()
        await self._end.wait()
        return f"{self._result} after {self._heard}"

    def interrupt(self) -> None:
        self._heard += 1
        if self._heard == self._times:
            self._end.set()


async def answer(value: int) -> int:
    await asyncio.sleep(0)
    return value


async def fail() -> None:
    raise ValueError("no")


def test_its_result_and_its_error() -> None:
    assert Background(OneCoroutine(answer(3))).result() == 3
    with pytest.raises(ValueError, match="no"):
        Background(OneCoroutine(fail())).result()


def test_nothing_is_left_of_it() -> None:
    before = threading.active_count()
    for _ in range(3):
        Background(OneCoroutine(answer(3))).result()
    for thread in threading.enumerate():
        if thread.name == "skylift":
            thread.join(10)
    # Fewer where one of the test before was just ending.
    assert threading.active_count() <= before


async def test_a_running_loop_is_no_obstacle() -> None:
    """As in a notebook's cell."""
    assert Background(OneCoroutine(answer(3))).result() == 3


def test_ctrl_c_is_the_works() -> None:
    work = Patient(2)
    press(work, 2)
    assert Background(work).result() == "done after 2"


def press(work: Patient, times: int) -> None:
    def presses() -> None:
        assert work.began.wait(10)
        for number in range(times):
            until(waits)
            os.kill(os.getpid(), signal.SIGINT)
            until(partial(has_heard, work, number + 1))

    threading.Thread(target=presses, daemon=True).start()


def waits() -> bool:
    """Whether somebody sits there who could press a key."""
    return sys._current_frames()[threading.main_thread().ident or 0].f_code.co_name == "wait"


def has_heard(work: Patient, times: int) -> bool:
    return work._heard == times


def until(there: Callable[[], bool]) -> None:
    pause = threading.Event()
    while not there():
        pause.wait(0.01)


async def test_who_is_cancelled_has_interrupted_it_and_waits_for_its_end() -> None:
    work = Patient()
    waiting = asyncio.ensure_future(Background(work).awaited())
    await asyncio.sleep(0)  # From here on it waits. A thread that is quick does not give it its turn on Python 3.14.
    assert await asyncio.to_thread(work.began.wait, 10)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert work._heard == 1


async def test_who_is_cancelled_again_waits_all_the_same() -> None:
    work, insisted = Patient(2), threading.Event()
    running = Background(work, insisted.set)
    waiting = asyncio.ensure_future(running.awaited())
    await asyncio.sleep(0)
    assert await asyncio.to_thread(work.began.wait, 10)
    for _ in range(5):
        waiting.cancel()
        await asyncio.sleep(0)
    await asyncio.to_thread(until, partial(has_heard, work, 1))
    assert not waiting.done()
    assert not insisted.is_set()
    running.interrupt()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_what_does_not_end_is_insisted_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "_PATIENCE", 0.1)
    work = Patient(2)
    waiting = asyncio.ensure_future(Background(work, work.interrupt).awaited())
    await asyncio.sleep(0)
    assert await asyncio.to_thread(work.began.wait, 10)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert work._heard == 2


async def test_a_timeout_is_a_timeout() -> None:
    work = Patient()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await Background(work).awaited()
    assert work._heard == 1


async def test_a_cancel_that_comes_before_the_work_has_begun_is_heard() -> None:
    once = OneCoroutine(asyncio.sleep(60))
    once.interrupt()
    with pytest.raises(asyncio.CancelledError):
        await once.run()


async def test_an_error_beside_a_cancel_is_nobodys_trouble(caplog: pytest.LogCaptureFixture) -> None:
    waiting = asyncio.ensure_future(Background(OneCoroutine(asyncio.sleep(60))).awaited())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert caplog.records == []


def stepwise(told: list[str], may_go_on: threading.Event, begun: threading.Event) -> Generator[int, None, None]:
    """What takes its time, and has something to put away."""
    try:
        yield 1
        begun.set()
        may_go_on.wait()
        yield 2
    finally:
        told.append("closed")


async def test_what_is_yielded_in_threads_comes_in_order_and_is_closed() -> None:
    told: list[str] = []
    go, begun = threading.Event(), threading.Event()
    go.set()
    assert [each async for each in in_threads(stepwise(told, go, begun))] == [1, 2]
    assert told == ["closed"]
    with pytest.raises(ValueError, match="no"):
        async for each in in_threads(one_and_no_more()):
            assert each == 1


def one_and_no_more() -> Generator[int, None, None]:
    yield 1
    raise ValueError("no")


async def test_who_wants_no_more_closes_it() -> None:
    told: list[str] = []
    found = in_threads(stepwise(told, threading.Event(), threading.Event()))
    assert await anext(found) == 1
    await found.aclose()
    assert told == ["closed"]


async def test_who_is_cancelled_in_the_middle_of_a_step_goes_on_when_it_is_closed() -> None:
    told: list[str] = []
    go, begun = threading.Event(), threading.Event()

    async def take() -> list[int]:
        async with aclosing(in_threads(stepwise(told, go, begun))) as found:
            return [each async for each in found]

    task = asyncio.ensure_future(take())
    await asyncio.to_thread(begun.wait)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert told == ["closed"]
