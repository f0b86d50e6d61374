"""What of a small answer costs what? Processor time of the endpoint's process, with one step more in each line.

    python bench/steps.py [--rounds N]

One process serves the same object at several ports. At the first one, the answer is ready. At each further one, the
request goes one step further before the same answer is sent, and at the last one it is answered as ever. So a step
costs what its line has more than the line above it. The floor is stub_server.py. All are asked in turns by signed
requests on a connection that stays; at the end, the first one and the floor with a new connection for each request.
Other work only adds: shown is the first quartile of the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from answers import ASKED, Ask, Side, floor_of
from beside_moto import ACCOUNT, REGION, SMALL
from botocore.credentials import Credentials

ASK = replace(ASKED["GET of 1 KiB"], times=100)
HTTP, ROUTED, VERIFIED, UNDERSTOOD, AUTHENTICATED, PERMITTED, FOUND, ENCODED, LOGGED, WHOLE = range(10)
STEPS = (
    "HTTP: aiohttp, our request and response",
    "+ the operation, by host, path and headers",
    "+ the signature, with a snapshot for the key",
    "+ the body's digests, the parameters",
    "+ a snapshot, and who calls",
    "+ permission, with the object's row",
    "+ the result, with the row again and the bytes",
    "+ its headers",
    "+ a line in the log",
    "as ever: + what was noted of the key",
)


class Endpoint:
    """The endpoint, and each step of it as an answer of its own."""

    def __init__(self, directory: Path) -> None:
        from skylift.cloud.domain.bucket import Bucket, Object, Spool
        from skylift.cloud.domain.facts import CloudFacts
        from skylift.cloud.services.api import facts
        from skylift.cloud.services.iam.identity import make_root_key
        from skylift.cloud.store.content import keep
        from skylift.cloud.store.database import Database
        from skylift.cloud.wire import checksum
        from skylift.cloud.wiring.dispatcher import Dispatcher

        self._database = Database(directory / "state.db", checksum=checksum.start)
        with self._database.write() as tx:
            facts.observe(tx, CloudFacts(account=ACCOUNT, region=REGION, loopback_net=1))
            self.key = make_root_key(tx)
            tx.add(Bucket(name="bench", region=REGION, created=tx.now, owner=ACCOUNT))
            spool = Spool("", len(SMALL), "0" * 32, data=SMALL)
            tx.add(
                Object(
                    bucket="bench",
                    key="small",
                    size=len(SMALL),
                    etag=spool.md5,
                    modified=tx.now,
                    extents=keep(tx, spool),
                )
            )
        self._dispatcher = Dispatcher(self._database, ACCOUNT, REGION, lambda: None)
        self._parts = self._make_parts(directory)
        self._ready: Any = None

    def _make_parts(self, objects: Path) -> Any:
        from skylift.cloud.wire.codecs import codecs_for
        from skylift.cloud.wire.exchange import Parts
        from skylift.cloud.wire.route import ServiceRouter
        from skylift.cloud.wire.signature import Verifier

        dispatcher = self._dispatcher
        return Parts(
            router=ServiceRouter(list(codecs_for("s3", ("localhost",)))),
            verifier=Verifier(REGION, dispatcher.secret_for),
            perform=dispatcher.perform,
            spool=objects,
            objects=objects,
        )

    async def serve(self) -> None:
        """Write each step's port, and the key, to standard output."""
        from concurrent.futures import ThreadPoolExecutor

        from skylift.cloud.wire.pipeline import Pipeline
        from skylift.cloud.wire.server import HttpServer

        pipeline = Pipeline(self._parts, ThreadPoolExecutor(1), 1)
        ports = []
        for step in range(len(STEPS)):

            async def answer(request: Any, body: Any, step: int = step) -> Any:
                if step == WHOLE or self._ready is None:
                    response = await pipeline.answer(request, body)
                    self._ready = self._ready or response
                    return response
                return self._until(step, request, b"".join([piece async for piece in body.pieces()]))

            listener = socket.socket()
            listener.bind(("127.0.0.1", 0))
            await HttpServer(answer).add_socket(listener)
            ports.append(listener.getsockname()[1])
        print(*ports, self.key.access_key_id, self.key.secret_access_key, flush=True)
        await asyncio.Event().wait()

    def _until(self, step: int, request: Any, body: bytes) -> Any:
        from skylift.cloud.services.table import TABLE
        from skylift.cloud.wire.exchange import Exchange

        if step == HTTP:
            return self._ready
        parts = self._parts if step >= VERIFIED else replace(self._parts, verifier=Trusting())
        exchange = Exchange(parts, request)
        exchange.admit()
        if step >= UNDERSTOOD:
            exchange.feed(body)
            exchange.understand()
        if step >= AUTHENTICATED:
            call = exchange._understood()
            operation = TABLE[call.service, call.operation]
            with self._database.read() as tx:
                caller = self._dispatcher._authenticated(tx, call)
                if step >= PERMITTED:
                    self._dispatcher._permit(tx, operation, caller, call)
                if step >= FOUND:
                    result = operation.handler(tx, caller, call.params)
            if step >= ENCODED:
                response = exchange._opened(exchange._encode(result))
            if step >= LOGGED:
                return exchange._logged(response)
        return self._ready


class Trusting:
    """In place of the verifier, for the steps before it."""

    def verify(self, _request: object, signed: Any, _payload: str, _now: object) -> Any:
        from skylift.cloud.wire.signature import SigningKey

        return SigningKey(b"", signed.stamp, signed.scope)


class Anew:
    """The same side, with a connection for each request."""

    def __init__(self, side: Side, port: int) -> None:
        self._side, self._port = side, port

    def measure(self, ask: Ask) -> tuple[float, float]:
        taken = []
        for _ in range(ask.times // 4):
            self._side._socket.close()
            self._side._socket = socket.create_connection(("127.0.0.1", self._port))
            taken.append(self._side.measure(replace(ask, times=1)))
        return statistics.median(each[0] for each in taken), statistics.median(each[1] for each in taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.serve:
        log_into(chosen.serve / "log")
        asyncio.run(Endpoint(chosen.serve).serve())
        return
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="steps-"))
        process = stack.enter_context(
            subprocess.Popen([sys.executable, __file__, "--serve", directory], stdout=subprocess.PIPE, text=True)
        )
        stack.callback(process.terminate)
        assert process.stdout is not None
        *ports, key, secret = process.stdout.readline().split()
        credentials = Credentials(key, secret)

        def at(port: str) -> Side:
            return Side(f"http://127.0.0.1:{port}", credentials, process.pid)

        answer = at(ports[WHOLE]).answer(ASK)
        floor = stack.enter_context(floor_of(ASK, answer))
        sides: dict[str, Side | Anew] = {"floor": floor, **dict(zip(STEPS, map(at, ports), strict=True))}
        floor_anew = stack.enter_context(floor_of(ASK, answer))
        sides["floor, each time a new connection"] = Anew(floor_anew, floor_anew._socket.getpeername()[1])
        sides["HTTP alone, each time a new connection"] = Anew(at(ports[HTTP]), int(ports[HTTP]))
        rounds: dict[str, list[float]] = {name: [] for name in sides}
        for number in range(chosen.rounds + 1):
            for name in list(sides)[:: 1 if number % 2 else -1]:
                rounds[name].append(sides[name].measure(ASK)[0] * 1000)
    print(f"{chosen.rounds} rounds; microseconds of the server's processor\n")
    before = 0.0
    for name, found in rounds.items():
        figure = statistics.quantiles(found[1:], n=4)[0]
        print(f"{name:54}{figure:8.0f}{figure - before:+8.0f}")
        before = figure
    print(f"load {os.getloadavg()[0]:.1f}")


def log_into(file: Path) -> None:
    """As the cloud logs, with standard error as the file."""
    from skylift.cloud.process.log import log_to

    os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), 2)
    log_to(file)


if __name__ == "__main__":
    main()
