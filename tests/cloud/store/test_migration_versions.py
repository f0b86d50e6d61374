from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from skylift.cloud.bucket import Bucket, Extent, Upload
from skylift.cloud.store.bucket import latest, list_objects
from skylift.cloud.store.database import MIGRATIONS, Database

SCRIPTS = sorted(MIGRATIONS.glob("*.sql"))
BEFORE = [script for script in SCRIPTS if script.name < "0006"]

ROWS = """
INSERT INTO buckets (name, region, created, owner, tags)
VALUES ('bucket', 'us-east-1', '2026-01-01T00:00:00+00:00', '123456789012', '{}');

INSERT INTO objects VALUES (
    'bucket', 'key', 4, 'etag', '2026-01-02T03:04:05.678000+00:00', '[{"file":"f","offset":0,"length":4}]',
    'text/csv', '{}', '{}', '{}', 'FULL_OBJECT', '[]'
);

INSERT INTO uploads VALUES (
    'id', 'bucket', 'big', '2026-01-01T00:00:00+00:00', 'arn', 'text/csv', '{}', '{}', NULL, 'FULL_OBJECT'
);
"""


def test_objects_of_an_older_state_are_their_own_null_version(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with closing(sqlite3.connect(path)) as old:
        for script in BEFORE:
            old.executescript(script.read_text())
        old.execute(f"PRAGMA user_version = {len(BEFORE)}")
        old.executescript(ROWS)
        old.commit()
    database = Database(path)
    try:
        with database.read() as tx:
            found = latest(tx, "bucket", "key")
            assert found is not None
            assert (found.version, found.latest, found.delete_marker, found.tags) == ("null", True, False, {})
            assert (found.extents, found.size) == ((Extent("f", 0, 4),), 4)
            assert found.sequence == 1_767_323_045_000_000
            page = list_objects(tx, "bucket", prefix="", delimiter="", after="", limit=10)
            assert [item.key for item in page.items if not isinstance(item, str)] == ["key"]
            bucket = tx.get(Bucket, name="bucket")
            assert bucket is not None
            assert bucket == Bucket("bucket", "us-east-1", bucket.created, "123456789012")
            upload = tx.get(Upload, id="id")
            assert upload is not None and upload.tags == {}
    finally:
        database.close()
