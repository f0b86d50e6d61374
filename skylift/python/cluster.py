"""A Dask cluster of servers for the caller's own code: `skylift.Cluster`.

Each server is a job like any other, with a record, a role, a cap and logs of its own: one has the scheduler, the others
a worker each (runner/dask/node.py). Between them, and from here to the scheduler, all is TLS with certificates of this
cluster's own authority. Here lives what decides how many servers there are.

A scheduler that hears no client for a minute ends, workers without a scheduler do, and a job's server goes off with its
job. So the clients' connection is the lease: it is what the servers work for, and nobody has to renew anything.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import secrets
import socket
import ssl
import sys
import threading
import time
from collections.abc import Generator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from skylift.python import work
from skylift.python.background import Background
from skylift.python.watching import Watcher, log
from skylift.python.wording import called
from skylift.runner.dask.authority import Identity, issue
from skylift.runner.errors import LaunchFailed, SkyliftError, UsageError
from skylift.runner.job.job import NAME_FORM, Bundle, Program, SentFile
from skylift.runner.job.job import Job as Planned
from skylift.runner.job.outcome import Outcome
from skylift.runner.job.run_options import RunOptions
from skylift.runner.job.settings import Secret, Settings
from skylift.runner.jobs.jobs import Jobs
from skylift.runner.launch.bucket import ensure_bucket
from skylift.runner.launch.job_group import make_job_group, remove_job_group
from skylift.runner.launch.network import ensure_network, find_network
from skylift.runner.launch.stages import Launched
from skylift.runner.remote.account import Account, open_account
from skylift.runner.watch.forward import Forward, Forwards

if TYPE_CHECKING:
    from distributed import Client
    from distributed.security import Security

_NODE = Path(__file__).parents[1] / "runner/dask/node.py"
_SENT = ".skylift-node.py"
_SCHEDULER, _DASHBOARD = 8786, 8787
"""As in node.py, which is imported on servers only."""
ALONE = 60
"""Seconds for which the cluster's parts live without each other, and the scheduler without a client."""
READY = 600.0
"""Seconds in which the scheduler must answer: its server boots and makes the environment."""
IDLE = 30.0
"""Seconds for which fewer servers must be enough before one is given back."""
_LOOKING = 1.0
_MOST = 100
_FAILURES = 3
"""Workers in a row that end before they have registered, after which no other is started."""
_FOR_ALL = ("on", "image", "arch", "max_time", "ssh_from", "subnet", "security_group", "env", "in_", "trust_project")
_FOR_WORKERS = (*_FOR_ALL, "type", "cpu", "memory", "gpu", "spot", "max_price", "or_on_demand")
_PRIVATE = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")


class Cluster:
    """A Dask cluster: `Client(cluster)` computes on it, and at the end of the `with` block nothing of it is left.

    `servers` is how many workers there are, or the least and the most: then their number follows the work. `name` is
    the scheduler's job; the workers' names begin with it. With `dashboard`, Dask's pages are at `dashboard_link`, on
    this machine; they need bokeh in your project. The other options are those of `skylift.RunOptions` that say which
    servers the workers are to have, and where.

    The servers have the environment of the project in the current folder, with this Python's version: `distributed`
    must be in it. Raises UsageError for what cannot be, and SkyliftError when the cluster cannot be had; nothing is
    left of it then.
    """

    def __init__(
        self,
        servers: int | tuple[int, int] = 1,
        *,
        dashboard: bool = False,
        **options: Unpack[RunOptions],
    ) -> None:
        self._least, self._most = _limits(servers)
        self._jobs: dict[str, Future[None]] = {}
        """The workers that are there or on their way, by their jobs' names."""
        self._ending: set[Future[None]] = set()
        self._number = self._failures = 0
        self._wanted_since: float | None = None
        self._over = threading.Event()
        self._lock = threading.RLock()
        self._pool = ThreadPoolExecutor(8, thread_name_prefix="skylift-cluster")
        self._attending: Background[Outcome] | None = None
        self._dask: Client | None = None
        self._account: Account | None = None
        self._named, self._group = False, ""
        self.name = options.pop("name", None) or f"dask-{secrets.token_hex(2)}"
        with called("skylift.Cluster()"):
            _check_dask()
            self._plan_jobs(options)
        self._dashboard, self._watcher = dashboard, Watcher()
        atexit.register(self.close)
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _plan_jobs(self, options: RunOptions) -> None:
        unknown = sorted(set(options) - set(_FOR_WORKERS))
        if unknown:
            raise UsageError(f"{unknown[0]}= is not for a cluster.", f"There are: {', '.join(sorted(_FOR_WORKERS))}.")
        if NAME_FORM.fullmatch(f"{self.name}-w{_MOST * 100}") is None:
            raise UsageError(
                f"name={self.name!r} cannot be used.", "Lower-case letters, digits and `-`, at most 33 of them."
            )
        given: Mapping[str, Any] = options
        common: Any = {each: given[each] for each in _FOR_ALL if each in given}
        workers: Any = {each: given[each] for each in _FOR_WORKERS if each in given}
        self._scheduler, self._settings = _plan(self.name, common)
        self._worker, _ = _plan(f"{self.name}-w", workers)

    # Started.

    def _start(self) -> None:
        account = self._account = open_account(self._settings)
        api, now = account.api, time.time()
        ensure_bucket(api, account.bucket)
        network = find_network(api, self._settings.access) or ensure_network(api, account.bucket)
        self._group = make_job_group(api, self.name, network.vpc, now)
        parts = issue(self.name, ("scheduler", "worker", "client"), now, now + self._scheduler.max_time + 3600)
        self._identities, self.security = parts, _security(parts["client"])
        told = {"part": "scheduler", "alone": ALONE, "dashboard": self._dashboard}
        launched = self._submit(self._dressed(self._scheduler, parts["scheduler"], told))
        self._named = True
        self._inner = f"tls://{_private_address(account, launched.server.instance)}:{_SCHEDULER}"
        ports = [Forward(_free_port(), _SCHEDULER)]
        if self._dashboard:
            ports.append(Forward(_free_port(), _DASHBOARD))
        self.scheduler_address = f"tls://127.0.0.1:{ports[0].local}"
        self.dashboard_link = f"http://127.0.0.1:{ports[-1].local}/status" if self._dashboard else ""
        self._attending = work.start_attending(account, self.name, Path.cwd(), self._watcher, Forwards(ports))
        self.scale(self._least)
        self._connect()
        threading.Thread(target=self._look_after, name="skylift-cluster-size", daemon=True).start()

    def _submit(self, job: Planned) -> Launched:
        taken = work.start_submission(job, self._settings, Watcher(), None).result()
        if isinstance(taken, Outcome):
            raise KeyboardInterrupt
        return taken

    def _dressed(self, job: Planned, identity: Identity, told: dict[str, Any]) -> Planned:
        secret = Secret(json.dumps({**identity.encode(), **told}))
        return replace(job, env=(*job.env, ("SKYLIFT_DASK", secret)), groups=(self._group,))

    def _connect(self) -> None:
        """Wait for the scheduler. Its Dask must be this one, or computing fails in ways that nobody understands."""
        from distributed import Client  # noqa: PLC0415 (an extra)

        until, job = time.monotonic() + READY, self._attending
        assert job is not None
        # Dask's own attempts are loud, and end at an error that another attempt would not have.
        while not self._answers():
            if job.done():
                raise self._did_not_start(job.result())
            if time.monotonic() > until:
                raise LaunchFailed(f"The scheduler of {self.name} does not answer.", f"skylift logs {self.name}")
            self._over.wait(0.1)
        self._dask = Client(self.scheduler_address, security=self.security, set_as_default=False, name="skylift")
        _refuse_differences(self._dask)

    def _answers(self) -> bool:
        """Whether a scheduler of this cluster's own authority is at the other end of the tunnel."""
        host, port = "127.0.0.1", int(self.scheduler_address.rpartition(":")[2])
        context: ssl.SSLContext = self.security.get_connection_args("client")["ssl_context"]
        try:
            with socket.create_connection((host, port), 2) as line, context.wrap_socket(line):
                return True
        except OSError:
            return False

    def _did_not_start(self, outcome: Outcome) -> LaunchFailed:
        said = self._watcher.dress(outcome)
        detail = (said.detail or said.stderr_tail).strip()
        return LaunchFailed(
            f"The scheduler's job {self.name} has ended ({said.state}): {said.reason}\n{detail[-2000:]}".rstrip(),
            "The project of this folder must have `distributed` among its dependencies.",
        )

    # Its size.

    def scale(self, servers: int) -> None:
        """Have so many workers, within what the cluster may have. Returns at once; what is too much goes when it has
        nothing to do."""
        with self._lock:
            for _ in range(min(servers, self._most) - len(self._jobs)):
                self._number += 1
                name = f"{self.name}-w{self._number}"
                self._jobs[name] = self._pool.submit(self._add, name)

    def _add(self, name: str) -> None:
        if self._over.is_set():
            return
        told = {"part": "worker", "alone": ALONE, "scheduler": self._inner, "name": name}
        self._submit(self._dressed(replace(self._worker, name=name), self._identities["worker"], told))

    def _look_after(self) -> None:
        while not self._over.wait(_LOOKING):
            try:
                self._follow()
            except (OSError, TimeoutError, SkyliftError) as error:
                # The line is down: the next look may find it up.
                log.info("%s: %s", self.name, error)

    def _follow(self) -> None:
        assert self._dask is not None
        scheduler: Any = self._dask.scheduler
        here = {str(each["name"]) for each in self._dask.scheduler_info(n_workers=-1)["workers"].values()}
        self._forget_lost(here)
        if self._failures >= _FAILURES:
            return
        target = int(self._dask.sync(scheduler.adaptive_target)) if self._least < self._most else self._least
        wanted = max(self._least, min(target, self._most))
        if wanted >= len(self._jobs):
            self._wanted_since = None
            self.scale(wanted)
        elif self._wanted_since is None:
            self._wanted_since = time.monotonic()
        elif time.monotonic() - self._wanted_since > IDLE:
            self._give_back(len(self._jobs) - wanted)

    def _forget_lost(self, here: set[str]) -> None:
        """Workers whose jobs have ended by themselves: their servers were lost, or what they are to run does not."""
        if here:
            self._failures = 0
        with self._lock:
            settled = [name for name, each in self._jobs.items() if each.done() and name not in here]
        if not settled:
            return
        assert self._account is not None
        alive = {each.name for each in Jobs(self._settings, self._account).listed(ended=False)}
        for name in settled:
            error = self._jobs[name].exception()
            if error is None and name in alive:
                continue
            self._failures += 1
            log.warning("The worker %s is gone%s; see `skylift logs %s`.", name, f": {error}" if error else "", name)
            with self._lock:
                del self._jobs[name]
        if self._failures >= _FAILURES:
            log.error("%d workers in a row are gone; no other is started.", self._failures)

    def _give_back(self, count: int) -> None:
        """End workers that have nothing to do. What only they have is copied to others first."""
        assert self._dask is not None
        busy = self._dask.processing()
        workers = self._dask.scheduler_info(n_workers=-1)["workers"]
        idle = [address for address in workers if not busy.get(address)][:count]
        if not idle:
            return
        names = [str(workers[each]["name"]) for each in idle]
        self._dask.retire_workers(workers=idle, close_workers=False, remove=True)
        with self._lock:
            for name in names:
                if self._jobs.pop(name, None) is not None:
                    self._ending.add(self._pool.submit(self._end, name))
        self._wanted_since = None

    # Its end.

    def close(self) -> None:
        """End all servers and remove all that was made for them. May be repeated."""
        if self._over.is_set():
            return
        self._over.set()
        atexit.unregister(self.close)
        if self._dask is not None:
            self._dask.close(timeout=2)
        account = self._account
        if account is not None:
            with self._lock:
                workers = dict(self._jobs)
            for each in workers.values():
                # It is ended below, whatever came of it.
                each.exception()
            if self._named:
                # First, so that workers need not hand over anything.
                self._end(self.name, forget=False)
            ending = [*self._ending, *(self._pool.submit(self._end, name) for name in workers)]
            for one in ending:
                one.result()
            if self._attending is not None:
                with suppress(SkyliftError):
                    self._attending.result()
            if self._named:
                self._tell_of(lambda: work.remove(account, self.name), self.name)
            if self._group:
                self._tell_of(lambda: remove_job_group(account.api, self._group), self.name)
        self._pool.shutdown()

    def _end(self, name: str, *, forget: bool = True) -> None:
        assert self._account is not None
        account = self._account
        self._tell_of(lambda: work.cancel(account, name), name)
        if forget:
            self._tell_of(lambda: work.remove(account, name), name)

    def _tell_of(self, step: Any, name: str) -> None:
        """One thing that cannot be taken down must not keep the others."""
        try:
            step()
        except SkyliftError as error:
            log.warning("Not all of %s could be removed: %s `skylift sweep` finds the rest.", name, error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __await__(self) -> Generator[Any, None, Self]:
        """Dask's client waits for a cluster's start. This one has started."""
        yield from ()
        return self

    @property
    def status(self) -> Any:
        """For Dask's client."""
        from distributed.core import Status  # noqa: PLC0415 (an extra)

        return Status.closed if self._over.is_set() else Status.running

    def __repr__(self) -> str:
        return f"<skylift.Cluster {self.name}: {len(self._jobs)} of {self._least} to {self._most} servers>"


def _limits(servers: int | tuple[int, int]) -> tuple[int, int]:
    found = (servers, servers) if isinstance(servers, int) else servers
    whole = isinstance(found, tuple) and len(found) == 2 and all(type(each) is int for each in found)
    if not whole or not 0 <= found[0] <= found[1] <= _MOST or found[1] == 0:
        raise UsageError(
            f"servers={servers!r} is not a number of servers.",
            f"It is a number, or the least and the most, like (0, 8); {_MOST} at most.",
        )
    return found


def _check_dask() -> None:
    try:
        import distributed  # noqa: F401, PLC0415 (an extra)
    except ModuleNotFoundError:
        raise UsageError("Dask is not here.", "Install it: pip install 'skylift[dask]'.") from None
    from skylift.runner.dask.node import forget_tls_errors  # noqa: PLC0415 (needs Dask)

    forget_tls_errors()


def _plan(name: str, options: RunOptions) -> tuple[Planned, Settings]:
    """A job of one server's part: the project of the current folder, and node.py beside it."""
    version = "{}.{}".format(*sys.version_info[:2])
    asked: Any = {**options, "command": [_SENT], "name": name.rstrip("-"), "python": version, "fresh": True}
    planned, settings = work.plan("skylift.Cluster()", None, (), asked)
    if planned.environment.kind == "none":
        raise UsageError(
            "The servers of a cluster have the environment of your project, and there is none in this folder.",
            "Make one whose dependencies have `distributed`: `uv init --bare && uv add distributed`.",
        )
    return replace(planned, program=Program("script", _SENT), bundle=_with_node(planned.bundle)), settings


def _with_node(bundle: Bundle) -> Bundle:
    real = _NODE.resolve()
    found = real.stat()
    place = os.path.normpath(f"{bundle.cwd}/{_SENT}")
    node = SentFile(place, real, real, found.st_dev, found.st_ino, found.st_size)
    files = sorted([*(each for each in bundle.files if each.place != place), node], key=lambda each: each.place)
    return replace(bundle, files=tuple(files), size=bundle.size + found.st_size)


def _security(identity: Identity) -> Security:
    from distributed.security import Security  # noqa: PLC0415 (an extra)

    return Security(
        require_encryption=True,
        tls_ca_file=identity.authority,
        tls_client_cert=identity.certificate,
        tls_client_key=identity.key,
    )


def _private_address(account: Account, instance: str) -> str:
    found = account.api.call("ec2", "describe_instances", InstanceIds=[instance])["Reservations"][0]["Instances"][0]
    address = str(found.get("PrivateIpAddress", ""))
    if not _PRIVATE.fullmatch(address):
        raise LaunchFailed(f"The scheduler's server {instance} has no private address.")
    return address


def _refuse_differences(client: Client) -> None:
    """Raises UsageError where Dask there is another version than here."""
    versions: Any = client.get_versions()
    here, there = versions["client"]["packages"], versions["scheduler"]["packages"]
    for package in ("distributed", "dask", "cloudpickle"):
        if here[package] != there[package]:
            raise UsageError(
                f"Here is {package} {here[package]}, and the project has {there[package]} for the servers.",
                "Run this in the project's own environment, or lock the same version: `uv sync`.",
            )


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        found: int = listening.getsockname()[1]
        return found
