-- Dedicated hosts, and where instances are to run: on hardware that is shared, the account's own, or a certain host.
CREATE TABLE dedicated_hosts (
    id TEXT PRIMARY KEY,
    family TEXT NOT NULL,
    type TEXT,
    zone TEXT NOT NULL,
    allocated TEXT NOT NULL,
    auto_placement TEXT NOT NULL,
    client_token TEXT,
    released TEXT,
    tags TEXT NOT NULL
) STRICT;

ALTER TABLE instances ADD COLUMN tenancy TEXT NOT NULL DEFAULT 'default';
ALTER TABLE instances ADD COLUMN host_id TEXT;
ALTER TABLE instances ADD COLUMN affinity TEXT NOT NULL DEFAULT 'default';
ALTER TABLE vpcs ADD COLUMN tenancy TEXT NOT NULL DEFAULT 'default';

CREATE INDEX instances_by_host ON instances (host_id) WHERE host_id IS NOT NULL;
