"""A running endpoint for tests: the real wire, in front of a small service that keeps everything in dictionaries."""

from __future__ import annotations

import asyncio
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from skylift.cloud.domain.bucket import Extent, FileBody, Spool
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.wire.call import ModelCall
from skylift.cloud.wire.endpoint import AwsEndpoint
from skylift.cloud.wire.transition_wait import TransitionWait

REGION = "us-east-1"
ACCESS_KEY = "AKIAWIRETESTS0000001"
SECRET = "wire/tests+secret"


@dataclass
class Stored:
    file: str
    size: int
    md5: str
    checksums: dict[str, str]
    params: dict[str, Any]


@dataclass
class DictService:
    """Just enough of each service to see what the wire hands over, and to give it something to write."""

    objects_dir: Path
    spool_dir: Path
    objects: dict[tuple[str, str], Stored] = field(default_factory=dict)
    calls: list[ModelCall] = field(default_factory=list)
    answers: dict[str, Any] = field(default_factory=dict)
    """What to answer, or raise, by operation name."""
    before_secret: Callable[[], None] = lambda: None
    """Called in each look for a key's secret."""

    def perform(self, call: ModelCall) -> dict[str, Any]:
        self.calls.append(call)
        answer = self.answers.get(call.operation)
        if isinstance(answer, Exception):
            raise answer
        if answer is not None:
            return answer
        handler = getattr(self, f"_{call.operation}", None)
        if handler is None:
            raise ServiceError("InvalidAction", f"{call.operation} is not supported here.")
        return handler(call.params, call)

    def secret_for(self, access_key_id: str, session_token: str | None) -> str:
        self.before_secret()
        if access_key_id != ACCESS_KEY:
            raise ServiceError("InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist.")
        if session_token == "expired":
            raise ServiceError("ExpiredToken", "The provided token has expired.")
        return SECRET

    def _GetCallerIdentity(self, params: Any, call: ModelCall) -> dict[str, Any]:
        return {"Account": "123456789012", "UserId": "root", "Arn": "arn:aws:iam::123456789012:root"}

    def _PutObject(self, params: Any, call: ModelCall) -> dict[str, Any]:
        body: Spool = params["Body"]
        name = body.file or secrets.token_hex(8)
        if body.data is None:
            (self.spool_dir / name).rename(self.objects_dir / name)
        else:
            (self.objects_dir / name).write_bytes(body.data)
        stored = Stored(name, body.size, body.md5, body.checksums, params)
        self.objects[params["Bucket"], params["Key"]] = stored
        return {"ETag": f'"{body.md5}"', **{f"Checksum{name}": value for name, value in body.checksums.items()}}

    def _GetObject(self, params: Any, call: ModelCall) -> dict[str, Any]:
        stored = self._find(params)
        first, last = 0, stored.size - 1
        headers: dict[str, Any] = {}
        if "Range" in params:
            start, _, end = params["Range"].removeprefix("bytes=").partition("-")
            first, last = int(start), min(int(end or last), last)
            headers["ContentRange"] = f"bytes {first}-{last}/{stored.size}"
        body = FileBody((Extent(stored.file, first, last - first + 1),))
        return {**self._described(stored), "ContentLength": body.size, "Body": body, **headers}

    def _HeadObject(self, params: Any, call: ModelCall) -> dict[str, Any]:
        stored = self._find(params)
        return {**self._described(stored), "ContentLength": stored.size}

    def _find(self, params: Any) -> Stored:
        try:
            return self.objects[params["Bucket"], params["Key"]]
        except KeyError:
            raise ServiceError("NoSuchKey", "The specified key does not exist.", Key=params["Key"]) from None

    def _described(self, stored: Stored) -> dict[str, Any]:
        kept = {name: stored.params[name] for name in ("Metadata", "ContentType") if name in stored.params}
        return {
            "AcceptRanges": "bytes",
            "ETag": f'"{stored.md5}"',
            "LastModified": datetime(2026, 11, 25, 8, 30, tzinfo=UTC),
            **kept,
        }


@dataclass
class Running:
    url: str
    service: DictService
    endpoint: AwsEndpoint
    loop: asyncio.AbstractEventLoop

    def client(self, name: str, *, secret: str = SECRET, region: str = REGION, **more: Any) -> Any:
        """A boto3 client that asks once and takes no for an answer. `config` options go to botocore's Config."""
        token = more.pop("token", None)
        key = more.pop("key", ACCESS_KEY)
        url = more.pop("url", self.url)
        return boto3.Session().client(
            name,
            endpoint_url=url,
            region_name=region,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            aws_session_token=token,
            config=Config(retries={"total_max_attempts": 1}, proxies={}, **more),
        )

    @property
    def spooled(self) -> list[str]:
        return [path.name for path in self.service.spool_dir.iterdir()]

    def run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()

    def listen(self) -> socket.socket:
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        return sock


@contextmanager
def running(directory: Path, settling: TransitionWait | None = None) -> Iterator[Running]:
    """An endpoint on a free port of 127.0.0.1, in an event loop of its own."""
    spool, objects = directory / "spool", directory / "objects"
    spool.mkdir()
    objects.mkdir()
    service = DictService(objects, spool)
    endpoint = AwsEndpoint(
        region=REGION,
        spool=spool,
        objects=objects,
        secret_for=service.secret_for,
        perform=lambda call, encode: encode(service.perform(call)),
        settling=settling,
    )
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        started = Running("", service, endpoint, loop)
        sock = started.listen()
        started.url = f"http://127.0.0.1:{sock.getsockname()[1]}"
        started.run(endpoint.start())
        started.run(endpoint.add_socket(sock))
        yield started
        started.run(endpoint.stop())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
