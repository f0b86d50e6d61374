"""Machines that are dictionary entries, and end when told to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from support.plain_instance import LAUNCHED

from skylift.cloud.compute.server.oci import ServerPlan
from skylift.cloud.compute.server.rootfs import SeedFile
from skylift.cloud.compute.server.server import EXIT_POWEROFF, RuntimeRefused, Status
from skylift.cloud.domain.instance import Console


class FakeMachines:
    """Servers as a table: id -> running. What was done is kept as a list of words."""

    def __init__(self) -> None:
        self.table: dict[str, bool] = {}
        self.disks: set[str] = set()
        self.exits: dict[str, int] = {}
        self.done: list[str] = []
        self.refuses: set[str] = set()
        self.deaf = False
        self.made: set[str] = set()
        """Those that a killed process had made and not yet started."""
        self.looks = 0
        """How often all of them were looked at, which takes the longer the more there are."""
        self.held: set[str] = set()
        """Those that a killed process had made stand still."""
        self.adopting = threading.Barrier(1)
        """Whom all wait for that are being adopted."""
        self.ended: Callable[[str, int | None], None] = lambda *_: None
        self.on_adopt: Callable[[], None] = lambda: None

    def create(self, plan: ServerPlan, seed: Iterable[SeedFile]) -> int:
        self._do("create", plan.id)
        self.table[plan.id] = False
        return 1

    def start(self, server_id: str) -> None:
        self._do("start", server_id)
        self.table[server_id] = True

    def running(self) -> dict[str, int]:
        self.looks += 1
        return {server_id: 1 for server_id, alive in self.table.items() if alive}

    def statuses(self) -> dict[str, Status]:
        alive: dict[str, Status] = dict.fromkeys(self.running(), "running")
        return alive | dict.fromkeys(self.made, "created") | dict.fromkeys(self.held, "paused")

    def known(self) -> set[str]:
        return set(self.table)

    def with_disks(self) -> set[str]:
        return set(self.disks)

    def adopt(self, server_id: str) -> None:
        self.adopting.wait()
        self._do("adopt", server_id)
        self.on_adopt()

    def resume(self, server_id: str) -> None:
        self._do("resume", server_id)

    def exit_code(self, server_id: str) -> int | None:
        return self.exits.get(server_id)

    def request_shutdown(self, server_id: str) -> None:
        self._do("request_shutdown", server_id)
        if not self.deaf:
            self.end(server_id, EXIT_POWEROFF)

    def kill(self, server_id: str) -> None:
        self._do("kill", server_id)
        self.end(server_id, 137)

    def clear(self, server_id: str) -> None:
        self._do("clear", server_id)
        self.table.pop(server_id, None)

    def destroy(self, server_id: str) -> None:
        self._do("destroy", server_id)
        self.table.pop(server_id, None)
        self.disks.discard(server_id)

    def console(self, server_id: str) -> Console | None:
        return Console(server_id, "last words", LAUNCHED)

    def end(self, server_id: str, code: int | None) -> None:
        self.table[server_id] = False
        self.ended(server_id, code)

    def _do(self, what: str, server_id: str) -> None:
        self.done.append(what)
        if what in self.refuses:
            raise RuntimeRefused(f"{what} {server_id}: no")
