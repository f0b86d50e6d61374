"""Bodies of answers that are being sent."""

from __future__ import annotations

import gc
from pathlib import Path

from skylift.cloud.domain.bucket import Extent
from skylift.cloud.store import content
from skylift.cloud.store.database import Database
from skylift.cloud.wire.files import MOST_OPEN, FileSlice, OpenBody


def test_an_object_of_many_parts_is_sent_to_its_end_although_it_is_deleted(tmp_path: Path) -> None:
    database = Database(tmp_path / "state.db")
    objects = tmp_path / "objects"
    objects.mkdir()
    parts = tuple(Extent(f"{number:032x}", 0, 1) for number in range(MOST_OPEN + 2))
    for part in parts:
        (objects / part.file).write_bytes(b"x")
    with database.read() as tx:
        # Nobody but what is being sent has the body any more, as when the answer has been encoded.
        sent = OpenBody(objects, content.body(tx, parts))
    with database.write() as tx:
        content.discard(tx, parts)
    gc.collect()
    assert [piece.length for piece in sent.pieces() if isinstance(piece, FileSlice)] == [1] * len(parts)
    sent.close()
    del sent
    gc.collect()
    # Another thread removes what was deleted while it was sent.
    database.close()
    assert list(objects.iterdir()) == []
