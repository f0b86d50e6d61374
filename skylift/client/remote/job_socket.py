"""A supervisor's socket, as a client speaks to it: orders there, frames back."""

from __future__ import annotations

import asyncio
import json
import struct

from skylift.client.errors import ConnectionLost
from skylift.client.remote.connection import Frame, Kind
from skylift.contract.status import STATUS_LIMIT
from skylift.contract.usage import USAGE_LIMIT

HANDING_OVER = 20.0
"""Seconds for a server to hand over from one job to the next, and for the next job's socket to exist."""
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


async def read_frame(reader: asyncio.StreamReader) -> Frame | None:
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
