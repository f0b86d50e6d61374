"""Ports of this machine that are forwarded to a job's server, through the SSH connection that watches the job.

Every user of the machine can connect to them, and listen where they are not yet: they serve the command's own user, at
both addresses that `localhost` may mean, or there are none.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from skylift.client.errors import ConnectionLost, UsageError
from skylift.client.remote.connection import Connection
from skylift.client.remote.socket_owner import is_owner, listener_at, owners
from skylift.client.watcher import Watcher

_FORM = re.compile(r"(\d{1,5})(?::(\d{1,5}))?")
_PIECE = 1 << 18


@dataclass(frozen=True)
class Forward:
    """A port here and a port there. `local` is bound to loopback, so other machines cannot connect to it."""

    local: int
    remote: int


def read_forward(text: str) -> Forward:
    """`8888`, or `8888:80` for another port there. Raises UsageError."""
    found = _FORM.fullmatch(text)
    ports = [int(port) for port in found.groups(found[1])] if found else []
    if not ports or not all(0 < port < 65536 for port in ports):
        raise UsageError(f"--forward {text!r} is not a port.", "Write 8888, or 8888:80 for port 80 of the server.")
    return Forward(*ports)


class Forwards:
    """Forwarded ports. They stay open from `open` to `close`, also while SSH is down. Both may be repeated."""

    def __init__(self, wanted: Sequence[Forward]) -> None:
        self._wanted = wanted
        self._connection: Callable[[], Connection | None] = lambda: None
        self._servers: list[asyncio.Server] = []
        self._under_way: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Raises UsageError for a port that is not available here."""
        if self._servers:
            return
        try:
            for each in self._wanted:
                for address in loopback_addresses():
                    self._servers.append(await self._listen(each, address))
        except UsageError:
            await self.close()
            raise

    async def _listen(self, wanted: Forward, address: str) -> asyncio.Server:
        def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(self._serve(wanted.remote, reader, writer))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

        try:
            listener_at((address, wanted.local))  # where the kernel does not tell, nobody could be let in
            return await asyncio.start_server(serve, address, wanted.local)
        except OSError as error:
            why = os.strerror(error.errno) if error.errno else str(error)
            raise UsageError(
                f"--forward {wanted.local}: the port is not available on this machine: {why}.",
                f"Use another one: --forward PORT:{wanted.remote}",
            ) from None

    def connect_through(self, connection: Callable[[], Connection | None]) -> None:
        """`connection` is called for each client that connects. Without a connection, the client is disconnected."""
        self._connection = connection

    def tell(self, watcher: Watcher) -> None:
        for each in self._wanted:
            watcher.note(f"localhost:{each.local} is forwarded to port {each.remote} of the server.")

    async def _serve(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client. It is disconnected when it is another user's, or nothing listens on the server's port."""
        connection = self._connection()
        peer, here = writer.get_extra_info("peername"), writer.get_extra_info("sockname")
        try:
            if connection is not None and peer is not None and is_owner(peer[:2], here[:2], owners()):
                with suppress(ConnectionLost):
                    come, there = await connection.tunnel(port)
                    try:
                        await asyncio.gather(_pump(reader, there), _pump(come, writer))
                    finally:
                        there.close()
        finally:
            writer.close()

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        self._servers.clear()
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)


def loopback_addresses() -> list[str]:
    """Those of this machine, which may have no IPv6."""
    with suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return ["127.0.0.1", "::1"]
    return ["127.0.0.1"]


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Copy until the source ends, and then end the target. Either may break off."""
    with suppress(OSError):
        while data := await source.read(_PIECE):
            target.write(data)
            await target.drain()
    with suppress(OSError):
        target.write_eof()
