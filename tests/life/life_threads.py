"""Time, threads, queues and futures of the model. Each turn is the world's to give."""

from __future__ import annotations

import datetime
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from weakref import WeakKeyDictionary

from life_clock import Queue
from life_stage import Module, me, world

# Time.


class TimeModule(Module):
    real = time

    def time(self) -> float:
        return world().now

    def time_ns(self) -> int:
        return int(world().now * 1e9)

    def monotonic(self) -> float:
        return world().now

    perf_counter = monotonic

    def sleep(self, seconds: float) -> None:
        world().seam("sleep")
        world().sleep(max(0.0, seconds))


class _Now(datetime.datetime):
    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return cls.fromtimestamp(world().now, tz)


class DatetimeModule(Module):
    real = datetime
    datetime = _Now


class SecretsModule(Module):
    real = secrets

    def token_hex(self, size: int = 16) -> str:
        return f"{world().random.getrandbits(8 * size):0{2 * size}x}"


# Threads. What is made when a module is loaded is shared by all that run it, and each process has its own state of it.


class _Own:
    """A part of the state per world and process."""

    def _state(self) -> dict[str, Any]:
        states: WeakKeyDictionary[Any, dict[str, Any]] = self.__dict__.setdefault("_states", WeakKeyDictionary())
        process = me()
        if process not in states:
            states[process] = self._fresh()
        return states[process]

    def _fresh(self) -> dict[str, Any]:
        raise NotImplementedError


class Semaphore(_Own):
    def __init__(self, value: int = 1) -> None:
        self._value = value

    def _fresh(self) -> dict[str, Any]:
        return {"value": self._value, "queue": Queue(world()), "holder": None}

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        world().seam("lock")
        state = self._state()
        until = None if timeout is None or timeout < 0 else world().now + timeout
        while state["value"] <= 0:
            if not blocking or (until is not None and world().now >= until):
                return False
            state["queue"].wait(None if until is None else until - world().now)
        state["value"] -= 1
        return True

    def release(self) -> None:
        state = self._state()
        state["value"] += 1
        state["queue"].wake()

    def locked(self) -> bool:
        return self._state()["value"] <= 0

    def __enter__(self) -> Any:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class Lock(Semaphore):
    def __init__(self) -> None:
        super().__init__(1)


class RLock(_Own):
    def _fresh(self) -> dict[str, Any]:
        return {"holder": None, "depth": 0, "queue": Queue(world())}

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        world().seam("lock")
        state, task = self._state(), world().current
        while state["holder"] not in (None, task):
            state["queue"].wait()
        state["holder"], state["depth"] = task, state["depth"] + 1
        return True

    def release(self) -> None:
        state = self._state()
        state["depth"] -= 1
        if not state["depth"]:
            state["holder"] = None
            state["queue"].wake()

    def __enter__(self) -> Any:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class Condition:
    def __init__(self, lock: Any = None) -> None:
        self._lock = lock or RLock()
        self._queue: Queue | None = None

    def _waiting(self) -> Queue:
        if self._queue is None:
            self._queue = Queue(world())
        return self._queue

    def __enter__(self) -> Any:
        self._lock.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def wait(self, timeout: float | None = None) -> bool:
        self._lock.release()
        came = self._waiting().wait(timeout)
        self._lock.acquire()
        return came

    def wait_for(self, look: Callable[[], Any], timeout: float | None = None) -> Any:
        until = None if timeout is None else world().now + timeout
        while not (found := look()):
            if until is not None and world().now >= until:
                break
            self.wait(None if until is None else until - world().now)
        return found

    def notify(self, number: int = 1) -> None:
        self._waiting().wake(number)

    def notify_all(self) -> None:
        self._waiting().wake_all()


class Event:
    def __init__(self) -> None:
        self._set, self._queue = False, Queue(world())

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        world().seam("event")
        self._set = True
        self._queue.wake_all()

    def clear(self) -> None:
        self._set = False

    def wait(self, timeout: float | None = None) -> bool:
        world().seam("event")
        if not self._set:
            self._queue.wait(timeout)
        return self._set


class Thread:
    def __init__(
        self,
        group: None = None,
        target: Callable[..., Any] | None = None,
        name: str | None = None,
        args: Iterable[Any] = (),
        kwargs: dict[str, Any] | None = None,
        *,
        daemon: bool | None = None,
    ) -> None:
        self._target, self._args, self._kwargs = target, tuple(args), kwargs or {}
        self.name = name or (target.__name__ if target else type(self).__name__)
        self.daemon = daemon
        self._task: Any = None

    def run(self) -> None:
        if self._target is not None:
            self._target(*self._args, **self._kwargs)

    def start(self) -> None:
        world().seam("thread")
        self._task = world().spawn(me(), self.name, self.run)
        self._task.thread = self

    def join(self, timeout: float | None = None) -> None:
        world().seam("join")
        if not self._task.over:
            self._task.joiners.wait(timeout)

    def is_alive(self) -> bool:
        return self._task is not None and not self._task.over


class Timer(Thread):
    def __init__(self, interval: float, function: Callable[..., Any], args: Any = None, kwargs: Any = None) -> None:
        super().__init__(name="timer")
        self.interval, self.function, self.args, self.kwargs = interval, function, args or [], kwargs or {}
        self._finished = Event()

    def cancel(self) -> None:
        self._finished.set()

    def run(self) -> None:
        if not self._finished.wait(self.interval):
            self.function(*self.args, **self.kwargs)


class ThreadingModule(Module):
    real = threading
    refused = frozenset({"Barrier", "local", "main_thread", "enumerate", "stack_size"})
    Semaphore = BoundedSemaphore = Semaphore
    Lock, RLock, Condition, Event, Thread, Timer = Lock, RLock, Condition, Event, Thread, Timer

    def current_thread(self) -> Any:
        task = world().current
        assert task is not None
        return task.thread

    def get_ident(self) -> int:
        return id(world().current)


class SimpleQueue:
    def __init__(self) -> None:
        self._items: deque[Any] = deque()
        self._queue = Queue(world())

    def __class_getitem__(cls, item: Any) -> Any:
        return cls

    def put(self, item: Any) -> None:
        self._items.append(item)
        self._queue.wake()

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        world().seam("queue")
        while not self._items:
            if not self._queue.wait(timeout) and timeout is not None:
                import queue

                raise queue.Empty
        return self._items.popleft()

    def empty(self) -> bool:
        return not self._items


class QueueModule(Module):
    import queue as real

    SimpleQueue = Queue = SimpleQueue


class _Future:
    def __init__(self) -> None:
        self._over, self._value, self._error = Event(), None, None

    def _do(self, call: Callable[[], Any]) -> None:
        try:
            self._value = call()
        except Exception as error:  # noqa: BLE001 (raised to whoever asks)
            self._error = error
        self._over.set()

    def done(self) -> bool:
        return self._over.is_set()

    def exception(self) -> Any:
        self._over.wait()
        return self._error

    def result(self, timeout: float | None = None) -> Any:
        self._over.wait(timeout)
        if self._error is not None:
            raise self._error
        return self._value

    def cancel(self) -> bool:
        return False


class _Pool:
    def __init__(self, max_workers: int = 4, **_: Any) -> None:
        self._free = Semaphore(max_workers)
        self._threads: list[Thread] = []

    def submit(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> _Future:
        future = _Future()

        def work() -> None:
            with self._free:
                future._do(lambda: call(*args, **kwargs))

        thread = Thread(target=work, name="pool")
        self._threads.append(thread)
        thread.start()
        return future

    def map(self, call: Callable[..., Any], *lists: Iterable[Any]) -> Iterator[Any]:
        futures = [self.submit(call, *args) for args in zip(*lists, strict=False)]
        return (future.result() for future in futures)

    def shutdown(self, wait: bool = True, **_: Any) -> None:
        for thread in self._threads if wait else ():
            thread.join()

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()


class FuturesModule(Module):
    import concurrent.futures as real

    ThreadPoolExecutor = _Pool

    @staticmethod
    def as_completed(futures: Iterable[_Future]) -> Iterator[_Future]:
        for each in futures:
            each.exception()
            yield each

    @staticmethod
    def wait(futures: Iterable[_Future], **_: Any) -> None:
        for each in futures:
            each.exception()
