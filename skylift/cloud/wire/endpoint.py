"""The AWS endpoint as a whole: what main.py starts and stops."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from skylift.cloud.wire.call import Perform, Request, Response, SecretFor
from skylift.cloud.wire.codecs import codecs_for
from skylift.cloud.wire.cors import Allowed, nobody
from skylift.cloud.wire.exchange import Parts
from skylift.cloud.wire.models import keep_all, load_all
from skylift.cloud.wire.pipeline import Body, Pipeline
from skylift.cloud.wire.route import ServiceRouter
from skylift.cloud.wire.sender import Senders
from skylift.cloud.wire.server import GRACE, HttpServer
from skylift.cloud.wire.signature import Verifier
from skylift.cloud.wire.transition_wait import TransitionWait

SERVICES = (
    "autoscaling",
    "cloudtrail",
    "cloudwatch",
    "ec2",
    "ec2-instance-connect",
    "iam",
    "s3",
    "s3control",
    "scheduler",
    "service-quotas",
    "skylift",
    "ssm",
    "sts",
)
WORKERS = 32
OF_SENDER = 8
"""The most workers that one sender has at a time: some are left to others, however slow its requests are."""


def load_models(kept: Path) -> None:
    """What `start` needs, before it is known what it is to serve. May run beside other things. See `keep_models`."""
    load_all(SERVICES, kept)


def keep_models(kept: Path) -> None:
    """Keep the models in a file that the next process reads faster than botocore's data."""
    keep_all(SERVICES, kept)


class AwsEndpoint:
    """Speaks AWS's protocols on the sockets it is given.

    `spool` and `objects` are existing directories, or one: bodies come in to the first, objects are read from the
    second. `secret_for` and `perform` block and are called in worker threads, several at a time. `hosts` are
    names of the endpoint besides `localhost`, for addresses like `bucket.HOST`. `seen_as` turns the address a
    connection comes from into the one that its sender has in this cloud's networks. `cors` knows what buckets allow
    browsers. With `settling`, answers wait a moment for what is on its way.
    """

    def __init__(
        self,
        *,
        region: str,
        spool: Path,
        objects: Path,
        secret_for: SecretFor,
        perform: Perform,
        hosts: Iterable[str] = (),
        seen_as: Callable[[str], str] = str,
        cors: Allowed = nobody,
        settling: TransitionWait | None = None,
    ) -> None:
        self._region = region
        self._spool = spool
        self._objects = objects
        self._secret_for = secret_for
        self._perform = perform
        self._seen_as = seen_as
        self.senders = Senders(seen_as)
        self._cors = cors
        self._settling = settling
        self._hosts = (*hosts, "localhost", f"s3.{region}.amazonaws.com", "s3.amazonaws.com")
        self._workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="wire")
        self._server: HttpServer | None = None

    async def start(self) -> None:
        """Loads the service models, if they are not loaded yet. Sockets can be added afterwards."""
        pipeline = await asyncio.get_running_loop().run_in_executor(self._workers, self._make_pipeline)

        async def answer(request: Request, body: Body) -> Response:
            seen = self._seen_as(request.source_ip)
            return await pipeline.answer(
                request if seen == request.source_ip else replace(request, source_ip=seen), body
            )

        self._server = HttpServer(answer, senders=self.senders)

    async def add_socket(self, sock: socket.socket, tls: ssl.SSLContext | None = None, *, vpc_id: str = "") -> None:
        """Serve a bound TCP socket, in whatever network namespace it was made. The endpoint closes it.

        With `vpc_id` it is that VPC's router's: a client that comes in by it is a server there, known by its private
        address.
        """
        await self._running().add_socket(sock, tls, place=vpc_id)

    async def remove_socket(self, sock: socket.socket) -> None:
        """Stop serving a socket that was added, and close it. KeyError for any other."""
        await self._running().remove_socket(sock)

    async def stop(self, grace: float = GRACE) -> None:
        """Accepts nothing more, lets requests finish within `grace` seconds, and ends the workers."""
        if self._settling is not None:
            self._settling.stop()
        if self._server is not None:
            await self._server.stop(grace)
            self._server = None
        await asyncio.to_thread(self._workers.shutdown)

    def _running(self) -> HttpServer:
        if self._server is None:
            raise RuntimeError("the endpoint is not started")
        return self._server

    def _make_pipeline(self) -> Pipeline:
        codecs = [codec for service in SERVICES for codec in codecs_for(service, self._hosts, self._region)]
        parts = Parts(
            router=ServiceRouter(codecs),
            verifier=Verifier(self._region, self._secret_for),
            perform=self._perform,
            spool=self._spool,
            objects=self._objects,
            allowed=self._cors,
            settling=self._settling,
        )
        return Pipeline(parts, self._workers, OF_SENDER)
