"""A Pool of the coordinator on several servers, by Dask distributed. Only this module and worker.py import Dask.

One process has the scheduler, the client and a worker: the coordinator's own server runs inputs as well. scaling.py
decides how many other servers there are. They speak TLS with each other, with certificates of the map's own authority.
A worker's threads only wait for programs, which are processes of their own. Dask hands out a task once: the coordinator
decides what follows from a loss.
"""

from __future__ import annotations

import logging
import os
import queue
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import dask
from distributed import Client, LocalCluster
from distributed.core import Status
from distributed.security import Security

from skylift.runner.dask.node import SCHEDULER, WORKER, forget_tls_errors
from skylift.runner.map.progress import MapServer
from skylift.runner.map.task import SOCKET, run_inputs
from skylift.runner.map.thread_pool import take_all

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

UNHEARD = "30s"
"""The time after which a silent worker is lost: its server may have ended without a report."""


class ClusterPool:
    """`address` is this server's in its network, `identities` are those of the scheduler and of workers."""

    def __init__(
        self, path: str, instance: str, slots: int, address: str, identities: dict[str, Any], port: int = SCHEDULER
    ) -> None:
        os.environ[SOCKET] = path
        self._slots, self._instance = slots, instance
        forget_tls_errors()
        dask.config.set({**SETTINGS, "distributed.scheduler.worker-ttl": UNHEARD})
        self._cluster = LocalCluster(
            n_workers=1,
            threads_per_worker=slots,
            processes=False,
            memory_limit=0,
            dashboard_address="127.0.0.1:0",
            worker_dashboard_address="127.0.0.1:0",
            silence_logs=logging.WARNING,
            protocol="tls://",
            host=address,
            scheduler_port=port,
            port=WORKER if port else 0,
            security=_security(identities["scheduler"], identities["worker"]),
        )
        # A task that was withheld is nobody's error.
        logging.getLogger("distributed.worker").setLevel(logging.CRITICAL)
        self._client = Client(self._cluster, set_as_default=False)
        self._futures: dict[int, Any] = {}
        self._sizes: dict[int, int] = {}
        self._done: Counter[str] = Counter()
        self._ended: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._own = str(self._cluster.workers[0].address)
        self._scheduler: Any = self._cluster.scheduler

    @property
    def address(self) -> str:
        """The address at which workers find the scheduler."""
        return str(self._cluster.scheduler_address)

    @property
    def slots(self) -> int:
        """The slots of the servers that take inputs now."""
        return sum(each.nthreads for each in self._workers() if each.status is Status.running)

    @property
    def slots_of_one(self) -> int:
        return self._slots

    def submit(self, number: int, request: dict[str, Any]) -> None:
        future = self._client.submit(run_inputs, request, key=f"inputs-{number}", pure=False)
        self._futures[number], self._sizes[number] = future, len(request["inputs"])
        future.add_done_callback(lambda _: self._ended.put(number))

    def ended(self, timeout: float) -> list[tuple[int, list[Any] | None]]:
        numbers = take_all(self._ended, timeout)
        futures = {each: self._futures.pop(each) for each in numbers}
        good = [each for each in numbers if futures[each].status == "finished"]
        results = self._gather({each: futures[each] for each in good})
        for each in numbers:
            del self._sizes[each]
            self._note_end(results.get(each))
        return [(each, results.get(each)) for each in numbers]

    def _workers(self) -> list[Any]:
        # Another thread changes it; a list of it is made in one go.
        return list(self._scheduler.workers.values())

    def others(self) -> dict[str, bool]:
        """The other servers that have registered, and whether each has something to do."""
        return {
            str(each.name): bool(each.processing or each.has_what)
            for each in self._workers()
            if each.address != self._own
        }

    def leaving(self) -> set[str]:
        """The other servers that take nothing more: EC2 takes them back, or they were to be ended and then had
        something to do after all."""
        return {str(each.name) for each in self._workers() if each.status is Status.paused}

    def pause(self, instance: str) -> bool:
        """Hand that server nothing more. Returns whether it has nothing to do, and may be ended."""
        found: bool = self._cluster.sync(self._pause, instance)
        return found

    async def _pause(self, instance: str) -> bool:
        for each in self._named(instance):
            self._scheduler.handle_worker_status_change("paused", each, "skylift-drain")
            if each.processing or each.has_what:
                return False
        return True

    def drop(self, instance: str) -> None:
        """Count a server as lost, whether or not its worker has reported it."""
        self._cluster.sync(self._drop, instance)

    async def _drop(self, instance: str) -> None:
        for each in self._named(instance):
            await self._scheduler.remove_worker(each.address, stimulus_id="skylift-lost", close=False)

    def _named(self, instance: str) -> list[Any]:
        return [each for each in self._workers() if each.name == instance and each.address != self._own]

    def _gather(self, futures: dict[int, Any]) -> dict[int, Any]:
        """The result of a server that has gone since is not among them, nor is it known then whose the others are."""
        found = self._client.gather(list(futures.values()), errors="skip")
        if len(found) == len(futures):
            return dict(zip(futures, found, strict=True))
        each_own = {number: self._client.gather([future], errors="skip") for number, future in futures.items()}
        return {number: own[0] for number, own in each_own.items() if own}

    def _note_end(self, outcomes: list[Any] | None) -> None:
        """Note the end, as the server's own process reports it."""
        for each in outcomes or ():
            if isinstance(each, dict):
                self._done[str(each.get("server"))] += 1

    def servers(self) -> Sequence[MapServer]:
        running = {}
        for each in self._workers():
            keys = [str(task.key).removeprefix("inputs-") for task in list(each.processing)]
            name = self._instance if each.address == self._own else str(each.name)
            running[name] = sum(self._sizes.get(int(key), 0) for key in keys if key.isdigit())
        return [MapServer(name, count, self._done[name]) for name, count in running.items()]

    def close(self) -> None:
        with suppress(OSError):
            self._client.cancel(list(self._futures.values()), force=True)
            self._client.close(timeout=2)
            self._cluster.close(timeout=2)


def _security(own: dict[str, str], others: dict[str, str]) -> Security:
    return Security(
        require_encryption=True,
        tls_ca_file=own["ca"],
        tls_scheduler_cert=own["cert"],
        tls_scheduler_key=own["key"],
        tls_client_cert=own["cert"],
        tls_client_key=own["key"],
        tls_worker_cert=others["cert"],
        tls_worker_key=others["key"],
    )
