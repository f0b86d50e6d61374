"""S3 beside moto's server, in one run: small and large objects, eight clients at once, listings.

    python bench/s3.py [--large MIB] [--small REQUESTS] [--keys KEYS] [--rounds N]

Both are servers in processes of their own and asked by the same boto3 client from this one. moto keeps objects in
memory; what this cloud has answered survives a power cut, so the floor of a put is shown too: a file written and
fsynced with its directory, and a row committed. The floor of HTTP itself is in http_servers.py. Medians.
"""

from __future__ import annotations

import argparse
import os
import socket
import sqlite3
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from beside_moto import CLIENTS, SMALL, Server, latencies, median, moto, report, seconds_each, skylift, together

MIB = 1 << 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--large", type=int, default=256, help="MiB of the large object")
    parser.add_argument("--small", type=int, default=400, help="requests of 1 KiB")
    parser.add_argument("--keys", type=int, default=100_000, help="objects in the bucket that is listed")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, skylift(Path(directory)) as ours, moto() as theirs:
        servers = {"skylift": ours, "moto": theirs}
        for server in servers.values():
            server.s3.create_bucket(Bucket="bucket")
        idle = {name: server.memory() for name, server in servers.items()}
        rounds: dict[str, list[dict[str, float]]] = {name: [] for name in servers}
        for _ in range(chosen.rounds):
            for name, server in servers.items():
                rounds[name].append(measure(server, chosen.large, chosen.small))
        report("objects", rounds)
        floors(Path(directory), chosen.large, chosen.small)
        for name, server in servers.items():
            print(f"{name}: memory idle {idle[name]:.0f} MiB, after the objects {server.memory():.0f} MiB")
    with (
        tempfile.TemporaryDirectory() as directory,
        skylift(Path(directory), chosen.keys) as ours,
        moto(chosen.keys) as theirs,
    ):
        servers = {"skylift": ours, "moto": theirs}
        listed: dict[str, list[dict[str, float]]] = {name: [] for name in servers}
        for _ in range(chosen.rounds):
            for name, server in servers.items():
                listed[name].append(listings(server, chosen.keys))
        report(f"listings of {chosen.keys} objects", listed)
        for name, server in servers.items():
            print(f"{name}: memory after the listings {server.memory():.0f} MiB")


def measure(server: Server, large: int, small: int) -> dict[str, float]:
    s3 = server.s3

    def put(number: int) -> None:
        s3.put_object(Bucket="bucket", Key=f"{number % small}", Body=SMALL)

    def get(number: int) -> None:
        s3.get_object(Bucket="bucket", Key=f"{number % small}")["Body"].read()

    found = {
        **latencies("put 1 KiB", seconds_each(small, put)),
        **latencies("get 1 KiB", seconds_each(small, get)),
        f"{CLIENTS} clients put 1 KiB, /s": together(small * 2, put),
        f"{CLIENTS} clients get 1 KiB, /s": together(small * 2, get),
    }
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


def listings(server: Server, keys: int) -> dict[str, float]:
    s3 = server.s3
    cases: dict[str, dict[str, str]] = {
        "first 1,000, ms": {},
        "1,000 from the middle, ms": {"StartAfter": f"5/{keys // 2:07}"},
        "the 10 folders, ms": {"Delimiter": "/"},
    }

    def ask(case: dict[str, str]) -> float:
        return 1000 * median(5, lambda _: s3.list_objects_v2(Bucket="many", **case))

    return {name: ask(case) for name, case in cases.items()}


def floors(directory: Path, large: int, small: int) -> None:
    """What the disk and the loopback interface take by themselves."""
    print(f"floor of a put of 1 KiB, ms: {durable_file(directory, small) * 1000:.2f}")
    data = os.urandom(MIB) * large
    began = time.perf_counter()
    with (directory / "floor").open("wb") as file:
        file.write(data)
        os.fsync(file.fileno())
    print(f"a file of {large} MiB, written and fsynced: {large / (time.perf_counter() - began):.0f} MiB/s")
    print(f"{large} MiB through a loopback connection: {large / loopback(data):.0f} MiB/s")


def loopback(data: bytes) -> float:
    """Seconds from the first byte sent to the last one read, by two threads of this process."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:

        def send() -> None:
            with listener.accept()[0] as connection:
                connection.sendall(data)

        sending = pool.submit(send)
        with socket.create_connection(listener.getsockname()) as connection:
            began = time.perf_counter()
            while connection.recv(MIB):
                pass
            taken = time.perf_counter() - began
        sending.result()
    return taken


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


if __name__ == "__main__":
    main()
