"""The HTTP server: the cloud half's only importer of aiohttp.

It knows requests, bodies and sockets, and nothing about AWS. Sockets come and go while it runs, since each VPC's router
namespace has its own socket.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, BinaryIO, TypeVar
from weakref import WeakValueDictionary

# Not `aiohttp.web`, which loads its whole application framework. Only the server below it is used.
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler, RequestPayloadError
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import Response as HttpResponse
from aiohttp.web_response import StreamResponse
from aiohttp.web_server import Server

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.wire.call import Request, Response
from skylift.cloud.wire.connection_limit import AT_A_TIME, ConnectionLimit, ConnectionSlot, all_connections, refuse
from skylift.cloud.wire.files import OpenBody
from skylift.cloud.wire.pipeline import Body, Disconnected
from skylift.cloud.wire.sender import Senders

log = logging.getLogger("skylift.cloud.wire")

PIECE = 1024 * 1024
MOST_APART = 512
"""The most packets of a piece that are kept apart: each takes some forty bytes more than it has."""
LONGEST_LINE = 64 * 1024
"""The longest line of a request: a presigned URL with a session token and metadata takes several KiB, and a query API's
GET may take more.
"""
IDLE = 60.0
"""Seconds in which a client must send something."""
STALLED = 300.0
"""Seconds in which a client must take something, however little: on loopback, a slow one takes 64 KiB at a time."""
KEEP_ALIVE = 75.0
"""The most seconds of silence between requests, and the most that a request's headers may take."""
SENT_AT_ONCE = 4 * 1024 * 1024
GRACE = 10.0

Answer = Callable[[Request, Body], Awaitable[Response]]
Sent = TypeVar("Sent")


def blocking(handler: Callable[[Request], Response]) -> Answer:
    """An Answer from a function that blocks and does not look at the request's body.

    Only one request of each sender has a thread, or waits for one. So a busy sender waits for its own requests, and
    other senders do not.
    """
    turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def answer(request: Request, body: Body) -> Response:
        turn = turns.setdefault(request.sender, asyncio.Lock())
        async with turn:
            return await asyncio.to_thread(handler, request)

    return answer


class HttpServer:
    """Serves `answer` on any number of listening sockets."""

    def __init__(self, answer: Answer, crowd: ConnectionLimit | None = None, senders: Senders | None = None) -> None:
        """`crowd` bounds the open connections, by default together with this process's other servers."""
        self._answer = answer
        self._crowd = crowd or all_connections()
        self._senders = senders or Senders()
        self._servers: WeakValueDictionary[str, _Server] = WeakValueDictionary()
        """The servers by place; each lives as long as a connection of it."""
        self._listening: set[socket.socket] = set()
        self._arriving: set[asyncio.Task[None]] = set()

    async def add_socket(self, sock: socket.socket, tls: ssl.SSLContext | None = None, *, place: str = "") -> None:
        """Accept connections on a listening, or just bound, socket. The server owns it from here on.

        `place` is what requests carry for the socket that they came in by.
        """
        sock.setblocking(False)
        sock.listen(512)
        self._listening.add(sock)
        asyncio.get_running_loop().add_reader(sock, self._accept, sock, tls, place)

    async def remove_socket(self, sock: socket.socket) -> None:
        """Stop accepting on it and close it; requests that are being answered go on. KeyError if it is not served."""
        self._listening.remove(sock)
        self._close(sock)

    def _close(self, listening: socket.socket) -> None:
        asyncio.get_running_loop().remove_reader(listening)
        listening.close()

    async def stop(self, grace: float = GRACE) -> None:
        """Close all sockets, then let requests finish for `grace` seconds."""
        for listening in self._listening:
            self._close(listening)
        self._listening.clear()
        for arriving in self._arriving:
            arriving.cancel()
        servers = list(self._servers.values())
        self._servers.clear()
        for server in servers:
            # Connections that are only kept alive have nothing to finish.
            server.pre_shutdown()
        await asyncio.gather(*(server.shutdown(grace) for server in servers))

    def _accept(self, listening: socket.socket, tls: ssl.SSLContext | None, place: str) -> None:
        for _ in range(AT_A_TIME):
            accepted = self._crowd.accept(listening)
            if accepted is None:
                return
            connection, source = accepted
            seat = self._crowd.enter(self._senders.of(place, source))
            if seat is None:
                refuse(connection)
                continue
            arriving = asyncio.get_running_loop().create_task(self._admit(connection, tls, place, seat))
            self._arriving.add(arriving)
            arriving.add_done_callback(self._arriving.discard)

    async def _admit(
        self, connection: socket.socket, tls: ssl.SSLContext | None, place: str, seat: ConnectionSlot
    ) -> None:
        """Serve a connection, from here on by itself. It keeps its seat until it is closed."""
        loop = asyncio.get_running_loop()
        served = False
        try:
            protocol: _Connection
            _, protocol = await loop.connect_accepted_socket(partial(self._protocol, place), connection, ssl=tls)
            served = True
            protocol.sit(seat)
        except OSError:
            # It has gone away already, or does not speak TLS.
            pass
        finally:
            if not served:
                connection.close()
                seat.leave()

    def _protocol(self, place: str) -> _Connection:
        server = self._servers.get(place)
        if server is None:
            server = self._servers[place] = _Server(
                partial(self._handle, place),
                access_log=None,
                auto_decompress=False,  # an object is stored as it was sent
                keepalive_timeout=KEEP_ALIVE,
                max_line_size=LONGEST_LINE,
                max_field_size=LONGEST_LINE,
                read_bufsize=PIECE,
            )
        return server()

    async def _handle(self, place: str, http: BaseRequest) -> StreamResponse:
        body = _HttpBody(http)
        try:
            response = await self._answer(_request(http, place, self._senders), body)
        except Disconnected:
            raise ConnectionResetError from None
        try:
            if response.hops is not None:
                _limit_hops(http, response.hops)
            # A limit stays with the socket, so a connection that has one is not used again.
            return await _send(http, response, last=not body.complete or response.hops is not None)
        finally:
            if isinstance(response.body, OpenBody):
                response.body.close()


class _Connection(RequestHandler):
    """aiohttp's, but a client may close its half after a request, and its leaving is not logged as our fault."""

    _newest: StreamReader | None = None
    """The body of the newest request."""
    _seat: ConnectionSlot | None = None
    _lost = False

    def sit(self, seat: ConnectionSlot) -> None:
        """Gives the place back when the connection is closed, if that has not happened."""
        self._seat = seat
        if self._lost:
            seat.leave()

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._lost = True
        if self._seat is not None:
            self._seat.leave()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._messages:
            self._newest = self._messages[-1][1]

    def eof_received(self) -> bool:  # type: ignore[override]
        """Whether the connection stays open for an answer: all of a request has come in that has none yet."""
        idle = self._waiter is not None and not self._waiter.done()
        answering = not idle and self._newest is not None and self._newest.is_eof()
        if answering:
            self.close()  # after the answer
        return answering

    def handle_error(
        self, request: BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> StreamResponse:
        if isinstance(exc, ConnectionError):
            raise exc
        if not isinstance(exc, HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        log.info("a request from %s is not HTTP: %s", request.remote, exc.message)
        answer = HttpResponse(status=status, text=message)
        answer.force_close()
        return answer


class _Server(Server):
    def __call__(self) -> _Connection:
        return _Connection(self, loop=self._loop, **self._kwargs)


async def gathered(read: Callable[[], Awaitable[bytes]]) -> AsyncIterator[bytes]:
    """What `read` gives until it gives nothing, in pieces of `PIECE` at least, but for the last."""
    came: list[bytes] = []
    size = 0
    while data := await read():
        came.append(data)
        size += len(data)
        if size >= PIECE:
            yield b"".join(came)
            came, size = [], 0
        elif len(came) >= MOST_APART:
            came = [b"".join(came)]
    if came:
        yield b"".join(came)


class _HttpBody:
    """A request's body on the connection."""

    def __init__(self, http: BaseRequest) -> None:
        self._http = http
        self._expected = http.headers.get("Expect", "").lower() == "100-continue"
        self.length = http.content_length if http.body_exists else 0

    @property
    def complete(self) -> bool:
        """Whether all of it was read. If not, the rest of the body would be read as the connection's next request."""
        return self.length == 0 or self._http.content.is_eof()

    async def pieces(self, came: Callable[[int], None]) -> AsyncIterator[bytes]:
        if self.length == 0:
            return
        if self._expected:
            try:
                await self._http.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            except ConnectionError as error:
                raise Disconnected from error
            self._http.writer.output_size = 0

        async def read() -> bytes:
            data = await self._read()
            came(len(data))
            return data

        async for piece in gathered(read):
            yield piece

    async def _read(self) -> bytes:
        try:
            async with asyncio.timeout(IDLE):
                return await self._http.content.readany()
        except TimeoutError:
            raise ServiceError(
                "RequestTimeout",
                "Your socket connection to the server was not read from or written to within the timeout period. Idle "
                "connections will be closed.",
            ) from None
        except (RequestPayloadError, HttpProcessingError) as error:
            raise ServiceError("InvalidRequest", f"The request body cannot be read: {error}") from None
        except (ConnectionError, EOFError) as error:
            raise Disconnected from error


def _request(http: BaseRequest, place: str, senders: Senders) -> Request:
    headers, source = tuple((_text(name), _text(value)) for name, value in http.raw_headers), http.remote or ""
    who = senders.of(place, source)
    return Request(http.method, http.raw_path, headers, source, http.secure, _tls_version(http), place, who)


def _tls_version(http: BaseRequest) -> str:
    """`1.3`; empty for a connection without TLS."""
    tls = http.transport.get_extra_info("ssl_object") if http.transport else None
    return (tls.version() or "").removeprefix("TLSv") if tls else ""


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _limit_hops(http: BaseRequest, hops: int) -> None:
    """Routers drop the connection's packets after this many hops; containers behind a server are one more."""
    transport = http.transport
    if transport is not None:
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_IP, socket.IP_TTL, hops)


async def _send(http: BaseRequest, response: Response, *, last: bool) -> StreamResponse:
    body = response.body
    headers = {"Server": "skylift", "X-Content-Type-Options": "nosniff", **response.headers}
    if isinstance(body, OpenBody):
        return await _stream(http, response.status, headers, body, last=last)
    answer = HttpResponse(status=response.status, headers=headers, body=body)
    if last:
        answer.force_close()
    return answer


async def _stream(
    http: BaseRequest, status: int, headers: dict[str, str], body: OpenBody, *, last: bool
) -> StreamResponse:
    """Headers, then the files by sendfile: the bytes never pass through Python."""
    answer = StreamResponse(status=status, headers=headers)
    answer.content_length = body.size
    if last:
        answer.force_close()
    writer: Any = await answer.prepare(http)
    writer.send_headers()
    for piece in body.pieces():
        if isinstance(piece, bytes):
            await _while_it_moves(http, answer.write(piece))
            continue
        position, left = piece.offset, piece.length
        while left:
            transport = http.transport
            if transport is None:
                raise ConnectionResetError("the client went away")
            sent = await _while_it_moves(http, _send_file(transport, piece.file, position, min(left, SENT_AT_ONCE)))
            if not sent:
                raise ConnectionResetError("the file is shorter than the object that it holds")
            position, left = position + sent, left - sent
    await answer.write_eof()
    return answer


async def _send_file(transport: asyncio.Transport, file: BinaryIO, offset: int, count: int) -> int:
    """The number of bytes that were sent. Raises ConnectionResetError when the client has gone."""
    # This runs as a task, one turn of the loop after its caller looked.
    if transport.is_closing():
        raise ConnectionResetError("the client went away")
    return await asyncio.get_running_loop().sendfile(transport, file, offset, count)


async def _while_it_moves(http: BaseRequest, sending: Coroutine[Any, Any, Sent]) -> Sent:
    """Waits for the answer to be sent while the client reads. Raises ConnectionResetError once it does not."""
    transport = http.transport
    if transport is None:
        sending.close()
        raise ConnectionResetError("the client went away")
    sock = transport.get_extra_info("socket")
    task = asyncio.ensure_future(sending)
    try:
        taken = _acknowledged(sock)
        while not (await asyncio.wait([task], timeout=STALLED))[0]:
            before, taken = taken, _acknowledged(sock)
            if taken == before:
                raise ConnectionResetError("the client reads nothing")
        return task.result()
    finally:
        task.cancel()
        # What it sends from is closed next.
        await asyncio.gather(task, return_exceptions=True)


def _acknowledged(sock: socket.socket) -> int:
    """The number of a connection's bytes that the other end has (tcpi_bytes_acked of linux/tcp.h)."""
    found: int = struct.unpack_from("Q", sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 128), 120)[0]
    return found
