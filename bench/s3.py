"""S3 beside moto's server, in one run: small and large objects, eight clients at once, listings.

    python bench/s3.py [--large MIB] [--small REQUESTS] [--keys KEYS] [--rounds N]

Both are servers in processes of their own and asked by the same boto3 client from this one. moto keeps objects in
memory; what this cloud has answered survives a power cut, so the floor of a put is shown too: a file written and
fsynced with its directory, and a row committed. The floor of HTTP itself is in http_servers.py. Medians.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

ACCOUNT, REGION = "123456789012", "us-east-1"
MIB = 1 << 20
SMALL = os.urandom(1024)
CLIENTS = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--large", type=int, default=256, help="MiB of the large object")
    parser.add_argument("--small", type=int, default=400, help="requests of 1 KiB")
    parser.add_argument("--keys", type=int, default=100_000, help="objects in the bucket that is listed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.serve:
        asyncio.run(serve(chosen.serve))
        return
    with tempfile.TemporaryDirectory() as directory, skylift(Path(directory)) as ours, moto() as theirs:
        servers = {"skylift": ours, "moto": theirs}
        for server in servers.values():
            server.s3.create_bucket(Bucket="bucket")
            server.s3.create_bucket(Bucket="many")
        idle = {name: server.memory() for name, server in servers.items()}
        rounds: dict[str, list[dict[str, float]]] = {name: [] for name in servers}
        for _ in range(chosen.rounds):
            for name, server in servers.items():
                rounds[name].append(measure(server, chosen.large, chosen.small))
        report("objects", rounds)
        print(f"floor of a put of 1 KiB, ms: {durable_file(Path(directory), chosen.small) * 1000:.2f}")
        for name, server in servers.items():
            began = time.perf_counter()
            fill(server, chosen.keys)
            print(f"{name}: {chosen.keys / (time.perf_counter() - began):.0f} puts a second by {CLIENTS} clients")
        listed: dict[str, list[dict[str, float]]] = {name: [] for name in servers}
        for _ in range(chosen.rounds):
            for name, server in servers.items():
                listed[name].append(listings(server, chosen.keys))
        report(f"listings of {chosen.keys} objects", listed)
        for name, server in servers.items():
            print(f"{name}: memory idle {idle[name]:.0f} MiB, at the end {server.memory():.0f} MiB")


class Server:
    def __init__(self, url: str, key: str, secret: str, pid: int) -> None:
        self._session = boto3.Session(key, secret, region_name=REGION)
        self._url = url
        self._pid = pid
        self.s3 = self.client()

    def client(self) -> Any:
        config = Config(max_pool_connections=CLIENTS, proxies={}, s3={"addressing_style": "path"})
        return self._session.client("s3", endpoint_url=self._url, config=config)

    def memory(self) -> float:
        """MiB that the process has in memory."""
        status = Path(f"/proc/{self._pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024


@contextmanager
def skylift(directory: Path) -> Iterator[Server]:
    """The endpoint with its services and store, without servers: what S3 takes of a cloud."""
    command = [sys.executable, __file__, "--serve", str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url, key, secret = process.stdout.readline().split()
            yield Server(url, key, secret, process.pid)
        finally:
            process.terminate()


async def serve(directory: Path) -> None:
    from skylift.cloud.main import Desk
    from skylift.cloud.services.identity import make_root_key
    from skylift.cloud.store.database import Database
    from skylift.cloud.wire import checksum
    from skylift.cloud.wire.endpoint import AwsEndpoint

    (directory / "objects").mkdir()
    database = Database(directory / "state.db", checksum=checksum.start)
    with database.write() as tx:
        root = make_root_key(tx)
    desk = Desk(database, ACCOUNT, REGION, lambda: None)
    endpoint = AwsEndpoint(
        region=REGION,
        spool=directory / "objects",
        objects=directory / "objects",
        secret_for=desk.secret_for,
        perform=desk.perform,
        cors=desk.cors,
    )
    await endpoint.start()
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    await endpoint.add_socket(listener)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", root.access_key_id, root.secret_access_key, flush=True)
    await asyncio.Event().wait()


@contextmanager
def moto() -> Iterator[Server]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 60
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


def measure(server: Server, large: int, small: int) -> dict[str, float]:
    s3 = server.s3
    found = {
        "put 1 KiB, ms": 1000 * median(small, lambda n: s3.put_object(Bucket="bucket", Key=f"{n}", Body=SMALL)),
        "get 1 KiB, ms": 1000 * median(small, lambda n: s3.get_object(Bucket="bucket", Key=f"{n}")["Body"].read()),
    }
    found["8 clients put 1 KiB, /s"] = together(
        small * 2, lambda n: s3.put_object(Bucket="bucket", Key=f"{n}", Body=SMALL)
    )
    found["8 clients get 1 KiB, /s"] = together(
        small * 2, lambda n: s3.get_object(Bucket="bucket", Key=f"{n % small}")["Body"].read()
    )
    data = os.urandom(MIB) * large
    began = time.perf_counter()
    s3.put_object(Bucket="bucket", Key="large", Body=data)
    found[f"put {large} MiB, MiB/s"] = large / (time.perf_counter() - began)
    began = time.perf_counter()
    read = s3.get_object(Bucket="bucket", Key="large")["Body"]
    size = 0
    while piece := read.read(MIB):
        size += len(piece)
    found[f"get {large} MiB, MiB/s"] = large / (time.perf_counter() - began)
    if size != len(data):
        raise SystemExit(f"{size} bytes came back of {len(data)}")
    return found


def fill(server: Server, keys: int) -> None:
    """Ten folders of equally many objects."""
    together(keys, lambda n: server.s3.put_object(Bucket="many", Key=f"{n % 10}/{n:07}", Body=b""))


def listings(server: Server, keys: int) -> dict[str, float]:
    s3 = server.s3
    cases = {
        "first 1,000, ms": {},
        "1,000 from the middle, ms": {"StartAfter": f"5/{keys // 2:07}"},
        "the 10 folders, ms": {"Delimiter": "/"},
    }
    return {
        name: 1000 * median(5, lambda _, case=case: s3.list_objects_v2(Bucket="many", **case))
        for name, case in cases.items()
    }


def median(times: int, call: Callable[[int], Any]) -> float:
    taken = []
    for number in range(times):
        began = time.perf_counter()
        call(number)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def together(times: int, call: Callable[[int], Any]) -> float:
    """Calls a second of CLIENTS threads."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        began = time.perf_counter()
        for _ in pool.map(call, range(times)):
            pass
        return times / (time.perf_counter() - began)


def durable_file(directory: Path, times: int) -> float:
    """What a small object that survives a power cut takes at least: seconds."""

    rows = sqlite3.connect(directory / "floor.db", isolation_level=None)
    for statement in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", "CREATE TABLE floor (number)"):
        rows.execute(statement)
    parent = os.open(directory, os.O_RDONLY)

    def write(number: int) -> None:
        descriptor = os.open(directory / f"floor.{number}", os.O_WRONLY | os.O_CREAT)
        os.write(descriptor, SMALL)
        os.fsync(descriptor)
        os.close(descriptor)
        os.fsync(parent)
        rows.execute("INSERT INTO floor VALUES (?)", (number,))

    try:
        return median(times, write)
    finally:
        os.close(parent)
        rows.close()


def report(title: str, rounds: dict[str, list[dict[str, float]]]) -> None:
    print(f"\n{title:32}{'skylift':>10}{'moto':>10}{'ahead':>9}")
    for name in rounds["skylift"][0]:
        ours, theirs = (statistics.median(each[name] for each in rounds[server]) for server in ("skylift", "moto"))
        ahead = theirs / ours if name.endswith("ms") else ours / theirs
        print(f"{name:32}{ours:10.2f}{theirs:10.2f}{ahead:8.1f}x")


if __name__ == "__main__":
    main()
