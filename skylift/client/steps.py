"""Timing a run's steps, running them at the same time, and undoing them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

from skylift.client.errors import SkyliftError
from skylift.client.waiting import ThreadCaller
from skylift.client.watcher import Watcher

P = ParamSpec("P")
T = TypeVar("T")


@dataclass
class TimedStep:
    """A step that is under way. `detail` is shown behind its name when it is done."""

    name: str
    detail: str = ""


@dataclass(frozen=True)
class Clock:
    """Measures the seconds of each step and reports its begin and end to the watcher. A step that fails has no end."""

    watcher: Watcher
    seconds: dict[str, float] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)
    under_way: dict[str, float] = field(default_factory=dict)

    def elapsed(self) -> float:
        return time.monotonic() - self.began

    def begin(self, name: str) -> None:
        """A step that the server does has begun. This may be reported more than once."""
        if name not in self.under_way and name not in self.seconds:
            self.under_way[name] = time.monotonic()
            self.watcher.begin(name)

    def end(self, name: str, detail: str, seconds: float | None = None) -> None:
        """Such a step has ended, if it had begun. `seconds` is the server's own measure, if there is one: a short step
        may be over before it is reported here."""
        began = self.under_way.pop(name, None)
        if began is not None:
            self.seconds[name] = time.monotonic() - began if seconds is None else seconds
            self.watcher.done(name, detail, self.seconds[name])

    @contextmanager
    def step(self, name: str) -> Iterator[TimedStep]:
        step = TimedStep(name)
        began = time.monotonic()
        self.watcher.begin(name)
        yield step
        self.seconds[name] = time.monotonic() - began
        self.watcher.done(name, step.detail, self.seconds[name])


async def in_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Like asyncio.to_thread, but a cancelled caller waits for the call, so that what it makes can be undone. The call
    pauses no more then."""
    caller = ThreadCaller()
    running = asyncio.ensure_future(asyncio.to_thread(caller.awaits(call, *args, **kwargs)))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        caller.leave()
        await until_done(running)
        raise


async def until_done(running: asyncio.Future[Any]) -> None:
    """Wait for what must not be left behind, however often the caller is cancelled meanwhile. `together` cancels a step
    twice when one of its own steps is cancelled first."""
    while not running.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([running])
    if not running.cancelled():
        # Retrieve it, so that asyncio does not log an exception that was never retrieved.
        running.exception()


async def make_with_undo(
    undo: AsyncExitStack, make: Callable[[], T], unmake: Callable[[T], object], on_error: Callable[[SkyliftError], None]
) -> T:
    """Make something in a thread and push its undo, also when the caller is cancelled meanwhile.

    An undo that fails calls `on_error`, and the others run all the same.
    """
    made: list[T] = []

    async def take_back() -> None:
        try:
            await in_thread(unmake, made[0])
        except SkyliftError as error:
            on_error(error)

    try:
        await in_thread(lambda: made.append(make()))
    finally:
        if made:
            undo.push_async_callback(take_back)
    return made[0]


async def together(*steps: Coroutine[Any, Any, Any]) -> list[Any]:
    """Run all steps at the same time. The first that fails cancels the others. Its error is raised when all have
    ended."""
    tasks = [asyncio.ensure_future(step) for step in steps]
    try:
        return list(await asyncio.gather(*tasks))
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
