"""Who runs when: tasks that take turns, a clock that moves only when nobody has anything to do, and one seed for all.

A task is a green thread that gives its turn away at seams alone: a wait, a lock, a request, a write to the disk. The
seed decides who goes on, so that a history is the same each time.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from typing import Any

from greenlet import getcurrent, greenlet

EPOCH = 1_800_000_000.0
_MOST_TURNS = 200_000


class Killed(BaseException):
    """Raised in whoever is no more, at each seam, so that nothing of its clearing up reaches the world."""


class Endless(Exception):
    """A history that does not come to its end."""


class Process:
    """What can be killed: its tasks go with it. `server` and the rest belong to life_server.py."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = False
        self.tasks: list[Task] = []


class Task:
    def __init__(self, world: World, process: Process, name: str, call: Callable[[], Any]) -> None:
        self.world, self.process, self.name, self._call = world, process, name, call
        self.green = greenlet(self._run, parent=world.hub)
        self.over = False
        self.killed = False
        self.waiting = 0
        """The number of the wait that it is in: a timer or a wake for an earlier one is too late."""
        self.woken = False
        self.joiners = Queue(world)
        self.failed: BaseException | None = None
        self.thread: Any = None
        process.tasks.append(self)

    def _run(self) -> None:
        try:
            if self.process.dead:
                raise Killed
            self._call()
        except Killed:
            self.killed = True
        except Exception as error:  # noqa: BLE001 (a thread that dies is something to tell of)
            self.failed = error
            self.world.task_failed(self, error)
        finally:
            self.over = True
            if self in self.process.tasks:
                self.process.tasks.remove(self)
            self.joiners.wake_all()


class Queue:
    """Those who wait for one thing."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._waiting: list[tuple[Task, int]] = []

    def wait(self, timeout: float | None = None) -> bool:
        """Whether it came, rather than that the time is over."""
        return self._world.wait(self._waiting, timeout)

    def wake(self, number: int = 1) -> None:
        while self._waiting and number:
            task, wait = self._waiting.pop(0)
            number -= self._world.make_ready(task, wait, woken=True)

    def wake_all(self) -> None:
        self.wake(len(self._waiting))


class World:
    """`story` is what happened, in plain words."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.hub = getcurrent()
        self.now = EPOCH
        self.story: list[tuple[float, str]] = []
        self._ready: list[Task] = []
        self._timers: list[tuple[float, int, Callable[[], Any]]] = []
        self._numbers = itertools.count()
        self._waits = itertools.count(1)
        self.turns = 0
        self.task_failed: Callable[[Task, BaseException], Any] = lambda task, error: None
        self.at_seam: Callable[[Task, str], Any] = lambda task, what: None

    def tell(self, text: str) -> None:
        self.story.append((self.now - EPOCH, text))

    # Tasks.

    @property
    def current(self) -> Task | None:
        return self._current

    _current: Task | None = None

    def spawn(self, process: Process, name: str, call: Callable[[], Any]) -> Task:
        task = Task(self, process, name, call)
        self._ready.append(task)
        return task

    def make_ready(self, task: Task, wait: int, *, woken: bool) -> bool:
        if task.over or task.waiting != wait:
            return False
        task.waiting, task.woken = 0, woken
        self._ready.append(task)
        return True

    def later(self, seconds: float, call: Callable[[], Any]) -> None:
        """Something that the world does by itself."""
        heapq.heappush(self._timers, (self.now + max(0.0, seconds), next(self._numbers), call))

    def wait(self, queue: list[tuple[Task, int]] | None, timeout: float | None) -> bool:
        task = self._current
        assert task is not None
        self._check(task)
        wait = next(self._waits)
        task.waiting = wait
        if queue is not None:
            queue.append((task, wait))
        if timeout is not None:
            self.later(timeout, lambda: self.make_ready(task, wait, woken=False))
        self.hub.switch()
        self._check(task)
        return task.woken

    def sleep(self, seconds: float) -> None:
        self.wait(None, seconds)

    def seam(self, what: str) -> None:
        """Where a turn may end, and a life."""
        task = self._current
        if task is None:
            return
        self._check(task)
        self.at_seam(task, what)
        self._check(task)
        if self.random.random() < 0.15:
            self.sleep(0.0)

    def _check(self, task: Task) -> None:
        if task.process.dead:
            raise Killed

    def kill(self, process: Process) -> None:
        """All of its tasks unwind, and touch nothing. The one whose turn it is does so at its next seam."""
        process.dead = True
        for task in list(process.tasks):
            if task is not self._current and not task.over:
                self.later(0.0, lambda task=task: self._reap(task))

    def _reap(self, task: Task) -> None:
        if task.over:
            return
        task.waiting = 0
        if task.green:
            self._turn(task, throw=True)
        else:
            # It has not had its first turn, in which it will see for itself.
            self._ready.append(task)

    def _turn(self, task: Task, *, throw: bool = False) -> None:
        before, self._current = self._current, task
        try:
            if throw:
                task.green.throw(Killed)
            else:
                task.green.switch()
        finally:
            self._current = before
        if not task.over and throw:
            raise AssertionError(f"{task.name} outlives its process")

    def run(self, until: float) -> None:
        """Until nothing more can happen, or the clock has come to `until`."""
        while True:
            while self._ready:
                self.turns += 1
                if self.turns > _MOST_TURNS:
                    raise Endless(f"{_MOST_TURNS} turns, and no end")
                index = self.random.randrange(len(self._ready)) if len(self._ready) > 1 else 0
                task = self._ready.pop(index)
                if not task.over:
                    self._turn(task)
            if not self._timers or self._timers[0][0] > until:
                return
            self.now, _, call = heapq.heappop(self._timers)
            call()

    def end(self) -> None:
        """Nobody is left over."""
        self._ready.clear()
        self._timers.clear()
