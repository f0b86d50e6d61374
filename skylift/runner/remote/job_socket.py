"""A supervisor's socket, as a client speaks to it: orders there, frames back. How it is reached is each connection's
own (`ssh.py`, `openssh.py`)."""

from __future__ import annotations

import asyncio
import json
import struct
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractContextManager, aclosing
from typing import Any

from skylift.runner.errors import ConnectionLost
from skylift.runner.job.server_record import STATUS_LIMIT, USAGE_LIMIT
from skylift.runner.remote.connection import Frame, Kind

HANDING_OVER = 20.0
"""Seconds for a server to hand over from one job to the next, and for the next job's socket to exist."""
WINDOW = 8 << 20
"""Bytes that the server may send before we acknowledge them. asyncssh's default of 2 MiB limits a stream over a long
line."""

GOING_ON = b"n\0\0\0\0"
"""The frame by which a kept server's supervisor answers the order to go on with the next job."""

_KINDS: dict[bytes, Kind] = {
    b"o": "stdout",
    b"e": "stderr",
    b"s": "status",
    b"c": "cut",
    b"b": "begin",
    b"g": "gauge",
    b"u": "usage",
}
_LIMITS: dict[str, int] = {
    "stdout": 4 << 20,
    "stderr": 4 << 20,
    "status": STATUS_LIMIT,
    "cut": 4096,
    "begin": 4096,
    "gauge": 4096,
    "usage": USAGE_LIMIT,
}
"""The most bytes of one frame. A supervisor sends output in pieces of 256 KiB."""
_ANSWERING = 10.0
"""Seconds in which a supervisor must send its first measurement. It has one at once."""
_SILENT = "Its supervisor does not tell what is used: the job may have been started by an earlier skylift."


class JobSocket(ABC):
    """What every Connection does with a supervisor's socket."""

    _writer: Any = None

    @abstractmethod
    async def _open_socket(self) -> tuple[Any, Any]:
        """Streams to the socket of this connection's job."""

    @abstractmethod
    def _translated(self) -> AbstractContextManager[None]:
        """What is raised within is a ConnectionLost."""

    def watch(self, stdout: int, stderr: int, **how: object) -> AsyncIterator[Frame]:
        return self._frames(stream={"stdout": stdout, "stderr": stderr}, **how)

    async def measure(self, every: float, times: int = 0) -> AsyncIterator[Frame]:
        async with aclosing(self._frames(usage=every, times=times)) as frames:
            try:
                yield await asyncio.wait_for(anext(frames), _ANSWERING)
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise ConnectionLost(_SILENT) from None
            async for frame in frames:
                yield frame

    async def _frames(self, **order: object) -> AsyncGenerator[Frame, None]:
        with self._translated():
            reader, self._writer = await self._open_socket()
            self._writer.write(encode_order(**order))
            try:
                while (frame := await read_frame(reader)) is not None:
                    yield frame
            finally:
                writer, self._writer = self._writer, None
                self._hang_up(writer)

    def _hang_up(self, writer: Any) -> None:
        writer.close()

    def send(self, **order: object) -> bool:
        if self._writer is None:
            return False
        with self._translated():
            self._writer.write(encode_order(**order))
        return True


async def read_frame(reader: Any) -> Frame | None:
    """None when the socket has been closed. Raises IncompleteReadError when that was in the middle of a frame."""
    try:
        header = await reader.readexactly(5)
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None
    letter, length = struct.unpack(">cI", header)
    kind = _KINDS.get(letter)
    if kind is None or length > _LIMITS[kind]:
        raise ConnectionLost(f"The server sent {length} bytes of an unknown kind, or too many of one.")
    return Frame(kind, await reader.readexactly(length))


def encode_order(**order: object) -> bytes:
    return json.dumps(order).encode() + b"\n"
