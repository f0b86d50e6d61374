"""Timing a run's steps, running them at the same time, waiting in them, and undoing them."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ParamSpec, TypeVar
from weakref import WeakSet

from skylift.runner.errors import SkyliftError
from skylift.runner.watcher import Watcher

P = ParamSpec("P")
T = TypeVar("T")


@dataclass
class Step:
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
    def step(self, name: str) -> Iterator[Step]:
        step = Step(name)
        began = time.monotonic()
        self.watcher.begin(name)
        yield step
        self.seconds[name] = time.monotonic() - began
        self.watcher.done(name, step.detail, self.seconds[name])


class _Caller:
    """Who waits for threads. When it leaves, their pauses end at once, and those of the threads that these wait for."""

    _now: contextvars.ContextVar[_Caller | None] = contextvars.ContextVar("caller", default=None)
    _lock = threading.Lock()

    def __init__(self) -> None:
        self.left, self._inner = threading.Event(), WeakSet[_Caller]()
        outer = self._now.get()
        with self._lock:
            if outer is not None:
                outer._inner.add(self)
                if outer.left.is_set():
                    self.left.set()

    def leave(self) -> None:
        with self._lock:
            leaving = [self]
            for each in leaving:
                each.left.set()
                leaving += each._inner

    def awaits(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Callable[[], T]:
        """The call, for a thread that this one waits for."""
        context = contextvars.copy_context()
        context.run(self._now.set, self)
        return partial(context.run, partial(call, *args, **kwargs))

    @classmethod
    def of_this_thread(cls) -> _Caller | None:
        return cls._now.get()


class Threads(ThreadPoolExecutor):
    """Threads whose pauses end when whoever waits for all of them is cancelled, or leaves them with an error."""

    def __init__(self, max_workers: int) -> None:
        super().__init__(max_workers)
        self._caller = _Caller()

    def submit(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        return super().submit(self._caller.awaits(call, *args, **kwargs))

    def __exit__(self, kind: type[BaseException] | None, *rest: Any) -> None:
        if kind is not None:
            self._caller.leave()
        super().__exit__(kind, *rest)


def pause(seconds: float) -> bool:
    """Wait in a thread. False as soon as whoever waits for the thread has been cancelled."""
    caller = _Caller.of_this_thread()
    return not (caller.left if caller is not None else threading.Event()).wait(seconds)


def pauses(seconds: float, longest: float = 3.0) -> Iterator[bool]:
    """Turns of what is tried again and again in a thread, with growing pauses between them: whether there may be
    another turn. There is none after so many seconds, nor once whoever waits for the thread has been cancelled."""
    until, length = time.monotonic() + seconds, 0.1
    while time.monotonic() + length < until:
        yield True
        if not pause(length):
            break
        length = min(length * 1.6, longest)
    yield False


async def in_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Like asyncio.to_thread, but a cancelled caller waits for the call, so that what it makes can be undone. The call
    pauses no more then."""
    caller = _Caller()
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
