"""Pauses servers while their disks are copied. Several copies of one server share a pause."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from skylift.cloud.compute.error import ComputeError

log = logging.getLogger(__name__)

PATIENCE = 1.0
"""Seconds between two attempts to resume a server."""


class Pausable(Protocol):
    """The part of compute's servers that a pause needs."""

    def running(self) -> dict[str, int]: ...
    def pause(self, server_id: str) -> None: ...
    def resume(self, server_id: str) -> None: ...


class ServerPauses:
    """Pauses servers. A server that several have paused goes on when the last of them is done."""

    def __init__(self, machines: Pausable) -> None:
        self._machines = machines
        self._lock = threading.Lock()
        self._asked: Counter[str] = Counter()

    def runs(self, server_id: str) -> bool:
        return server_id in self._machines.running()

    @contextmanager
    def paused(self, server_id: str) -> Iterator[None]:
        """The server's processes stand still inside the block. A server that is off, or ends inside, raises nothing."""
        with self._lock:
            if not self._asked[server_id]:
                self._pause(server_id)
            self._asked[server_id] += 1
        try:
            yield
        finally:
            with self._lock:
                self._asked[server_id] -= 1
                if not self._asked[server_id]:
                    del self._asked[server_id]
                    self._resume(server_id)

    def _pause(self, server_id: str) -> None:
        if not self.runs(server_id):
            return
        try:
            self._machines.pause(server_id)
        except ComputeError:
            if self.runs(server_id):
                raise

    def _resume(self, server_id: str) -> None:
        """Tries until it works: nothing else would let the server go on. The copy is done by now."""
        try:
            self._machines.resume(server_id)
        except ComputeError as error:
            if self.runs(server_id):
                log.error("instance %s stays paused: %s", server_id, error)
                timer = threading.Timer(PATIENCE, self._resume_again, (server_id,))
                timer.daemon = True
                timer.start()

    def _resume_again(self, server_id: str) -> None:
        with self._lock:
            if not self._asked[server_id]:
                self._resume(server_id)
