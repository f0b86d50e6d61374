"""Where dedicated hosts are kept, and who is on one."""

from __future__ import annotations

from skylift.cloud.domain.dedicated_host import DedicatedHost
from skylift.cloud.domain.instance import Instance
from skylift.cloud.store.database import Tx
from skylift.cloud.store.mapping import table
from skylift.cloud.store.usage import follow_host

table(DedicatedHost, "dedicated_hosts", key=("id",), follow=follow_host)


def on_host(tx: Tx, host_id: str) -> list[Instance]:
    """The instances that take room on a host; those that are off take none."""
    return tx.select(Instance, "WHERE host_id = ? AND state NOT IN ('stopped', 'terminated') ORDER BY rowid", host_id)
