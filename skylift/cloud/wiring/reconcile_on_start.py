"""At start: finds the servers that ended while no cloud ran, and ends what they are billed for."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from skylift.cloud.domain.instance import Instance
from skylift.cloud.loops.ec2.instance import as_ended
from skylift.cloud.state.data import Data
from skylift.cloud.state.durable import replace_file
from skylift.cloud.store.database import Database, Tx
from skylift.cloud.store.usage import end_at, open_instances


class Ends(Protocol):
    """The part of compute's servers that knows which there are, and of the others when they ended."""

    def running(self) -> dict[str, int]: ...
    def has_ended(self, server_id: str) -> bool: ...
    def exit_code(self, server_id: str) -> int | None: ...
    def ended_at(self, server_id: str) -> datetime | None: ...


def this_boot() -> bytes:
    """Another one after each boot of the machine, and in each container: when its first process began (proc(5))."""
    began = Path("/proc/1/stat").read_text().rpartition(")")[2].split()[19]
    return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {began}".encode()


def machine_went_off(data: Data, boot: bytes) -> bool:
    """Whether the machine has booted since the last cloud here was up, and that cloud was not taken down before."""
    return not data.down_mark.exists() and data.boot.exists() and data.boot.read_bytes() != boot


def keep_boot(data: Data, boot: bytes) -> None:
    replace_file(data.boot, boot, 0o600)


def note_ended_servers(database: Database, servers: Ends, data: Data, *, went_off: bool = False) -> None:
    """Runs before the first answer, so that no answer shows an ended server as running.

    It is shown as ending: StartInstances on a running server does nothing, so the request would be lost.

    Those that ran when the machine `went_off` start again, as after a reboot."""
    with database.write() as tx:
        for row in tx.find(Instance, state="running"):
            code = servers.exit_code(row.id)
            if went_off and code is None and servers.has_ended(row.id):
                tx.save(replace(row, rebooting=True))
                continue
            ending = as_ended(row, code) if servers.has_ended(row.id) else row
            if ending != row:
                # First: with its state, the database itself ends what it costs, now.
                _end(tx, row.id, servers, data)
                tx.save(ending)


def account_for_ended_servers(database: Database, servers: Ends, data: Data) -> None:
    """Usage ends when a server ended, so that time when the cloud or its machine was off is not billed.

    If a server's end was not seen, it is the moment at which the cloud was taken down, or last known to run: too early
    rather than too late, for a cloud that was killed long before its machine was switched off.
    """
    alive = servers.running()
    with database.write() as tx:
        for usage in open_instances(tx):
            if usage.resource_id not in alive:
                _end(tx, usage.resource_id, servers, data)


def _end(tx: Tx, server_id: str, servers: Ends, data: Data) -> None:
    end_at(tx, server_id, servers.ended_at(server_id) or last_seen(data) or tx.now)


def keep_last_seen(data: Data) -> None:
    """Before the mark of `cloud down` goes: what it says is needed until servers are accounted for, which a later
    process does, should this one be cut off."""
    last = last_seen(data)
    if last is not None:
        data.seen.touch()
        os.utime(data.seen, (last.timestamp(), last.timestamp()))


def last_seen(data: Data) -> datetime | None:
    times = [_changed(path) for path in (data.seen, data.down_mark)]
    return max((one for one in times if one is not None), default=None)


def _changed(path: Path) -> datetime | None:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except FileNotFoundError:
        return None
