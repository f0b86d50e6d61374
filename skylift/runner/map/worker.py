"""A worker of Dask's on a server of a map that only runs inputs. The server's own process starts it (map_server.py).

It ends when it has lost its scheduler, or has not found it for a while: exit code LEFT says that nobody is there.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

import dask
from distributed import Worker

from skylift.runner.dask.node import WORKER, forget_tls_errors, security_of
from skylift.runner.map.dask_pool import SETTINGS
from skylift.runner.map.task import SOCKET
from skylift.runner.server.aws import Metadata
from skylift.runner.server.map_server import LEFT

ALONE = 30.0
"""Seconds in which the scheduler, or its successor, must answer."""


async def work(told: dict[str, Any], address: str, port: int = WORKER) -> int:
    """The exit code. `address` is this server's in its network."""
    worker = Worker(
        told["dask"]["scheduler"],
        name=told["instance"],
        nthreads=told["slots"],
        host=address,
        port=port,
        protocol="tls://",
        security=security_of(told["dask"], "worker"),
        memory_limit=0,
        death_timeout=told.get("alone", ALONE),
        dashboard=False,
        dashboard_address="127.0.0.1:0",
        local_directory=str(Path.home()),
    )
    try:
        async with worker:
            await worker.finished()
    except (TimeoutError, OSError) as error:
        sys.stderr.write(f"The coordinator is not there: {error}\n")
        return LEFT
    return 0


def main() -> None:
    told = json.loads(os.environ.pop("SKYLIFT_MAP"))
    os.environ[SOCKET] = told["socket"]
    dask.config.set(SETTINGS)
    forget_tls_errors()
    # A task that was withheld is no error, and this process itself reports a lost scheduler.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    address = Metadata(told["imds"]).get("/latest/meta-data/local-ipv4").strip()
    told["slots"] = told["dask"].get("slots") or told["threads"]
    sys.exit(asyncio.run(work(told, address)))
