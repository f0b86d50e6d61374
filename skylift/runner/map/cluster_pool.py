"""A Pool of the coordinator on several servers, by Dask distributed.

The coordinator's own server runs inputs as well. scaling.py decides how many other servers there are. They speak TLS
with each other, with certificates of the map's own authority.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import dask
from distributed.core import Status
from distributed.security import Security

from skylift.runner.dask.node import SCHEDULER, WORKER, forget_tls_errors
from skylift.runner.map.dask_pool import LocalPool
from skylift.runner.map.progress import MapServer

UNHEARD = "30s"
"""The time after which a silent worker is lost: its server may have ended without a report."""


class ClusterPool(LocalPool):
    """`address` is this server's in its network, `identities` are those of the scheduler and of workers."""

    def __init__(
        self, path: str, instance: str, slots: int, address: str, identities: dict[str, Any], port: int = SCHEDULER
    ) -> None:
        forget_tls_errors()
        dask.config.set({"distributed.scheduler.worker-ttl": UNHEARD})
        own, others = identities["scheduler"], identities["worker"]
        security = Security(
            require_encryption=True,
            tls_ca_file=own["ca"],
            tls_scheduler_cert=own["cert"],
            tls_scheduler_key=own["key"],
            tls_client_cert=own["cert"],
            tls_client_key=own["key"],
            tls_worker_cert=others["cert"],
            tls_worker_key=others["key"],
        )
        network = {
            "protocol": "tls://",
            "host": address,
            "scheduler_port": port,
            "port": WORKER if port else 0,
            "security": security,
        }
        super().__init__(path, instance, slots, network=network)
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

    def _note_end(self, size: int, outcomes: list[Any] | None) -> None:
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
        return [MapServer(name, count, self._done[name], self._type) for name, count in running.items()]

    def close(self) -> None:
        with suppress(OSError):
            super().close()
