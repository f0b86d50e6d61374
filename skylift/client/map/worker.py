"""The Dask worker on a server that only runs inputs. The server's own process starts it (map_server.py).

The worker ends with exit code LEFT when it has lost its scheduler, or has not found it for a while. When EC2 gives the
server a spot notice, the scheduler hands the worker nothing more. What runs goes on while the server exists.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import dask
from distributed import Worker

from skylift.agent.remote.aws import Metadata
from skylift.agent.spot.spot_notice import Notices
from skylift.agent.workers.map_server import LEFT
from skylift.client.dask.node import WORKER, forget_tls_errors, security_of
from skylift.client.map.dask_servers import SETTINGS
from skylift.client.map.task import SOCKET

ALONE = 30.0
"""Seconds in which the scheduler, or its successor, must answer."""
NOTICED = "skylift-notice"
LOOKING = 2.0
"""Seconds between two looks for a spot notice."""


async def work(settings: dict[str, Any], metadata: Metadata, address: str, port: int = WORKER) -> int:
    """The exit code. `address` is this server's in its network."""
    worker = Worker(
        settings["dask"]["scheduler"],
        name=settings["instance"],
        nthreads=settings["slots"],
        host=address,
        port=port,
        protocol="tls://",
        security=security_of(settings["dask"], "worker"),
        memory_limit=0,
        death_timeout=settings.get("alone", ALONE),
        dashboard=False,
        dashboard_address="127.0.0.1:0",
        local_directory=str(Path.home()),
    )
    try:
        async with worker:
            notices = _pass_on_notices(worker, metadata, settings.get("looking", LOOKING))
            try:
                await worker.finished()
            finally:
                notices.stop()
    except (TimeoutError, OSError) as error:
        sys.stderr.write(f"The coordinator is not there: {error}\n")
        return LEFT
    return 0


def _pass_on_notices(worker: Worker, metadata: Metadata, pause: float) -> Notices:
    """Only the scheduler learns of it. A worker that knew itself to be paused would not begin a task that it has got
    already."""
    loop = asyncio.get_running_loop()

    def report(status: str) -> None:
        change = {"op": "worker-status-change", "status": status, "stimulus_id": NOTICED}
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(worker.batched_send, change)

    return Notices(
        metadata,
        pause,
        noticed=lambda notice: report("paused"),
        moved=lambda notice: report("running" if notice is None else "paused"),
        late=lambda: None,
        advised=lambda: None,
    )


def main() -> None:
    settings = json.loads(os.environ.pop("SKYLIFT_MAP"))
    os.environ[SOCKET] = settings["socket"]
    dask.config.set(SETTINGS)
    forget_tls_errors()
    # A task that was withheld is no error, and this process itself reports a lost scheduler.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    metadata = Metadata(settings["imds"])
    address = metadata.get("/latest/meta-data/local-ipv4").strip()
    settings["slots"] = settings["dask"].get("slots") or settings["threads"]
    sys.exit(asyncio.run(work(settings, metadata, address)))
