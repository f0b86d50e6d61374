"""Two servers in processes of their own, for the measurements that stand beside a peer: ours, and moto's.

Ours is the endpoint with its services and store and nothing behind it, which is what moto is too: nothing is booted.
Run as a program it serves one of the two, with so many objects in the bucket `many`: ours from an empty directory, or
moto's at a port. These objects come from inside, as so many by requests would take minutes.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from boto3.session import Session
from botocore.config import Config

HERE = Path(__file__).resolve().parent
ACCOUNT, REGION = "123456789012", "us-east-1"
CLIENTS = 8
PATIENCE = 60.0
SMALL = os.urandom(1024)
"""The body of small objects."""


class Server:
    """One side of the comparison, and the boto3 clients that ask it."""

    def __init__(self, url: str, key: str, secret: str, pid: int) -> None:
        self._session = Session(key, secret, region_name=REGION)
        self.address = url, key, secret
        self.pid = pid

    def client(self, service: str) -> Any:
        config = Config(
            max_pool_connections=CLIENTS, proxies={}, retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}
        )
        return self._session.client(service, endpoint_url=self.address[0], config=config)

    @cached_property
    def ec2(self) -> Any:
        return self.client("ec2")

    @cached_property
    def s3(self) -> Any:
        return self.client("s3")

    def memory(self) -> float:
        """MiB that the process has in memory."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024


@contextmanager
def skylift(directory: Path, keys: int = 0, tree: Path = HERE.parent) -> Iterator[Server]:
    """The endpoint of a checkout of this repository."""
    command = [sys.executable, str(tree / "bench" / "beside_moto.py"), "skylift", str(directory), str(keys)]
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            url, key, secret = process.stdout.readline().split()
            yield Server(url, key, secret, process.pid)
        finally:
            process.terminate()


@contextmanager
def moto(keys: int = 0) -> Iterator[Server]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, __file__, "moto", str(port), str(keys)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + PATIENCE
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except ConnectionRefusedError:
                    if time.monotonic() > deadline:
                        raise
            yield Server(f"http://127.0.0.1:{port}", "key", "secret", process.pid)
        finally:
            process.terminate()


def key_of(number: int) -> str:
    """Ten folders of equally many objects."""
    return f"{number % 10}/{number:07}"


def serve_moto(port: int, keys: int) -> None:
    from moto.s3.models import s3_backends
    from moto.server import main

    if keys:
        backend = s3_backends[ACCOUNT]["aws"]
        backend.create_bucket("many", REGION)
        for number in range(keys):
            backend.put_object("many", key_of(number), SMALL)
    main(["-H", "127.0.0.1", "-p", str(port)])


async def serve(directory: Path, keys: int) -> None:
    """An account as a new cloud has it, with an image to launch from."""
    from skylift.cloud.domain.bucket import Bucket, Object, Spool
    from skylift.cloud.domain.facts import CloudFacts
    from skylift.cloud.domain.instance import Image
    from skylift.cloud.services.api import facts
    from skylift.cloud.services.ec2.image import register_image
    from skylift.cloud.services.iam.identity import make_root_key
    from skylift.cloud.services.vpc.vpc import make_default_vpc
    from skylift.cloud.store.content import keep
    from skylift.cloud.store.database import Database
    from skylift.cloud.wire import checksum
    from skylift.cloud.wire.endpoint import AwsEndpoint
    from skylift.cloud.wiring.dispatcher import Dispatcher

    objects = directory / "objects"
    objects.mkdir()
    database = Database(directory / "state.db", checksum=checksum.start)
    with database.write() as tx:
        facts.observe(tx, CloudFacts(account=ACCOUNT, region=REGION, loopback_net=1))
        make_default_vpc(tx, REGION)
        image = Image(
            id="ami-00000000000000001",
            name="bench",
            description="",
            root="",
            size_gib=8,
            created=tx.now,
            architecture="x86_64",
        )
        register_image(tx, image)
        root = make_root_key(tx)
        if keys:
            tx.add(Bucket(name="many", region=REGION, created=tx.now, owner=ACCOUNT))
        etag = hashlib.md5(SMALL).hexdigest()
        for number in range(keys):
            made = Object(
                bucket="many",
                key=key_of(number),
                size=len(SMALL),
                etag=etag,
                modified=tx.now,
                extents=keep(tx, Spool("", len(SMALL), etag, data=SMALL)),
            )
            tx.add(made)
    dispatcher = Dispatcher(database, ACCOUNT, REGION, lambda: None)
    endpoint = AwsEndpoint(
        region=REGION,
        spool=objects,
        objects=objects,
        secret_for=dispatcher.secret_for,
        perform=dispatcher.perform,
        cors=dispatcher.cors,
    )
    await endpoint.start()
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    await endpoint.add_socket(listener)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", root.access_key_id, root.secret_access_key, flush=True)
    await asyncio.Event().wait()


def seconds_each(times: int, call: Callable[[int], Any]) -> list[float]:
    """Seconds of each of so many calls, one after the other."""
    taken = []
    for number in range(times):
        began = time.perf_counter()
        call(number)
        taken.append(time.perf_counter() - began)
    return taken


def median(times: int, call: Callable[[int], Any]) -> float:
    return statistics.median(seconds_each(times, call))


def latencies(name: str, taken: list[float]) -> dict[str, float]:
    """What is reported of calls that came one after the other."""
    ordered = sorted(taken)
    return {
        f"{name}: p50, ms": 1000 * statistics.median(ordered),
        f"{name}: p99, ms": 1000 * ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)],
        f"{name}: calls a second": len(ordered) / sum(ordered),
    }


def together(times: int, call: Callable[[int], Any]) -> float:
    """Calls a second of CLIENTS threads."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        began = time.perf_counter()
        for _ in pool.map(call, range(times)):
            pass
        return times / (time.perf_counter() - began)


def report(title: str, rounds: dict[str, list[dict[str, float]]]) -> None:
    """Medians of rounds, side by side; a figure whose name ends in `ms` is better when it is smaller."""
    print(f"\n{title:44}{'skylift':>10}{'moto':>10}{'ahead':>9}")
    for name in rounds["skylift"][0]:
        ours, theirs = (statistics.median(each[name] for each in rounds[server]) for server in ("skylift", "moto"))
        ahead = theirs / ours if name.endswith("ms") else ours / theirs
        print(f"{name:44}{ours:10.2f}{theirs:10.2f}{ahead:8.1f}x")


if __name__ == "__main__":
    if sys.argv[1] == "moto":
        serve_moto(int(sys.argv[2]), int(sys.argv[3]))
    else:
        asyncio.run(serve(Path(sys.argv[2]), int(sys.argv[3])))
