"""The bytes of objects: small ones in separate rows, the others in files next to the database.

A row is made and deleted by the commit that names it, so nothing has to be made durable before, and nothing is left
over after. The bytes are not in the object's row, because listings read these rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from skylift.cloud.domain.bucket import Extent, FileBody, ObjectVersion, Spool
from skylift.cloud.store.database import Database, Tx


def keep(tx: Tx, spool: Spool) -> tuple[Extent, ...]:
    """Keeps a body that has arrived. It is removed if the transaction fails. An empty body is stored nowhere."""
    if spool.size == 0:
        return ()
    if spool.data is not None:
        return (_add(tx, spool.data),)
    return _until_rollback(tx, tx.files.take(spool))


def share(tx: Tx, extents: tuple[Extent, ...], joined: Spool | None) -> tuple[Extent, ...]:
    """The same bytes for another object: another link to a file, or a copy of small content. Several small pieces are
    `joined` before: otherwise copies of copies would have ever more pieces, and take ever longer."""
    if joined is not None:
        return keep(tx, joined)
    files = _until_rollback(tx, tuple(tx.files.share(extent) for extent in extents if extent.row is None))
    return files or tuple(_add(tx, _bytes(tx, extent)) for extent in extents)


def discard(tx: Tx, extents: tuple[Extent, ...]) -> None:
    """Removes the bytes of a row that this transaction removes or replaces; files, once no reader can see the row."""
    _discard(tx, [(extent.file, extent.row) for extent in extents])


def discard_version(tx: Tx, found: ObjectVersion) -> None:
    """As `discard`, for a version that is about to be removed."""
    where = "WHERE bucket = ? AND key = ? AND sequence = ?"
    _discard(tx, _named(tx, "objects", where, found.bucket, found.key, found.sequence))


def discard_parts(tx: Tx, upload_id: str, which: str = "", *values: str) -> None:
    """As `discard`, for parts that are about to be removed: all of the upload's, or `which`."""
    _discard(tx, _named(tx, "parts", f"WHERE upload_id = ? {which}", upload_id, *values))


def read(tx: Tx, extents: Iterable[Extent]) -> Iterator[bytes]:
    """The bytes, in chunks of at most 1 MiB."""
    for extent in extents:
        if extent.row is None:
            yield from tx.files.read(extent)
        else:
            yield _bytes(tx, extent)


def body(tx: Tx, extents: tuple[Extent, ...]) -> FileBody:
    """The bytes of an object to send. They stay readable, whatever happens to the object after this transaction."""
    return tx.files.body(tuple(extent if extent.row is None else _bytes(tx, extent) for extent in extents))


def sweep_files(database: Database) -> int:
    """At start, before the first request: remove files that no row names; returns how many."""
    with database.read() as tx:
        kept = {
            row[0]
            for owner in ("objects", "parts")
            for row in tx.execute(
                f"SELECT json_extract(value, '$.file') FROM {owner}, json_each({owner}.extents)"  # noqa: S608
            )
        }
        return tx.files.sweep(kept)


def _named(tx: Tx, owner: str, where: str, *values: str | int) -> list[tuple[str, int | None]]:
    """The files and rows of extents. SQLite reads them: there may be ten thousand, and other writers wait."""
    rows = f"(SELECT extents FROM {owner} {where})"  # noqa: S608 - ours
    named = "json_extract(value, '$.file'), json_extract(value, '$.row')"
    return tx.execute(f"SELECT {named} FROM {rows}, json_each(extents)", *values).fetchall()  # noqa: S608 - ours


def _discard(tx: Tx, named: Iterable[tuple[str, int | None]]) -> None:
    rows = [row for _, row in named if row is not None]
    if rows:
        tx.execute("DELETE FROM small_bodies WHERE id IN (SELECT value FROM json_each(?))", json.dumps(rows))
    files = [file for file, row in named if row is None]
    if files:
        tx.when_unseen(lambda: tx.files.unlink(files))


def _add(tx: Tx, data: bytes) -> Extent:
    number = tx.execute("INSERT INTO small_bodies (data) VALUES (?)", data).lastrowid
    return Extent("", 0, len(data), number)


def _bytes(tx: Tx, extent: Extent) -> bytes:
    found = tx.execute("SELECT data FROM small_bodies WHERE id = ?", extent.row).fetchone()
    if found is None:
        raise LookupError(f"there is no small body {extent.row}")
    data: bytes = found[0]
    return data[extent.offset : extent.offset + extent.length]


def _until_rollback(tx: Tx, extents: tuple[Extent, ...]) -> tuple[Extent, ...]:
    if extents:
        tx.after_rollback(lambda: tx.files.unlink([extent.file for extent in extents]))
    return extents
