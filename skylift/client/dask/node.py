"""One server's part of a cluster: its scheduler, or a worker. Runs there, in the user's environment, and needs nothing
of skylift.

SKYLIFT_DASK has what it must know, as JSON: {"ca", "cert", "key"} in PEM, "part", which is `scheduler` or `worker`, and
"alone", the seconds for which each does without the other. A scheduler has "dashboard", a worker "scheduler", which is
an address, and "name"; one that is not alone on its server has "memory", its share of it. Where they compute for a
script, "script" is its path.

A scheduler ends when no client has been heard for a while, and a worker when it has lost its scheduler: then their jobs
have ended, and their servers turn off. So nothing of a cluster outlives the client that made it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import ssl
import sys
import time
from pathlib import Path
from typing import Any, Optional, TypedDict

from distributed import Nanny, Scheduler
from distributed.core import Status
from distributed.security import Security
from tornado.iostream import SSLIOStream

SCHEDULER, DASHBOARD, WORKER, NANNY = 8786, 8787, 8788, 8789
"""Ports. The dashboard's pages are for users who come by SSH: they have neither TLS nor a password."""
LOOKING = 2.0
"""Seconds between two looks at the other part."""
ANSWERING = 1.0
"""Seconds in which a scheduler that is there answers a worker that is to end."""
LEFT = 3
"""The exit code of a worker that has lost its scheduler for long enough."""
RETIRING = 60.0
"""Seconds in which a worker hands over the data that only it has, when its server will be taken away."""


class Certificate(TypedDict):
    """Texts in PEM: a certificate, its key, and the certificate of the authority that has signed it."""

    ca: str
    cert: str
    key: str


class NodeSettings(Certificate, total=False):
    """What SKYLIFT_DASK has. This file's docstring says which part has what."""

    part: str
    alone: float
    dashboard: bool
    scheduler: str
    name: str
    memory: float
    script: Optional[str]  # noqa: UP045 (before Python 3.10, too)


def security_of(settings: Certificate, part: str) -> Security:
    mine = {f"tls_{part}_cert": settings["cert"], f"tls_{part}_key": settings["key"]}
    return Security(require_encryption=True, tls_ca_file=settings["ca"], **mine)


def forget_tls_errors() -> None:
    """Have one connection's error end that one only.

    OpenSSL has a queue of errors for each thread, and Python (3.13.5 with OpenSSL 3.5) leaves there why a connection
    broke. The next reads of the thread's other connections fail with the same words then: a worker that ends took the
    clients' connections with it. A call that fails within Python's own module empties the queue.
    """
    for name in ("read_from_fd", "write_to_fd"):
        method = getattr(SSLIOStream, name)
        if not hasattr(method, "forgets_tls_errors"):
            setattr(SSLIOStream, name, _forgetting(method))


def _forgetting(method: Any) -> Any:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    def call(*arguments: Any) -> Any:
        try:
            return method(*arguments)
        except OSError:
            with contextlib.suppress(ssl.SSLError):
                context.set_ciphers("none of that name")
            raise

    call.forgets_tls_errors = True  # type: ignore[attr-defined]
    return call


async def schedule(settings: NodeSettings, stop: asyncio.Event) -> None:
    """Until no client has been heard for `alone` seconds."""
    scheduler = Scheduler(
        host="0.0.0.0",  # noqa: S104 (the security group lets in the cluster's own servers, and SSH comes from within)
        port=SCHEDULER,
        protocol="tls",
        security=security_of(settings, "scheduler"),
        dashboard=bool(settings["dashboard"]),
        dashboard_address=f"127.0.0.1:{DASHBOARD}",
    )
    async with scheduler:
        heard = time.time()
        while time.time() - heard < settings["alone"] and not await ends(scheduler, stop):
            heard = max([heard, *(each.last_seen for name, each in scheduler.clients.items() if is_outside(name))])
        if scheduler.status != Status.running:
            say("a client has ended the cluster")
        elif not stop.is_set():
            say(f"no client for {settings['alone']:g} s: the cluster ends")


def is_outside(client: str) -> bool:
    """Whether a client is one by its name, and none of a task's own: that would live as long as its worker."""
    return client.startswith("Client-") and not client.startswith("Client-worker-")


async def work(settings: NodeSettings, stop: asyncio.Event) -> None:
    """Until the scheduler has not answered for `alone` seconds."""
    nanny = Nanny(
        settings["scheduler"],
        port=NANNY,
        worker_port=WORKER,
        nthreads=len(os.sched_getaffinity(0)),
        name=settings["name"],
        security=security_of(settings, "worker"),
        death_timeout=settings["alone"],
        **({"memory_limit": float(settings["memory"])} if "memory" in settings else {}),
        dashboard_address="127.0.0.1:0",
        local_directory="/tmp",  # noqa: S108 (the server is this worker's alone)
    )
    async with nanny:
        heard = time.time()
        while time.time() - heard < settings["alone"] and not await ends(nanny, stop):
            with contextlib.suppress(OSError, asyncio.TimeoutError):
                await asyncio.wait_for(nanny.scheduler.identity(n_workers=0), LOOKING)
                heard = time.time()
        if nanny.status != Status.running:
            say("the scheduler has ended this worker")
        elif stop.is_set():
            await retire(nanny)
        else:
            say("the scheduler is gone: this worker ends")
            sys.exit(LEFT)


async def retire(nanny: Nanny) -> None:
    """Have what only this worker has copied to others, as long as there is somebody to ask."""
    answers = False
    with contextlib.suppress(OSError, asyncio.TimeoutError):
        await asyncio.wait_for(nanny.scheduler.identity(n_workers=0), ANSWERING)
        answers = True
    if not answers:
        # The cluster has ended, and its servers turn off as soon as this process is gone.
        os._exit(0)
    with contextlib.suppress(OSError, asyncio.TimeoutError):
        asked = nanny.scheduler.retire_workers(workers=[nanny.worker_address], remove=True, close_workers=False)
        await asyncio.wait_for(asked, RETIRING)
        say("retired")


async def ends(server: Scheduler | Nanny, stop: asyncio.Event) -> bool:
    """Whether this part is to end, or has ended, within the time between two looks."""
    ended: Any = server.finished
    waiting = [asyncio.ensure_future(each) for each in (stop.wait(), ended())]
    done, left = await asyncio.wait(waiting, timeout=LOOKING, return_when=asyncio.FIRST_COMPLETED)
    for each in left:
        each.cancel()
    return bool(done)


def say(text: str) -> None:
    sys.stderr.write(text + "\n")


async def main(settings: NodeSettings) -> None:
    forget_tls_errors()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await {"scheduler": schedule, "worker": work}[settings["part"]](settings, stop)


if __name__ == "__mp_main__":
    # The worker's own process, which its nanny starts: multiprocessing imports this file there under this name.
    forget_tls_errors()
    # SIGTERM comes to the whole group: the nanny has its worker hand over what it has, and ends it then. A handler, as
    # programs that tasks start would inherit that it is ignored.
    signal.signal(signal.SIGTERM, lambda number, frame: None)
elif __name__ == "__main__":
    settings: NodeSettings = json.loads(os.environ.pop("SKYLIFT_DASK"))
    # Tasks import what the program can: a script what lies beside it, as Python has it, others from where they are.
    script = settings.get("script")
    sys.path[0] = str(Path(script).resolve().parent if script else Path.cwd())
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [sys.path[0], os.environ.get("PYTHONPATH", "")]))
    asyncio.run(main(settings))
