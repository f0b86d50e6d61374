"""Where the nouns of disks are kept, and the questions about them that need SQL."""

from __future__ import annotations

from skylift.cloud.domain.volume import Snapshot, Volume
from skylift.cloud.store.database import Tx
from skylift.cloud.store.mapping import table
from skylift.cloud.store.usage import follow_volume

table(Volume, "volumes", key=("id",), follow=follow_volume)
table(Snapshot, "snapshots", key=("id",))


def unsettled_volumes(tx: Tx) -> list[Volume]:
    """The volumes that need work."""
    return tx.select(
        Volume,
        "WHERE state IN ('creating', 'deleting') OR attachment IN ('attaching', 'detaching', 'busy') "
        "OR json_extract(modification, '$.state') = 'modifying' ORDER BY rowid",
    )


def volume_files(tx: Tx) -> set[str]:
    """Ids of the volumes that have, or are about to have, a file."""
    return {row[0] for row in tx.execute("SELECT id FROM volumes")}


def snapshot_files(tx: Tx) -> set[str]:
    """Ids of the snapshots whose file is needed, also because volumes and copies are still to be made of it."""
    return {
        row[0]
        for row in tx.execute(
            "SELECT id FROM snapshots UNION SELECT source_id FROM snapshots WHERE state = 'pending' "
            "UNION SELECT snapshot_id FROM volumes WHERE state = 'creating'"
        )
    }
