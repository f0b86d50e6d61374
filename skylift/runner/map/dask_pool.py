"""A Pool of the coordinator on one server, by Dask distributed. Only this module, cluster_pool.py and worker.py import
Dask.

One process has the scheduler, the client and a worker. In a map on one server they speak with each other within the
process, and none listens on the network. A worker's threads only wait for programs, which are processes of their own.
Dask hands out a task once: the coordinator decides what follows from a loss."""

from __future__ import annotations

import logging
import os
import queue
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import dask
from distributed import Client, LocalCluster

from skylift.runner.map.progress import MapServer
from skylift.runner.map.task import SOCKET, run_inputs

SETTINGS = {
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.scheduler.work-stealing": False,
    # Its pages are served on a port that any program of the server can open.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.limit": "1h",
}


class LocalPool:
    """All inputs run on this server, `slots` tasks at a time."""

    def __init__(
        self,
        socket: str,
        instance: str,
        slots: int,
        instance_type: str | None = None,
        network: dict[str, Any] | None = None,
    ) -> None:
        os.environ[SOCKET] = socket
        self._slots, self._instance, self._type = slots, instance, instance_type
        dask.config.set(SETTINGS)
        self._cluster = LocalCluster(
            n_workers=1,
            threads_per_worker=slots,
            processes=False,
            memory_limit=0,
            dashboard_address="127.0.0.1:0",
            worker_dashboard_address="127.0.0.1:0",
            silence_logs=logging.WARNING,
            **(network or {"protocol": "inproc://"}),
        )
        # A task that was withheld is nobody's error.
        logging.getLogger("distributed.worker").setLevel(logging.CRITICAL)
        self._client = Client(self._cluster, set_as_default=False)
        self._futures: dict[int, Any] = {}
        self._sizes: dict[int, int] = {}
        self._done: Counter[str] = Counter()
        self._ended: queue.SimpleQueue[int] = queue.SimpleQueue()

    @property
    def slots(self) -> int:
        return self._slots

    def submit(self, number: int, request: dict[str, Any]) -> None:
        future = self._client.submit(run_inputs, request, key=f"inputs-{number}", pure=False)
        self._futures[number], self._sizes[number] = future, len(request["inputs"])
        future.add_done_callback(lambda _: self._ended.put(number))

    def ended(self, timeout: float) -> list[tuple[int, list[Any] | None]]:
        numbers = self._come(timeout)
        futures = {each: self._futures.pop(each) for each in numbers}
        good = [each for each in numbers if futures[each].status == "finished"]
        results = self._gather({each: futures[each] for each in good})
        for each in numbers:
            self._note_end(self._sizes.pop(each), results.get(each))
        return [(each, results.get(each)) for each in numbers]

    def _gather(self, futures: dict[int, Any]) -> dict[int, Any]:
        return dict(zip(futures, self._client.gather(list(futures.values()), errors="skip"), strict=False))

    def _note_end(self, size: int, outcomes: list[Any] | None) -> None:
        if outcomes is not None:
            self._done[self._instance] += size

    def _come(self, timeout: float) -> list[int]:
        until = time.monotonic() + timeout
        numbers: list[int] = []
        while not numbers or not self._ended.empty():
            try:
                numbers.append(self._ended.get(timeout=max(0.0, until - time.monotonic())))
            except queue.Empty:
                break
        return numbers

    def servers(self) -> Sequence[MapServer]:
        running = sum(self._sizes.values())
        return [MapServer(self._instance, running, self._done[self._instance], self._type)]

    def close(self) -> None:
        self._client.cancel(list(self._futures.values()), force=True)
        self._client.close(timeout=2)
        self._cluster.close(timeout=2)
