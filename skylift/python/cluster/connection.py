"""The connection to a cluster's scheduler: an SSH tunnel, and TLS with the cluster's own certificates inside it."""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distributed import Client
from distributed.core import rpc
from distributed.security import Security

from skylift.client.dask.authority import Identity
from skylift.client.errors import LaunchFailed
from skylift.client.job.outcome import Outcome
from skylift.client.remote.account import Account
from skylift.client.text.visible import visible_lines
from skylift.client.watch.forward import Forward, Forwards
from skylift.python import work
from skylift.python.background import Background, OneCoroutine
from skylift.python.cluster.server import DASHBOARD_PORT, SCHEDULER_PORT
from skylift.python.watching import Recorder, log

READY = 600.0
"""Seconds in which the scheduler must answer: its server boots and makes the environment."""
_ENDING = 5.0
"""Seconds for the scheduler to end when it is asked to."""
_PYTHON = "{}.{}".format(*sys.version_info[:2])
_PACKAGES = ("distributed", "dask", "cloudpickle")
"""What must be of the same version here and there."""


@dataclass(frozen=True)
class SeenWorker:
    """A worker as the scheduler knows it."""

    name: str
    address: str
    busy: bool


class ClusterConnection:
    """`name` is the scheduler's job, which is followed until it has ended."""

    def __init__(self, account: Account, name: str, identity: Identity, *, dashboard: bool) -> None:
        self._name = name
        self.security = Security(
            require_encryption=True,
            tls_ca_file=identity.authority,
            tls_client_cert=identity.certificate,
            tls_client_key=identity.key,
        )
        ports = [Forward(_free_port(), SCHEDULER_PORT)]
        if dashboard:
            ports.append(Forward(_free_port(), DASHBOARD_PORT))
        self._port = ports[0].local
        self.address = f"tls://127.0.0.1:{self._port}"
        self.dashboard_link = f"http://127.0.0.1:{ports[-1].local}/status" if dashboard else ""
        self._watcher = _Quiet()
        self._following = work.start_attending(account, name, Path.cwd(), self._watcher, Forwards(ports))
        self._client: Client | None = None

    def open(self, pause: Callable[[float], object]) -> None:
        """Wait for the scheduler, whose job may end meanwhile. Raises SkyliftError."""
        until, seconds = time.monotonic() + READY, 0.1
        # Dask's own attempts are loud, and end at an error that another attempt would not have.
        while not self._answers():
            if self._following.done():
                raise self._did_not_start()
            if time.monotonic() > until:
                raise LaunchFailed(f"The scheduler of {self._name} has not answered for {READY:g} s.", "Try again.")
            pause(seconds)
            seconds = min(seconds * 1.2, 0.5)
        _refuse_differences(self._following_client().get_versions())

    def _following_client(self) -> Client:
        """The scheduler lives as long as it hears this client. Raises OSError when the line is down."""
        if self._client is None or self._client.status != "running":
            if not self._answers():
                raise ConnectionError(f"the scheduler of {self._name} does not answer")
            follow: Any = _Follower
            self._client = follow(self.address, security=self.security, set_as_default=False, name="skylift")
        return self._client

    def _answers(self) -> bool:
        """Whether a scheduler of this cluster's own authority is at the other end of the tunnel."""
        context: ssl.SSLContext = self.security.get_connection_args("client")["ssl_context"]
        try:
            with socket.create_connection(("127.0.0.1", self._port), 2) as line, context.wrap_socket(line):
                return True
        except OSError:
            return False

    def _did_not_start(self) -> LaunchFailed:
        outcome = self._watcher.with_tails(self.outcome())
        detail = (outcome.detail or outcome.stderr_tail).strip()
        return LaunchFailed(
            f"The scheduler's job {self._name} has ended ({outcome.state}): {outcome.reason}\n{detail[-2000:]}\n"
            f"The servers need `distributed` from this folder's project, and Python {_PYTHON}, which runs here."
        )

    @property
    def ended(self) -> bool:
        return self._following.done()

    def outcome(self) -> Outcome:
        """Waits for the end of the scheduler's job."""
        return self._following.result()

    def workers(self) -> list[SeenWorker]:
        """Raises OSError where the scheduler is not there."""
        client = self._following_client()
        busy = client.processing()
        info = client.scheduler_info(n_workers=-1)
        # A client that has lost its scheduler knows nothing of it, and does not say so.
        if "workers" not in info:
            raise ConnectionError("The scheduler is not there.")
        workers = info["workers"].items()
        return [SeenWorker(str(each["name"]), address, bool(busy.get(address))) for address, each in workers]

    def target(self) -> int:
        """How many workers the work that there is could use, as Dask estimates it."""
        client = self._following_client()
        scheduler: Any = client.scheduler
        return int(client.sync(scheduler.adaptive_target))

    def retire(self, workers: list[SeenWorker]) -> set[str]:
        """Have what only these have copied to others. The names of those that nobody needs any more: where there is no
        room for the copies, a worker stays."""
        addresses = [each.address for each in workers]
        client = self._following_client()
        retired: Any = client.retire_workers(workers=addresses, close_workers=False, remove=True)
        return {each.name for each in workers if each.address in retired}

    def close(self) -> None:
        """End the scheduler, which ends its workers: sooner than their servers' supervisors look for a request."""
        if self._client is not None:
            # Where the scheduler is gone, or ends before it has answered, there is nothing to tell it.
            with suppress(OSError, TimeoutError):
                self._client.close(timeout=_ENDING)
            with suppress(OSError, TimeoutError):
                Background(OneCoroutine(self._terminate())).result()

    async def _terminate(self) -> None:
        scheduler = rpc(self.address, connection_args=self.security.get_connection_args("client"), timeout=_ENDING)
        try:
            await asyncio.wait_for(scheduler.terminate(), _ENDING)
        finally:
            await scheduler.close_rpc()


class _Follower(Client):
    """Ends when its line does, where Dask's own would try to get it back, and be loud about it. Another one takes its
    place when the scheduler answers again."""

    async def _reconnect(self) -> None:
        await self._close()


class _Quiet(Recorder):
    """How a server is doing is no concern of a program that computes."""

    def note(self, text: str) -> None:
        log.info("%s", "\n".join(visible_lines(text)))


def _refuse_differences(versions: Any) -> None:
    """Raises LaunchFailed where Dask there is another version than here: computing would fail in ways that nobody
    understands."""
    here, there = versions["client"], versions["scheduler"]
    found = {each: (here["packages"][each], there["packages"][each]) for each in _PACKAGES}
    found["python"] = (_minor(here), _minor(there))
    for package, (ours, theirs) in found.items():
        if ours != theirs:
            raise LaunchFailed(
                f"Here is {package} {ours}, and the servers have {theirs}, from the project in this folder.",
                "Run this in the project's own environment: `uv run ...`, or `uv sync` first.",
            )


def _minor(side: Any) -> str:
    return ".".join(str(side["packages"]["python"]).split(".")[:2])


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        found: int = listening.getsockname()[1]
        return found
