"""A Pool of the coordinator on one server. There is nothing to place, so it does without Dask."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, TypeVar

from skylift.client.map.task import SOCKET, NoVerdict, run_inputs
from skylift.contract.map_progress import ServerProgress

T = TypeVar("T")


class ThreadPool:
    """All inputs run on this server, `slots` tasks at a time. A thread only waits for programs, which are processes of
    their own."""

    def __init__(self, socket: str, instance: str, slots: int, instance_type: str | None = None) -> None:
        os.environ[SOCKET] = socket
        self._slots, self._instance, self._type = slots, instance, instance_type
        self._running: dict[int, int] = {}
        self._done = 0
        self._put_off: deque[tuple[int, dict[str, Any]]] = deque()
        self._ended: queue.SimpleQueue[tuple[int, list[Any] | None]] = queue.SimpleQueue()

    @property
    def slots(self) -> int:
        return self._slots

    def submit(self, number: int, request: dict[str, Any]) -> None:
        self._running[number] = len(request["inputs"])
        self._put_off.append((number, request))
        self._begin()

    def _begin(self) -> None:
        """An input that runs may have used up the server's processes, and threads are counted with them: what cannot
        begin begins later."""
        while self._put_off:
            # A daemon: a coordinator that ends does not wait for what runs. Its programs are ended.
            thread = threading.Thread(target=self._run, args=self._put_off[0], daemon=True)
            try:
                thread.start()
            except RuntimeError:
                return
            self._put_off.popleft()

    def _run(self, number: int, request: dict[str, Any]) -> None:
        outcomes: list[Any] | None = None
        try:
            with suppress(NoVerdict):
                outcomes = run_inputs(request)
        finally:
            self._ended.put((number, outcomes))

    def ended(self, timeout: float) -> list[tuple[int, list[Any] | None]]:
        found = self._take_here(timeout)
        for number, outcomes in found:
            self._note_end(number, outcomes)
        return found

    def _take_here(self, timeout: float) -> list[tuple[int, list[Any] | None]]:
        self._begin()
        return take_all(self._ended, timeout)

    def _note_end(self, number: int, outcomes: list[Any] | None) -> None:
        size = self._running.pop(number)
        if outcomes is not None:
            self._done += size if "unfit" not in outcomes[-1] else len(outcomes) - 1

    def servers(self) -> Sequence[ServerProgress]:
        return [ServerProgress(self._instance, sum(self._running.values()), self._done, self._type)]


def take_all(waiting: queue.SimpleQueue[T], timeout: float) -> list[T]:
    """All that is there; the first one is waited for."""
    until, found = time.monotonic() + timeout, list[T]()
    while not found or not waiting.empty():
        try:
            found.append(waiting.get(timeout=max(0.0, until - time.monotonic())))
        except queue.Empty:
            break
    return found
