-- Systems Manager's parameters with their versions, and the keys that EC2 Instance Connect opens servers to.

CREATE TABLE parameters (
    name TEXT PRIMARY KEY,
    latest INTEGER NOT NULL,
    tags TEXT NOT NULL
) STRICT;

CREATE TABLE parameter_versions (
    name TEXT NOT NULL REFERENCES parameters (name) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    kind TEXT NOT NULL,
    value TEXT NOT NULL,
    modified TEXT NOT NULL,
    modified_by TEXT NOT NULL,
    tier TEXT NOT NULL,
    data_type TEXT NOT NULL,
    description TEXT,
    PRIMARY KEY (name, number)
) STRICT;

CREATE TABLE session_keys (
    instance_id TEXT NOT NULL REFERENCES instances (id) ON DELETE CASCADE,
    os_user TEXT NOT NULL,
    public_key TEXT NOT NULL,
    expires TEXT NOT NULL,
    PRIMARY KEY (instance_id, os_user, public_key)
) STRICT;

CREATE INDEX session_keys_by_expiry ON session_keys (expires);
