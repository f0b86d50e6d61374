"""Pauses servers while their disks are copied, however many ask for it at the same time."""

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
"""Seconds between two tries to let a server go on."""


class Pausable(Protocol):
    """The part of compute's servers that this drives."""

    def running(self) -> dict[str, int]: ...
    def pause(self, server_id: str) -> None: ...
    def resume(self, server_id: str) -> None: ...


class Hold:
    """Pauses servers. One that several ask to pause goes on when the last of them is done."""

    def __init__(self, machines: Pausable) -> None:
        self._machines = machines
        self._lock = threading.Lock()
        self._held: Counter[str] = Counter()

    def runs(self, server_id: str) -> bool:
        return server_id in self._machines.running()

    @contextmanager
    def of(self, server_id: str) -> Iterator[None]:
        """Every process of the server stands still inside; one that has ended, or ends meanwhile, does so anyway."""
        with self._lock:
            if not self._held[server_id]:
                self._pause(server_id)
            self._held[server_id] += 1
        try:
            yield
        finally:
            with self._lock:
                self._held[server_id] -= 1
                if not self._held[server_id]:
                    del self._held[server_id]
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
        """As often as it takes: nobody else would let the server go on. What it stood still for is done by now."""
        try:
            self._machines.resume(server_id)
        except ComputeError as error:
            if self.runs(server_id):
                log.error("instance %s stands still: %s", server_id, error)
                timer = threading.Timer(PATIENCE, self._resume_again, (server_id,))
                timer.daemon = True
                timer.start()

    def _resume_again(self, server_id: str) -> None:
        with self._lock:
            if not self._held[server_id]:
                self._resume(server_id)
