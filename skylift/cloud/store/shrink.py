"""Pages of the database that deleted rows have left go back to the file system, a few at a time."""

from __future__ import annotations

from skylift.cloud.store.database import Database

KEPT = 4096
"""Free pages (of 4 KiB) that are kept, so that the next write need not make the file longer."""
AT_ONCE = 256
"""Pages that one transaction frees: it holds up other writers for milliseconds, and its log has room on a full disk."""
MOST = 64
"""Transactions in one run: 64 MiB."""


def shrink(database: Database) -> int:
    """Returns for how many pages it asked. An older database, made without `auto_vacuum`, uses them again only."""
    given = 0
    for _ in range(MOST):
        with database.read() as tx:
            free: int = tx.execute("PRAGMA freelist_count").fetchone()[0]
            can: bool = tx.execute("PRAGMA auto_vacuum").fetchone()[0] > 0
        if free <= KEPT or not can:
            break
        count = min(AT_ONCE, free - KEPT)
        with database.write() as tx:
            for _ in range(count):
                # One each: a page is a step of this statement, and Python takes only the first of one without columns.
                tx.execute("PRAGMA incremental_vacuum(1)")
        given += count
    return given
