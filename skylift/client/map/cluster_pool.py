"""A Pool of the coordinator on several servers.

The coordinator's own server runs inputs as a map on one server does. The others get theirs by Dask (dask_servers.py),
whose environment, import and start take longest of all: they begin when the first other server is wanted, and inputs
run meanwhile. scaling.py decides how many other servers there are.
"""

from __future__ import annotations

import errno
import queue
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from skylift.client.map.dask_import import NoDask
from skylift.client.map.thread_pool import ThreadPool, take_all
from skylift.contract.map_progress import ServerProgress

if TYPE_CHECKING:
    from skylift.client.map.dask_servers import DaskServers

PORTS = (8786, *range(8790, 8800))
"""Where other servers find the scheduler, in this order: on what is free. See launch/job_group.py for who may come."""
_NONE = -1
"""The number of no task."""


class ClusterPool(ThreadPool):
    """`address` is this server's in its network, `identities` are those of the scheduler and of workers. `import_dask`
    makes that Dask can be imported, or raises NoDask. Where Dask cannot be started, all inputs run on this server."""

    def __init__(
        self,
        path: str,
        instance: str,
        slots: int,
        address: str,
        identities: dict[str, Any],
        import_dask: Callable[[], object] = lambda: None,
        ports: Sequence[int] = PORTS,
    ) -> None:
        super().__init__(path, instance, slots)
        self._where, self._import_dask = (address, identities), import_dask
        self._reserved: socket.socket | None = None
        self._others: DaskServers | None = None
        self._failure, self._told = "", False
        self._requests: dict[int, dict[str, Any]] = {}
        self._waiting: deque[int] = deque()
        self._ended_there: queue.SimpleQueue[int] = queue.SimpleQueue()
        try:
            # Before the first input runs, which may listen on any port.
            self._reserved = reserve(address, ports)
        except OSError as error:
            self._failure = str(error)

    def begin(self) -> None:
        """Have Dask started, unless that was begun: for another server that is wanted."""
        if self._reserved is not None:
            args = (*self._where, self._reserved)
            self._reserved = None
            threading.Thread(target=self._start, args=args, name="dask", daemon=True).start()

    def _start(self, address: str, identities: dict[str, Any], reserved: socket.socket) -> None:
        try:
            self._import_dask()
            from skylift.client.map.dask_servers import DaskServers  # noqa: PLC0415 (inputs need not wait for it)

            self._others = DaskServers(address, identities, reserved, self._tell)
        except NoDask as error:
            self._failure = str(error)
        except Exception as error:  # noqa: BLE001 (whatever it is, the inputs can run here)
            self._failure = f"{type(error).__name__}: {error}"
        finally:
            reserved.close()

    def _tell(self, number: int) -> None:
        self._ended_there.put(number)
        # Wakes who waits.
        self._ended.put((_NONE, None))

    @property
    def address(self) -> str:
        """The address at which workers find the scheduler; empty as long as there is none."""
        return self._others.address if self._others is not None else ""

    @property
    def failed(self) -> bool:
        """Whether no other server can ever be taken."""
        return bool(self._failure)

    @property
    def slots(self) -> int:
        """The slots of the servers that take inputs now."""
        return self._slots + (self._others.slots if self._others is not None else 0)

    @property
    def slots_of_one(self) -> int:
        return self._slots

    def submit(self, number: int, request: dict[str, Any]) -> None:
        if self._others is None or len(self._running) < self._slots:
            super().submit(number, request)
            return
        self._requests[number] = request
        self._others.submit(number, request)

    def ended(self, timeout: float) -> list[tuple[int, list[Any] | None]]:
        if self._failure and not self._told:
            self._told = True
            sys.stderr.write(f"Dask cannot be started, so all inputs run on this one server: {self._failure}\n")
        self._take_back()
        here = [each for each in self._take_here(timeout) if each[0] != _NONE]
        for number, outcomes in here:
            self._note_end(number, outcomes)
        if self._others is None:
            return here
        there = self._others.collect(take_all(self._ended_there, 0))
        for number, _ in there:
            del self._requests[number]
        return here + there

    def _take_back(self) -> None:
        """A task that was handed out when the last other server was lost would wait for the next one: it runs here."""
        if self._others is not None and self._others.has_tasks and not self._others.slots:
            self._waiting += self._others.take_back()
        while self._waiting and len(self._running) < self._slots:
            number = self._waiting.popleft()
            super().submit(number, self._requests.pop(number))

    def others(self) -> dict[str, bool]:
        """The other servers that have registered, and whether each has something to do."""
        return self._others.others() if self._others is not None else {}

    def leaving(self) -> set[str]:
        """The other servers that take nothing more."""
        return self._others.leaving() if self._others is not None else set()

    def pause(self, instance: str) -> bool:
        """Hand that server nothing more. Returns whether it has nothing to do, and may be ended."""
        return self._others is None or self._others.pause(instance)

    def drop(self, instance: str) -> None:
        """Count a server as lost, whether or not its worker has reported it."""
        if self._others is not None:
            self._others.drop(instance)

    def servers(self) -> Sequence[ServerProgress]:
        return [*super().servers(), *(self._others.servers() if self._others is not None else ())]

    def close(self) -> None:
        """Only a process that goes on needs this."""
        if self._reserved is not None:
            self._reserved.close()
        if self._others is not None:
            self._others.close()


def reserve(address: str, ports: Sequence[int]) -> socket.socket:
    """Listen on the first of these ports that is free, so that nobody else does. Raises OSError."""
    for port in ports:
        found = socket.socket()
        try:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind((address, port))
            found.listen()
            return found
        except OSError as error:
            found.close()
            if error.errno != errno.EADDRINUSE:
                raise
    raise OSError(errno.EADDRINUSE, f"Something listens on all of the ports {', '.join(map(str, ports))}")
