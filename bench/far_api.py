"""An endpoint as far away as one likes: passes AWS's calls on, each after a while, and writes down which they were."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_PIECE = 1 << 18
_ENOUGH = 1 << 14
"""Bytes of a request in which its name stands."""
_SERVICE = re.compile(rb"Credential=[^/]+/\d+/[^/]+/([^/]+)/aws4_request")
_NAMES = (re.compile(rb"(?:^|[\n&])Action=(\w+)"), re.compile(rb"(?i)\nx-amz-target: *\w+\.(\w+)"))


@dataclass
class Call:
    """One request. Times are of `time.perf_counter`: when its first byte came, and when the answer's did."""

    name: str
    began: float
    answered: float


@dataclass
class FarApi:
    """`delay` is in seconds and holds for calls that begin from then on; `calls` is in the order of the answers."""

    url: str
    delay: float = 0.0
    calls: list[Call] = field(default_factory=list)

    def chain(self) -> int:
        """How many of the calls could not but come one after the other, as they were made: each next one began when
        the one before it had been answered."""
        longest, end = 0, 0.0
        for call in sorted(self.calls, key=lambda each: each.answered):
            if call.began >= end:
                longest, end = longest + 1, call.answered
        return longest


@contextmanager
def far_api(url: str) -> Iterator[FarApi]:
    """A proxy before the endpoint at a plain URL, in a thread of its own."""
    place = urlsplit(url)
    assert place.hostname is not None and place.port is not None
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        far = FarApi("")
        proxy = _Proxy(far, place.hostname, place.port)
        port = asyncio.run_coroutine_threadsafe(proxy.listen(place.hostname), loop).result()
        far.url = f"http://{place.hostname}:{port}"
        yield far
        asyncio.run_coroutine_threadsafe(proxy.close(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class _Proxy:
    def __init__(self, far: FarApi, host: str, port: int) -> None:
        self._far, self._host, self._port = far, host, port
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def listen(self, host: str) -> int:
        self._server = await asyncio.start_server(self._accept, host, 0, limit=_PIECE)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for each in self._connections:
            each.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            there = await asyncio.open_connection(self._host, self._port, limit=_PIECE)
            await _Connection(self._far, (reader, writer), there).run()
        finally:
            self._connections.discard(task)


class _Connection:
    """A client's, and ours to the endpoint. A request begins with the first byte after an answer."""

    def __init__(
        self,
        far: FarApi,
        here: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        there: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self._far, self._here, self._there = far, here, there
        self._request: bytes | None = None
        self._began = 0.0

    async def run(self) -> None:
        ways = [asyncio.ensure_future(each) for each in (self._pass_on(), self._answer())]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in ways:
                each.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for _, writer in (self._here, self._there):
                writer.close()
                with suppress(ConnectionError):
                    await writer.wait_closed()

    async def _pass_on(self) -> None:
        reader, writer = self._here[0], self._there[1]
        while piece := await reader.read(_PIECE):
            if self._request is None:
                self._request, self._began = b"", time.perf_counter()
                if self._far.delay:
                    await asyncio.sleep(self._far.delay)
            self._request += piece[: max(_ENOUGH - len(self._request), 0)]
            writer.write(piece)
            await writer.drain()

    async def _answer(self) -> None:
        reader, writer = self._there[0], self._here[1]
        while piece := await reader.read(_PIECE):
            # `100 Continue` asks for the rest of the request: the way there and back is in the call's delay already.
            if self._request is not None and not piece.startswith(b"HTTP/1.1 100"):
                self._far.calls.append(Call(_name(self._request), self._began, time.perf_counter()))
                self._request = None
            writer.write(piece)
            await writer.drain()


def _name(request: bytes) -> str:
    """`ec2 RunInstances`, `s3 PUT /bucket/key`."""
    service = _SERVICE.search(request)
    operation = next((found for each in _NAMES if (found := each.search(request))), None)
    what = operation.group(1) if operation else b" ".join(request.split(b" ", 2)[:2])
    return f"{service.group(1).decode() if service else '?'} {what.decode()}"
