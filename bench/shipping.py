"""What does a large file cost on its way, in processor time, and who spends it? Each step by itself, without servers.

    python bench/shipping.py [--size MIB] [--rounds N] [--connection MIB]

The endpoint runs with its services and store and nothing behind it (beside_moto.py); this process does what client and
server do, one step after the other. Shown are seconds of processor time of either, for a GiB: the least of the rounds,
as other work only adds to it. No step can take less time than both together, divided by the processors.

With --connection, a result also comes home through a proxy that gives each connection so many MiB a second, as S3 does
with some 90. The floor is that object through one such connection.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import pwd
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

from beside_moto import REGION, Server, skylift

from skylift.agent.environment.inputs import InputDownloads
from skylift.agent.remote.aws import Aws
from skylift.agent.remote.prefix import Prefix as ServerPrefix
from skylift.client.collect.results import Manifest, bring_home
from skylift.client.job.outcome import Result
from skylift.client.job.record import JobKeys
from skylift.client.job.settings import OneImage, Settings
from skylift.client.remote.api import Api
from skylift.client.ship.blob_store import BLOBS, Blob, BlobStore
from skylift.contract.record import LargeInput

BUCKET = "bench"
MIB = 1 << 20
PIECE = 1 << 16
BURST = 0.2
"""Seconds of silence after which a connection of the proxy may catch up no more."""


class Ways:
    """A large file, and each step of its way to a server and back."""

    def __init__(self, server: Server, folder: Path, size: int) -> None:
        url, key, secret = server.address
        os.environ.update(AWS_ACCESS_KEY_ID=key, AWS_SECRET_ACCESS_KEY=secret)
        metadata: Any = SimpleNamespace(
            credentials=lambda renew=False: {"AccessKeyId": key, "SecretAccessKey": secret}, role="bench"
        )
        aws = Aws(REGION, url, metadata)
        self._bucket, self._inputs = ServerPrefix(aws, BUCKET), ServerPrefix(aws, BUCKET, BLOBS)
        self._prefix = JobKeys("bench")
        self._folder, self._there, self._file, self._size = folder, folder / "there", folder / "data.bin", size
        self.api = self._api(url)
        server.s3.create_bucket(Bucket=BUCKET)
        with self._file.open("wb") as file:
            for _ in range(size // MIB):
                file.write(os.urandom(MIB))
        self.digest = ""

    def steps(self) -> dict[str, Callable[[], object]]:
        return {
            "inputs: hash them, client": self.hash_here,
            "inputs: send them, client": self.send_input,
            "inputs: fetch them, server": self.fetch_input,
            "results: send them, server": self.send_result,
            "results: fetch them, client": lambda: self.fetch_result(self.api),
        }

    def hash_here(self) -> None:
        with self._file.open("rb") as file:
            self.digest = hashlib.file_digest(file, "sha256").hexdigest()

    def send_input(self) -> None:
        blob = Blob("data.bin", self.digest, self._size, lambda: self._file.open("rb"))
        BlobStore(self.api, BUCKET).send(blob, lambda size: None)

    def fetch_input(self) -> None:
        program: Any = SimpleNamespace(ending=None)
        user, until = pwd.getpwuid(os.geteuid()), time.time() + 600
        wanted = LargeInput("data.bin", self.digest, self._size)
        InputDownloads(self._there, user, program, until, self._there / "kept").fetch_large(self._inputs, [wanted])

    def send_result(self) -> None:
        with self._file.open("rb") as file:
            key = self._prefix.result("data.bin")
            if self._bucket.put_file(key, file, self._size, time.time() + 600) != self.digest:
                raise SystemExit("something else was sent")

    def fetch_result(self, api: Api) -> None:
        manifest = Manifest((Result("data.bin", self._size, self.digest),))
        bring_home(api, BUCKET, self._prefix, manifest, self._there, lambda size: None)

    def fetch_in_one(self, api: Api) -> None:
        """The object through one connection, to a file."""
        with (self._there / "data.bin").open("wb") as file:
            for _ in api.stream(BUCKET, self._prefix.result("data.bin"), file):
                continue

    def clear(self) -> None:
        """Remove what was fetched."""
        shutil.rmtree(self._there, ignore_errors=True)
        self._there.mkdir()

    def behind(self, url: str) -> Api:
        return self._api(url)

    def _api(self, url: str) -> Api:
        return Api(Settings(REGION, self._folder, OneImage(), lambda: "127.0.0.1", url))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=512, metavar="MIB")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connection", type=int, default=0, metavar="MIB", help="a second, for each connection")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="shipping-") as directory, skylift(Path(directory)) as server:
        files = Path(directory) / "files"
        files.mkdir()
        ways = Ways(server, files, chosen.size * MIB)
        spent: dict[str, list[tuple[float, float]]] = {}
        for _ in range(chosen.rounds):
            for name, step in ways.steps().items():
                ways.clear()
                spent.setdefault(name, []).append(processor_time(step, server.pid))
        print(
            f"seconds of processor time for a GiB, the least of {chosen.rounds} rounds; load {os.getloadavg()[0]:.1f}\n"
        )
        print(f"{'':32}{'itself':>10}{'endpoint':>10}")
        for name, found in spent.items():
            least = (min(each[side] for each in found) * 1024 / chosen.size for side in (0, 1))
            print(f"{name:32}{''.join(f'{seconds:10.2f}' for seconds in least)}")
        if chosen.connection:
            through_slow_connections(ways, server.address[0], chosen.connection, chosen.rounds)


def processor_time(step: Callable[[], object], endpoint: int) -> tuple[float, float]:
    """Of this process and of the endpoint's. The number of a process's clock is made as clock_getcpuclockid(3) makes
    it."""
    clock = (~endpoint << 3) | 2
    before, there = time.process_time(), time.clock_gettime(clock)
    step()
    return time.process_time() - before, time.clock_gettime(clock) - there


def through_slow_connections(ways: Ways, url: str, rate: int, rounds: int) -> None:
    api = ways.behind(slow_proxy(url, rate * MIB))
    ratios = []
    for _ in range(rounds):
        taken = []
        for step in (ways.fetch_in_one, ways.fetch_result):
            ways.clear()
            taken.append(seconds(step, api))
        ratios.append(taken[1] / taken[0])
    shown = ", ".join(f"{ratio:.2f}x" for ratio in sorted(ratios))
    print(f"\na result through connections of {rate} MiB/s, of the time that one takes: {shown}")


def seconds(step: Callable[[Api], object], api: Api) -> float:
    began = time.perf_counter()
    step(api)
    return time.perf_counter() - began


def slow_proxy(url: str, rate: int) -> str:
    """The URL of a proxy in a thread, which lets each connection bring so many bytes a second."""
    place, ready, found = urlsplit(url), threading.Event(), list[str]()

    async def paced(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: float) -> None:
        began, come = time.monotonic(), 0
        try:
            while data := await reader.read(PIECE):
                writer.write(data)
                await writer.drain()
                come += len(data)
                ahead = come / limit - (time.monotonic() - began)
                if ahead < -BURST:
                    began = time.monotonic() - come / limit - BURST
                await asyncio.sleep(max(ahead, 0))
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner, outer = await asyncio.open_connection(place.hostname, place.port)
        await asyncio.gather(paced(reader, outer, float("inf")), paced(inner, writer, rate))

    async def serve() -> None:
        listening = await asyncio.start_server(client, "127.0.0.1", 0)
        found.append(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}")
        ready.set()
        await listening.serve_forever()

    threading.Thread(target=lambda: asyncio.run(serve()), daemon=True).start()
    ready.wait()
    return found[0]


if __name__ == "__main__":
    main()
