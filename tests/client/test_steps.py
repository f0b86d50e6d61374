"""Steps that run at the same time, and what is undone when one of them fails."""

from __future__ import annotations

import asyncio
import threading
from contextlib import AsyncExitStack

import pytest

from skylift.client.errors import SkyliftError
from skylift.client.steps import in_thread, make_with_undo, together


async def _fail_once(making: threading.Event) -> None:
    await asyncio.to_thread(making.wait)
    raise LookupError


def test_what_is_still_being_made_is_undone_though_its_neighbour_has_ended_first() -> None:
    """Both are steps of one step: it is cancelled, and cancels them again as soon as the first of them has ended."""
    making, may_end = threading.Event(), threading.Event()
    things: list[str] = []

    def make() -> None:
        making.set()
        assert may_end.wait(60)
        things.append("made")

    def unmake(_: None) -> None:
        things.remove("made")

    async def neighbour() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            # By then the step above has heard of this, and has cancelled the other one again.
            asyncio.get_running_loop().call_later(0.05, may_end.set)

    async def run() -> None:
        async with AsyncExitStack() as undo:
            await together(together(make_with_undo(undo, make, unmake, _raise), neighbour()), _fail_once(making))

    with pytest.raises(LookupError):
        asyncio.run(run())
    assert things == []


def test_a_call_in_a_thread_is_waited_for_however_often_it_is_cancelled() -> None:
    begun, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def call() -> None:
        begun.set()
        assert may_end.wait(60)
        ended.set()

    async def run() -> None:
        task = asyncio.ensure_future(in_thread(call))
        await asyncio.to_thread(begun.wait)
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0)
        assert not task.done()
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended.is_set()

    asyncio.run(run())


def _raise(error: SkyliftError) -> None:
    raise error
