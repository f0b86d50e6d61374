"""Threads, and their pauses, which end when nobody waits for them any more. It imports no event loop: few commands have
one."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, ParamSpec, TypeVar
from weakref import WeakSet

P = ParamSpec("P")
T = TypeVar("T")


class ThreadCaller:
    """Who waits for threads. When it leaves, their pauses end at once, and those of the threads that these wait for."""

    _now: contextvars.ContextVar[ThreadCaller | None] = contextvars.ContextVar("caller", default=None)
    _lock = threading.Lock()

    def __init__(self) -> None:
        self.left, self._inner = threading.Event(), WeakSet[ThreadCaller]()
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
    def of_this_thread(cls) -> ThreadCaller | None:
        return cls._now.get()


class Threads(ThreadPoolExecutor):
    """Threads whose pauses end when whoever waits for all of them is cancelled, or leaves them with an error."""

    def __init__(self, max_workers: int) -> None:
        super().__init__(max_workers)
        self._caller = ThreadCaller()

    def submit(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        return super().submit(self._caller.awaits(call, *args, **kwargs))

    def __exit__(self, kind: type[BaseException] | None, *rest: Any) -> None:
        if kind is not None:
            self._caller.leave()
        super().__exit__(kind, *rest)


def pause(seconds: float) -> bool:
    """Wait in a thread. False as soon as whoever waits for the thread has been cancelled."""
    caller = ThreadCaller.of_this_thread()
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
