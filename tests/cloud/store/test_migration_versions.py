from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from skylift.cloud.bucket import Bucket, Extent, Upload
from skylift.cloud.network import Address, DhcpOptions, NetworkInterface, Vpc
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

NETWORK_ROWS = """
INSERT INTO cloud_facts VALUES ('123456789012', 'eu-west-3', 7, '127.0.0.1:4520', '[]', 0);
INSERT INTO vpcs (id, cidr, is_default, dns_support, dns_hostnames, dhcp_options_id, tags)
VALUES ('vpc-1', '10.0.0.0/16', 0, 1, 0, 'default', '{}');
INSERT INTO subnets VALUES ('subnet-1', 'vpc-1', '10.0.0.0/24', 'eu-west-3a', 0, 0, '{}');
INSERT INTO network_interfaces VALUES (
    'eni-1', 'vpc-1', 'subnet-1', '0a:00:00:00:00:01', '10.0.0.4', '[]', '2026-01-01T00:00:00+00:00', '127.7.1.1', 0,
    NULL, 0, 'ela-attach-1', 0, 0, '', '{}', 'nat_gateway'
);
INSERT INTO addresses VALUES ('eipalloc-1', '127.7.1.1', 'eipassoc-1', 'eni-1', '10.0.0.4', '{}');
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


def test_an_older_vpc_gets_the_options_that_it_had(tmp_path: Path) -> None:
    """And what was attached is, in the words of today."""
    path, before = tmp_path / "state.db", [script for script in SCRIPTS if script.name < "0009"]
    with closing(sqlite3.connect(path)) as old:
        for script in before:
            old.executescript(script.read_text())
        old.execute(f"PRAGMA user_version = {len(before)}")
        old.executescript(NETWORK_ROWS)
        old.commit()
    database = Database(path)
    try:
        with database.read() as tx:
            (options,) = tx.find(DhcpOptions)
            assert options.configurations["domain-name"] == ["eu-west-3.compute.internal"]
            vpc, address = tx.get(Vpc, id="vpc-1"), tx.get(Address, id="eipalloc-1")
            assert vpc is not None and vpc.dhcp_options_id == options.id
            assert address is not None and address.interface_id == "eni-1"
            interface = tx.get(NetworkInterface, id="eni-1")
            assert interface is not None
            assert (interface.attachment, interface.attached, interface.secondary) == (
                "attached",
                interface.created,
                (),
            )
    finally:
        database.close()
