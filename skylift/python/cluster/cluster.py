"""A Dask cluster of servers for the caller's own code: `skylift.Cluster`.

Each server is a job like any other, with a record, a role, a cap and logs of its own: one has the scheduler, the others
a worker each (client/dask/node.py). Between them, and from here to the scheduler, all is TLS with certificates of this
cluster's own authority.

A scheduler that hears no client for a minute ends, workers without a scheduler do, and a job's server goes off with its
job. So the clients' connection is the lease: it is what the servers work for, and nobody has to renew anything.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from skylift.client.dask.authority import issue
from skylift.client.errors import RunError, SkyliftError, UsageError
from skylift.client.job.run_options import SharedOptions
from skylift.client.jobs.cluster import TakeDown, worker_name
from skylift.client.jobs.jobs import Jobs
from skylift.client.launch.bucket import ensure_bucket
from skylift.client.launch.job_group import make_job_group
from skylift.client.launch.network import check_groups, ensure_network, find_network
from skylift.client.remote.account import open_account
from skylift.python.cluster.client_files import write_client_files
from skylift.python.cluster.guardian import Guardian
from skylift.python.cluster.server import SCHEDULER_PORT, keep_code, plan_servers, private_address, start_server
from skylift.python.cluster.size import Servers, Size, read_limits
from skylift.python.cluster.workers import Workers
from skylift.python.watching import log
from skylift.python.wording import called

if TYPE_CHECKING:
    from distributed.security import Security

    from skylift.python.cluster.connection import ClusterConnection

_LOOK_EVERY = 1.0
_LONGER = 3600
"""Seconds for which certificates hold beyond the scheduler's cap."""


class Cluster:
    """A Dask cluster: `Client(cluster)` computes on it, and at the end of the `with` block nothing of it is left.

    `servers` is how many workers there are, or the least and the most: then their number follows the work. `name` is
    the scheduler's job; the workers' names begin with it. With `dashboard`, Dask's pages are at `dashboard_link`, on
    this machine; they need bokeh in your project. The other options are those of `skylift.RunOptions` that say which
    servers the workers are to have, and where. After `max_time` the cluster ends.

    The servers have the environment of the project in the current folder, with this Python's version: `distributed`
    must be in it. Raises UsageError for what cannot be, and SkyliftError when the cluster cannot be had; nothing is
    left of it then.
    """

    def __init__(self, servers: Servers = 1, *, dashboard: bool = False, **options: Unpack[SharedOptions]) -> None:
        self._over = threading.Event()
        self._group, self._members = "", list[str]()
        self._connection: ClusterConnection | None = None
        self._guardian: Guardian | None = None
        self.name = options.pop("name", None) or draw_name()
        with self._wording():
            self._size = Size(read_limits(servers))
            _check_dask()
            self._plans = plan_servers(self.name, options, pages=dashboard)
        self._on, self._dashboard = options.get("on"), dashboard
        self._account = open_account(self._plans.settings)
        self._take_down = TakeDown(self._account, lambda text: log.warning("%s", text))
        self._workers = Workers(
            lambda number: worker_name(self.name, number), self._start_worker, self._take_down.worker
        )
        self._code = TemporaryDirectory(prefix="skylift-cluster-")
        try:
            self._plans = keep_code(self._plans, Path(self._code.name))
            self._make_group()
            self._start_scheduler()
            self._workers.add(self._size.limits.least)
            self._connect()
        except BaseException:
            self.close()
            raise
        threading.Thread(target=self._follow_work, name="skylift-cluster-size", daemon=True).start()

    _wording: Callable[[], AbstractContextManager[None]] = staticmethod(lambda: called("skylift.Cluster()"))
    """Errors of what was asked for name the options as the caller has them."""

    # Its start.

    def _make_group(self) -> None:
        api = self._account.api
        check_groups(api, len(self._plans.settings.access.groups), 1)
        ensure_bucket(api, self._account.bucket)
        network = find_network(api, self._plans.settings.access) or ensure_network(api, self._account.bucket)
        self._group = make_job_group(api, self.name, network.vpc, time.time(), "cluster")
        self._guardian = Guardian(self.name, self._group, self._on)

    def _start_scheduler(self) -> None:
        now, job = time.time(), self._plans.scheduler
        self._identities = issue(self.name, ("scheduler", "worker", "client"), now, now + job.max_time + _LONGER)
        told = {"part": "scheduler", "dashboard": self._dashboard}
        launched = start_server(job, self._plans.settings, self._group, self._identities["scheduler"], told)
        self._members.append(self.name)
        self._inner = f"tls://{private_address(self._account, launched.server.instance)}:{SCHEDULER_PORT}"

    def _start_worker(self, name: str) -> None:
        if self._over.is_set():
            return
        job = replace(self._plans.worker, name=name)
        told = {"part": "worker", "scheduler": self._inner, "name": name}
        start_server(job, self._plans.settings, self._group, self._identities["worker"], told)

    def _connect(self) -> None:
        from skylift.python.cluster.connection import ClusterConnection  # noqa: PLC0415 (needs Dask)

        self._connection = ClusterConnection(
            self._account, self.name, self._identities["client"], dashboard=self._dashboard
        )
        self._connection.open(self._over.wait)

    # What Dask's client asks of a cluster.

    @property
    def scheduler_address(self) -> str:
        return self._connected.address

    @property
    def security(self) -> Security:
        return self._connected.security

    @property
    def dashboard_link(self) -> str:
        """Where Dask's pages are, on this machine; empty without `dashboard`."""
        return self._connected.dashboard_link

    @property
    def status(self) -> Any:
        from distributed.core import Status  # noqa: PLC0415 (an extra)

        return Status.closed if self.ended else Status.running

    @property
    def ended(self) -> bool:
        """Whether it has been closed, or its scheduler has ended."""
        return self._over.is_set() or self._connected.ended

    def environ(self, folder: str | os.PathLike[str]) -> dict[str, str]:
        """Variables with which another program's `Client()` finds this cluster. The certificates that it needs are
        written into the folder; whoever can read them can run code on the cluster."""
        return {
            "DASK_SCHEDULER_ADDRESS": self.scheduler_address,
            **write_client_files(Path(folder), self._identities["client"]),
        }

    def __await__(self) -> Generator[Any, None, Self]:
        """Dask's client waits for a cluster's start. This one has started."""
        yield from ()
        return self

    @property
    def _connected(self) -> ClusterConnection:
        assert self._connection is not None
        return self._connection

    # Its size.

    def scale(self, servers: Servers) -> None:
        """Have so many workers from now on, or as many as the work needs between the least and the most. Returns at
        once. Workers that are too many go when they have nothing to do."""
        if self._over.is_set():
            raise RunError(f"The cluster {self.name} is closed.")
        with self._wording():
            self._size.limits = read_limits(servers)
        self._workers.reset_failures()

    def _follow_work(self) -> None:
        while not self._over.wait(_LOOK_EVERY):
            if self._connected.ended:
                self._tell_end()
                return
            # A line that is down may be up at the next look. What is closed while it is asked answers with an error.
            with suppress(CancelledError):
                try:
                    self._adapt()
                except (OSError, TimeoutError, SkyliftError) as error:
                    log.info("%s: %s", self.name, error)

    def _tell_end(self) -> None:
        with suppress(SkyliftError, KeyboardInterrupt):
            outcome = self._connected.outcome()
            if not self._over.is_set():
                log.error("The scheduler of %s has ended (%s): %s", self.name, outcome.state, outcome.reason)

    def _adapt(self) -> None:
        seen = self._connected.workers()
        here = {each.name for each in seen}
        self._workers.registered(here)
        self._workers.forget_lost(here, self._alive)
        change = self._size.change(len(self._workers), self._connected.target(), time.monotonic())
        if change > 0:
            self._workers.add(change)
        idle = [each for each in seen if not each.busy][: max(0, -change)]
        if idle:
            self._workers.give_back(self._connected.retire(idle))

    def _alive(self) -> set[str]:
        return {each.name for each in Jobs(self._plans.settings, self._account).listed(ended=False)}

    # Its end.

    def close(self) -> None:
        """End all servers and remove all that was made for them. May be repeated, also after Ctrl-C."""
        self._over.set()
        if self._connection is not None:
            self._connection.close()
        workers = self._workers.close()
        if self._group:
            self._take_down.whole(self.name, self._group, [*self._members, *workers])
            self._group = ""
        if self._connection is not None:
            with suppress(SkyliftError):
                self._connection.outcome()
        if self._guardian is not None:
            self._guardian.dismiss()
            self._guardian = None
        self._code.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<skylift.Cluster {self.name}: {len(self._workers)} of {self._size.limits} servers>"


def draw_name() -> str:
    return f"dask-{secrets.token_hex(2)}"


def _check_dask() -> None:
    try:
        import distributed  # noqa: F401, PLC0415 (an extra)
    except ModuleNotFoundError:
        raise UsageError("Dask is not here.", "Install it: pip install 'skylift[dask]'.") from None
    from skylift.client.dask.node import forget_tls_errors  # noqa: PLC0415 (needs Dask)

    forget_tls_errors()
