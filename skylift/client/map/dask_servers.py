"""The other servers of a map, by Dask distributed. Only this module and worker.py import Dask.

Scheduler and client are in the coordinator's process, and a worker is on each of the other servers. They speak TLS with
each other, with certificates of the map's own authority. A worker's threads only wait for programs, which are processes
of their own. Dask hands out a task once: the coordinator decides what follows from a loss.
"""

from __future__ import annotations

import logging
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import dask
from distributed import Client, LocalCluster
from distributed.core import Status
from distributed.security import Security

from skylift.client.dask.node import forget_tls_errors
from skylift.client.map.task import run_inputs
from skylift.contract.map_progress import ServerProgress

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

_KEY = "inputs-"
_UNPLACED = ("no-worker", "queued", "waiting")
UNHEARD = "30s"
"""The time after which a silent worker is lost: its server may have ended without a report."""


class DaskServers:
    """`address` is this server's in its network, `identities` are those of the scheduler and of workers. `reserved`
    listens on the scheduler's port until that does. `tell` is called, in another thread, with the number of a task that
    has ended."""

    def __init__(
        self, address: str, identities: dict[str, Any], reserved: socket.socket, tell: Callable[[int], None]
    ) -> None:
        self._tell = tell
        forget_tls_errors()
        dask.config.set({**SETTINGS, "distributed.scheduler.worker-ttl": UNHEARD})
        security, port = _security(identities["scheduler"], identities["worker"]), reserved.getsockname()[1]
        reserved.close()
        self._cluster = LocalCluster(
            n_workers=0,
            processes=False,
            dashboard_address="127.0.0.1:0",
            # Its warnings are about workers that come late, or are gone: the map says itself what there is to say.
            silence_logs=logging.ERROR,
            protocol="tls://",
            host=address,
            scheduler_port=port,
            security=security,
        )
        self._client = Client(self._cluster, set_as_default=False)
        self._scheduler: Any = self._cluster.scheduler
        self._futures: dict[int, Any] = {}
        self._sizes: dict[int, int] = {}
        self._done: Counter[str] = Counter()

    @property
    def address(self) -> str:
        """The address at which workers find the scheduler."""
        return str(self._cluster.scheduler_address)

    @property
    def slots(self) -> int:
        """The slots of the servers that take inputs now."""
        return sum(each.nthreads for each in self._workers() if each.status is Status.running)

    @property
    def has_tasks(self) -> bool:
        return bool(self._futures)

    def submit(self, number: int, request: dict[str, Any]) -> None:
        future = self._client.submit(run_inputs, request, key=_KEY + str(number), pure=False)
        self._futures[number], self._sizes[number] = future, len(request["inputs"])
        future.add_done_callback(lambda _: self._tell(number))

    def collect(self, numbers: list[int]) -> list[tuple[int, list[Any] | None]]:
        """What has come of tasks that have ended."""
        futures = {each: self._futures.pop(each) for each in numbers if each in self._futures}
        good = {number: each for number, each in futures.items() if each.status == "finished"}
        results = self._gather(good) if good else {}
        for each in futures:
            del self._sizes[each]
            for outcome in results.get(each) or ():
                if isinstance(outcome, dict) and "server" in outcome:
                    # As the server's own process reports it.
                    self._done[str(outcome["server"])] += 1
        return [(each, results.get(each)) for each in futures]

    def take_back(self) -> list[int]:
        """The numbers of tasks that no server has, and that none will get any more."""
        found: list[int] = self._cluster.sync(self._take_back)
        for each in found:
            del self._futures[each], self._sizes[each]
        return found

    async def _take_back(self) -> list[int]:
        """In one step of the scheduler: none of them can be given to a server meanwhile."""
        keys = {f"{_KEY}{number}": number for number in self._futures}
        waiting = [
            key for key in keys if key in self._scheduler.tasks and self._scheduler.tasks[key].state in _UNPLACED
        ]
        self._scheduler.client_releases_keys(keys=waiting, client=self._client.id, stimulus_id="skylift-back")
        return [keys[each] for each in waiting]

    def _workers(self) -> list[Any]:
        # Another thread changes it; a list of it is made in one go.
        return list(self._scheduler.workers.values())

    def others(self) -> dict[str, bool]:
        """The servers that have registered, and whether each has something to do."""
        return {str(each.name): bool(each.processing or each.has_what) for each in self._workers()}

    def leaving(self) -> set[str]:
        """The servers that take nothing more: EC2 takes them back, or they were to be ended and then had
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
        return [each for each in self._workers() if each.name == instance]

    def _gather(self, futures: dict[int, Any]) -> dict[int, Any]:
        """The result of a server that has gone since is not among them, nor is it known then whose the others are."""
        found = self._client.gather(list(futures.values()), errors="skip")
        if len(found) == len(futures):
            return dict(zip(futures, found, strict=True))
        each_own = {number: self._client.gather([future], errors="skip") for number, future in futures.items()}
        return {number: own[0] for number, own in each_own.items() if own}

    def servers(self) -> list[ServerProgress]:
        running = {}
        for each in self._workers():
            keys = [str(task.key).removeprefix(_KEY) for task in list(each.processing)]
            running[str(each.name)] = sum(self._sizes.get(int(key), 0) for key in keys if key.isdigit())
        return [ServerProgress(name, count, self._done[name]) for name, count in running.items()]

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
