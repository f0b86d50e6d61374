"""Runs coroutines in an event loop of its own, in a thread of its own. So they work where a loop runs already, as in a
notebook, and a busy loop does not hold them up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from concurrent.futures import CancelledError, Future, wait
from contextlib import suppress
from typing import Any, Generic, Protocol, TypeVar

from skylift.client.steps import until_done

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_PATIENCE = 10.0
"""Seconds that a program has after SIGINT where nobody is there to press Ctrl-C once more."""


class Interruptible(Protocol[T_co]):
    """`interrupt` is Ctrl-C."""

    async def run(self) -> T_co: ...

    def interrupt(self) -> None: ...


class OneCoroutine(Generic[T]):
    """A coroutine that Ctrl-C just ends."""

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine
        self._task: asyncio.Task[T] | None = None
        self._interrupted = False

    async def run(self) -> T:
        self._task = asyncio.ensure_future(self._coroutine)
        if self._interrupted:
            self._task.cancel()
        return await self._task

    def interrupt(self) -> None:
        """Also before it has begun: the loop may hear of that first."""
        self._interrupted = True
        if self._task is not None:
            self._task.cancel()


class Background(Generic[T]):
    """Begins at once. `insist` is what is done when an interrupt of an `awaited` work has not ended it."""

    def __init__(self, work: Interruptible[T], insist: Callable[[], None] | None = None) -> None:
        self._work, self._insist = work, insist
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._serve, name="skylift", daemon=True).start()
        self._running: Future[T] = asyncio.run_coroutine_threadsafe(work.run(), self._loop)
        self._running.add_done_callback(lambda _: self._loop.call_soon_threadsafe(self._loop.stop))

    def _serve(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.get_loop().run_forever()

    def interrupt(self) -> None:
        self._call(self._work.interrupt)

    def ends_within(self, seconds: float) -> bool:
        """Waits so long at the most."""
        return bool(wait([self._running], seconds).done)

    def done(self) -> bool:
        return self._running.done()

    def result(self) -> T:
        """For who has nothing else to do. Ctrl-C is the work's own; where that ends it, KeyboardInterrupt is raised."""
        pressed = 0
        while True:
            try:
                while pressed:
                    pressed -= 1
                    self.interrupt()
                return self._running.result()
            except KeyboardInterrupt:
                # All else is done where it may strike again.
                pressed += 1
            except CancelledError:
                raise KeyboardInterrupt from None

    async def awaited(self) -> T:
        """In the caller's event loop. Who cancels the caller's task presses Ctrl-C, and has its CancelledError once the
        work has ended."""
        ending = asyncio.wrap_future(self._running)
        try:
            return await asyncio.shield(ending)
        except asyncio.CancelledError:
            self.interrupt()
            await self._end(ending)
            raise

    async def _end(self, ending: asyncio.Future[T]) -> None:
        """However often the caller is cancelled meanwhile: what has been started must not be left behind."""
        later = asyncio.get_running_loop().call_later(_PATIENCE, self._call, self._insist or (lambda: None))
        try:
            await until_done(ending)
        finally:
            later.cancel()

    def _call(self, call: Callable[[], None]) -> None:
        # What has ended in this moment needs no word any more.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(call)


async def in_threads(iterator: Generator[T, None, None]) -> AsyncGenerator[T, None]:
    """What it yields, each step in a thread. It yields no None. Who is cancelled, or wants no more, goes on when it is
    closed."""
    step: asyncio.Future[T | None] | None = None
    try:
        while True:
            step = asyncio.ensure_future(asyncio.to_thread(next, iterator, None))
            found = await asyncio.shield(step)
            if found is None:
                return
            yield found
    finally:
        if step is not None:
            await until_done(step)
        await until_done(asyncio.ensure_future(asyncio.to_thread(iterator.close)))
