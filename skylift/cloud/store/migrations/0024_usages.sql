-- What ran, and from when to when: the bill is drawn up from it. What is there counts from when it is known to be.
CREATE TABLE usages (
    number INTEGER PRIMARY KEY,
    resource_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    began TEXT NOT NULL,
    started TEXT NOT NULL,
    ended TEXT,
    type TEXT NOT NULL,
    zone TEXT NOT NULL,
    quantity INTEGER NOT NULL,
    iops INTEGER,
    throughput INTEGER,
    market TEXT NOT NULL,
    tenancy TEXT NOT NULL,
    host_id TEXT,
    instance_id TEXT,
    reason TEXT NOT NULL,
    tags TEXT NOT NULL
) STRICT;

CREATE UNIQUE INDEX usages_open ON usages (resource_id) WHERE ended IS NULL;
CREATE INDEX usages_by_end ON usages (ended);

INSERT INTO usages (
    resource_id, kind, began, started, type, zone, quantity, market, tenancy, instance_id, reason, tags
)
SELECT id, 'instance', launched, launched, type, zone, 1, 'on-demand', 'default', id, '', tags
FROM instances WHERE state = 'running';

INSERT INTO usages (
    resource_id, kind, began, started, type, zone, quantity, iops, throughput, market, tenancy, instance_id, reason, tags
)
SELECT
    id, 'volume', created, created, type, zone, size_gib, iops, throughput, 'on-demand', 'default', instance_id, '', tags
FROM volumes WHERE state NOT IN ('deleting', 'error');

INSERT INTO usages (
    resource_id, kind, began, started, type, zone, quantity, market, tenancy, instance_id, reason, tags
)
SELECT
    addresses.id, 'address', strftime('%Y-%m-%dT%H:%M:%S+00:00', 'now'), strftime('%Y-%m-%dT%H:%M:%S+00:00', 'now'),
    '', '', 1, 'on-demand', 'default', network_interfaces.instance_id, '', addresses.tags
FROM addresses LEFT JOIN network_interfaces ON network_interfaces.id = addresses.interface_id;

INSERT INTO usages (
    resource_id, kind, began, started, type, zone, quantity, market, tenancy, instance_id, reason, tags
)
SELECT
    id, 'address', strftime('%Y-%m-%dT%H:%M:%S+00:00', 'now'), strftime('%Y-%m-%dT%H:%M:%S+00:00', 'now'),
    '', '', 1, 'on-demand', 'default', instance_id, '', tags
FROM network_interfaces WHERE public_ip IS NOT NULL AND public_ip NOT IN (SELECT public_ip FROM addresses);
