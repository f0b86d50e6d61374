"""Bounds the open connections below the process's limit of descriptors, so that its own work has some left.

asyncio's way to accept does not bound them. Out of descriptors, it writes hundreds of tracebacks a second and keeps
everybody waiting.
"""

from __future__ import annotations

import errno
import logging
import os
import resource
import socket
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import cache

log = logging.getLogger("skylift.cloud.wire")

AT_A_TIME = 64
"""The most connections that are accepted before requests have their turn again."""
QUIET = 60.0
"""Seconds between two log lines about refused connections."""
REFUSAL = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
"""The system's errors for want of descriptors or memory, which pass."""


class ConnectionSlot:
    """A connection's place in the crowd, until it leaves."""

    def __init__(self, leave: Callable[[], None]) -> None:
        self._leave: Callable[[], None] | None = leave

    def leave(self) -> None:
        """The connection is closed. Any later call does nothing."""
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()


class ConnectionLimit:
    """At most `most` connections, half of them of one sender, so that no sender keeps all others out."""

    def __init__(self, most: int, now: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._now = now
        self._by: Counter[str] = Counter()
        self._refused = 0
        self._reported_at: float | None = None
        self._spare: int | None = _any_descriptor()

    def enter(self, who: str) -> ConnectionSlot | None:
        """A seat for a connection of this sender; None if none is left."""
        if self._by.total() >= self._most or self._by[who] >= max(1, self._most // 2):
            self._refuse(f"{self._by.total()} are open, {self._by[who]} of them of {who}, of {self._most} at most")
            return None
        self._by[who] += 1

        def leave() -> None:
            self._by[who] -= 1
            if not self._by[who]:
                del self._by[who]

        return ConnectionSlot(leave)

    def accept(self, listening: socket.socket) -> tuple[socket.socket, str] | None:
        """The next connection that waits and where it comes from; None where none waits, or none can be had."""
        try:
            connection, address = listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return None
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            self._turn_away(listening, error)
            return None
        connection.setblocking(False)
        return connection, str(address[0])

    def _turn_away(self, listening: socket.socket, error: OSError) -> None:
        """Our own work has used up the descriptors. Closes the spare one, to accept a connection and end it. If it were
        not accepted, it would wait for ever, and wake us again and again."""
        spare, self._spare = self._spare, None
        if spare is not None:
            os.close(spare)
        with suppress(OSError):
            refuse(listening.accept()[0])
        with suppress(OSError):
            # Another thread may have taken the descriptor. The next connection then tries again.
            self._spare = _any_descriptor()
        self._refuse(str(error.strerror))

    def _refuse(self, why: str) -> None:
        self._refused += 1
        now = self._now()
        if self._reported_at is None or now - self._reported_at >= QUIET:
            log.warning("%d connections were refused: %s", self._refused, why)
            self._refused, self._reported_at = 0, now


def refuse(connection: socket.socket) -> None:
    """Answers an HTTP client that it has to try again later, and closes the connection."""
    with connection, suppress(OSError):
        connection.setblocking(False)
        connection.send(REFUSAL)
        connection.shutdown(socket.SHUT_WR)


@cache
def all_connections() -> ConnectionLimit:
    """All connections of this process: half of the descriptors that it may have."""
    return ConnectionLimit(resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)


def _any_descriptor() -> int:
    return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
