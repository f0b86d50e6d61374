"""How a run's steps are timed, done beside each other, and undone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

from skylift.runner.errors import SkyliftError
from skylift.runner.watcher import Watcher

P = ParamSpec("P")
T = TypeVar("T")


@dataclass
class Step:
    """A step under way; `detail` is what stands behind its name on the screen when it is done."""

    name: str
    detail: str = ""


@dataclass(frozen=True)
class Clock:
    """Seconds by step, told to the watcher as each ends; a step that fails is not told as done."""

    watcher: Watcher
    seconds: dict[str, float] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)
    under_way: dict[str, float] = field(default_factory=dict)

    def elapsed(self) -> float:
        return time.monotonic() - self.began

    def begin(self, name: str) -> None:
        """A step that somebody else does has begun. It may be reported more than once."""
        if name not in self.under_way and name not in self.seconds:
            self.under_way[name] = time.monotonic()
            self.watcher.begin(name)

    def end(self, name: str, detail: str, seconds: float | None = None) -> None:
        """Such a step has ended, if it had begun. `seconds` is a better measure of it, where there is one: a short step
        may be over before we hear of it."""
        began = self.under_way.pop(name, None)
        if began is not None:
            self.seconds[name] = time.monotonic() - began if seconds is None else seconds
            self.watcher.done(name, detail, self.seconds[name])

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        step = Step(name)
        began = time.monotonic()
        self.watcher.begin(name)
        yield step
        self.seconds[name] = time.monotonic() - began
        self.watcher.done(name, step.detail, self.seconds[name])


async def in_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Like asyncio.to_thread, but a cancelled caller waits: what the call makes can then be undone."""
    running = asyncio.ensure_future(asyncio.to_thread(call, *args, **kwargs))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        # Looked at, so that asyncio does not complain of one that nobody took.
        running.exception()
        raise


async def made(
    undo: AsyncExitStack, make: Callable[[], T], unmake: Callable[[T], object], trouble: Callable[[SkyliftError], None]
) -> T:
    """Make something in a thread and put its undo on the stack, also when the caller was cancelled meanwhile.

    An undo that fails tells `trouble` and does not stand in the way of the others, nor of the run's own end.
    """
    running = asyncio.ensure_future(asyncio.to_thread(make))

    async def take_back(thing: T) -> None:
        try:
            await in_thread(unmake, thing)
        except SkyliftError as error:
            trouble(error)

    try:
        thing = await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        if running.exception() is None:
            undo.push_async_callback(take_back, running.result())
        raise
    undo.push_async_callback(take_back, thing)
    return thing


async def together(*steps: Coroutine[Any, Any, Any]) -> list[Any]:
    """All at the same time. The first that fails cancels the others, which end before its error is raised."""
    tasks = [asyncio.ensure_future(step) for step in steps]
    try:
        return list(await asyncio.gather(*tasks))
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
