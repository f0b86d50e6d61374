"""Where the keys of EC2 Instance Connect are kept while they are good."""

from __future__ import annotations

from skylift.cloud.domain.connect import SessionKey
from skylift.cloud.store.database import Tx
from skylift.cloud.store.mapping import table, to_column

table(SessionKey, "session_keys", key=("instance_id", "os_user", "public_key"))


def current_keys(tx: Tx, instance_id: str) -> list[SessionKey]:
    """The keys that still open the server, in the order they were sent."""
    return tx.select(SessionKey, "WHERE instance_id = ? AND expires > ? ORDER BY rowid", instance_id, to_column(tx.now))


def forget_expired(tx: Tx) -> None:
    tx.forget(SessionKey, "expires <= ?", to_column(tx.now))
