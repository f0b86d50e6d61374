"""The order of things: what happens to a request between the HTTP server and the services."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar
from weakref import WeakValueDictionary

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.wire.call import Request, Response
from skylift.cloud.wire.connection_limit import NO_ROOM
from skylift.cloud.wire.exchange import Exchange, Parts
from skylift.cloud.wire.plain import plain_answer
from skylift.cloud.wire.transition_wait import PATIENCE

log = logging.getLogger("skylift.cloud.wire")

SMALL = 64 * 1024
MOST_HELD = 256 << 20
"""Bytes of one sender's bodies that are in memory at a time."""
MOST_OF_ALL = 1 << 30
"""Bytes of all bodies that are in memory at a time."""
Result = TypeVar("Result")


class Disconnected(Exception):
    """The client disconnected before its request was complete."""


class Body(Protocol):
    """A request's body as the server hands it over. Reading it is what asks an expecting client to send it."""

    length: int | None
    """Content-Length; None if the body comes in HTTP chunks."""

    def pieces(self, came: Callable[[int], None]) -> AsyncIterator[bytes]:
        """The body in pieces of about a MiB. `came` is called with the number of bytes of each part of a piece, and may
        raise. ServiceError when it stops coming, Disconnected when the client left."""
        ...


class Sender:
    """Limits what one sender's requests use: `turns` in workers at a time, and memory for their bodies.

    No sender takes more memory than it leaves free, so that there is always some for the next sender."""

    def __init__(self, turns: int, everyone: Sender | None = None) -> None:
        self.turns = asyncio.Semaphore(turns)
        self._everyone = everyone or self
        self._held = 0

    @contextmanager
    def body(self) -> Iterator[Callable[[int], None]]:
        """Yields a function to call with the number of bytes that have come, or with a negative number for bytes that
        have left memory. It raises ServiceError if the sender's bodies, or all senders', take too much together."""
        held = 0

        def hold(count: int) -> None:
            nonlocal held
            held += count
            self._held += count
            self._everyone._held += count
            if count > 0 and self._held > min(MOST_HELD, MOST_OF_ALL - self._everyone._held):
                raise _overload()

        try:
            yield hold
        finally:
            self._held -= held
            self._everyone._held -= held


class Pipeline:
    """Answers requests. Steps that may block run in `workers`, so that a slow one holds up no other connection; at most
    `of_sender` of each sender's at a time, so that slow ones hold up no other sender either."""

    def __init__(self, parts: Parts, workers: Executor, of_sender: int) -> None:
        self._parts = parts
        self._workers = workers
        self._of_sender = of_sender
        self._everyone = Sender(of_sender)
        self._senders: WeakValueDictionary[str, Sender] = WeakValueDictionary()

    async def answer(self, request: Request, body: Body) -> Response:
        plain = plain_answer(request)
        if plain is not None:
            return plain
        sender = self._senders.setdefault(request.sender, Sender(self._of_sender, self._everyone))
        exchange = Exchange(self._parts, request)
        exchange.turns = sender.turns
        with sender.body() as hold:
            response = await self._answer(exchange, request, body, hold)
        if request.header("origin") and request.method != "OPTIONS":
            return await self._run(exchange, exchange.share, response)
        return response

    async def _answer(self, exchange: Exchange, request: Request, body: Body, hold: Callable[[int], None]) -> Response:
        try:
            if request.method == "OPTIONS":
                return await self._run(exchange, exchange.preflight)
            if body.length is not None and body.length <= SMALL:
                # Also where the client waits for a go-ahead: nothing is saved by refusing so little before it is sent.
                small = b"".join([piece async for piece in body.pieces(hold)])
                return await self._settled(exchange, await self._run(exchange, _whole, exchange, small))
            await self._run(exchange, exchange.admit)
            await self._receive(exchange, body, hold)
            return await self._run(exchange, exchange.answer)
        except ServiceError as error:
            return exchange.refuse(error)
        except Disconnected:
            raise
        except Exception as error:
            # The one boundary: a fault in any room ends this request, never the server.
            if isinstance(error, OSError) and error.errno in NO_ROOM:
                log.warning("%s has to wait: %s", exchange.request_id, error)
                return exchange.refuse(_overload())
            log.exception("%s failed: %s %s", exchange.request_id, request.method, request.path)
            return exchange.refuse(_fault(exchange.request_id))
        finally:
            exchange.discard()

    async def _settled(self, exchange: Exchange, response: Response) -> Response:
        """An answer that shows something on its way waits for it, for a moment; see transition_wait.py."""
        settling = self._parts.settling
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while settling is not None and exchange.unsettled and await settling.change(exchange.seen, deadline):
            response = await self._run(exchange, exchange.again)
        return response

    async def _receive(self, exchange: Exchange, body: Body, hold: Callable[[int], None]) -> None:
        """Feed the body piece by piece, reading the next one while the last is hashed and written."""
        feeding: asyncio.Task[None] | None = None
        written = 0
        try:
            async for piece in body.pieces(hold):
                if feeding is not None:
                    await feeding
                    hold(-written)
                written = 0 if exchange.keeps_body else len(piece)
                feeding = asyncio.create_task(self._run(exchange, exchange.feed, piece))
        finally:
            if feeding is not None:
                await feeding

    async def _run(self, exchange: Exchange, step: Callable[..., Result], *arguments: Any) -> Result:
        """Run a step in a worker. A cancelled one is waited for all the same: it holds the body's file."""
        async with exchange.turns:
            running = asyncio.get_running_loop().run_in_executor(self._workers, step, *arguments)
            try:
                return await asyncio.shield(running)
            except asyncio.CancelledError:
                await asyncio.wait([running])
                raise


def _whole(exchange: Exchange, body: bytes) -> Response:
    """All steps of a request with a small body, in one visit to a worker."""
    exchange.admit()
    exchange.feed(body)
    return exchange.answer()


def _overload() -> ServiceError:
    """No descriptors or no memory are left. Nothing was changed, and clients retry."""
    return ServiceError("ServiceUnavailable", "The server is overloaded and can't handle the request.", status=503)


def _fault(request_id: str) -> ServiceError:
    return ServiceError(
        "InternalError",
        f"An internal error has occurred; the cloud's log has the details under {request_id}.",
        status=500,
    )
