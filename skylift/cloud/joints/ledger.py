"""What a cloud that starts has to put right in its ledger: servers that ended while it was not there."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from skylift.cloud.data import Data
from skylift.cloud.store.database import Database
from skylift.cloud.store.usage import end_at, open_instances


class Ends(Protocol):
    """The part of compute's servers that knows which there are, and of the others when they ended."""

    def running(self) -> dict[str, int]: ...
    def ended_at(self, server_id: str) -> datetime | None: ...


def account_for_the_gone(database: Database, servers: Ends, data: Data) -> None:
    """Nobody pays for the weekend over which a cloud was down, or its machine off.

    Where nobody saw a server's end, it is the moment at which the cloud was taken down, or last known to run: too early
    rather than too late, for a cloud that was killed long before its machine was switched off.
    """
    alive = servers.running()
    with database.write() as tx:
        for usage in open_instances(tx):
            if usage.resource_id not in alive:
                last = servers.ended_at(usage.resource_id) or last_seen(data) or tx.now
                end_at(tx, usage.resource_id, last)


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
