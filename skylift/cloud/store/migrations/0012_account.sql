-- What is set for the whole account, stop protection, and what was given back or deleted.
CREATE TABLE accounts (
    id TEXT PRIMARY KEY,
    alias TEXT,
    metadata TEXT NOT NULL
) STRICT;

CREATE TABLE role_deletions (
    id TEXT PRIMARY KEY,
    at TEXT NOT NULL
) STRICT;

CREATE TABLE released_addresses (
    public_ip TEXT PRIMARY KEY,
    at TEXT NOT NULL
) STRICT;

ALTER TABLE instances ADD COLUMN stop_protected INTEGER NOT NULL DEFAULT 0;
