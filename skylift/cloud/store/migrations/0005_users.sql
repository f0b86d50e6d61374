-- Users and groups, who else may have temporary credentials, and what buckets themselves allow.

CREATE TABLE users (
    name TEXT PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    arn TEXT NOT NULL UNIQUE,
    path TEXT NOT NULL,
    created TEXT NOT NULL,
    permissions_boundary TEXT,
    inline TEXT NOT NULL,
    attached TEXT NOT NULL,
    groups TEXT NOT NULL,
    tags TEXT NOT NULL
) STRICT;

CREATE UNIQUE INDEX users_by_name ON users (name COLLATE NOCASE);

CREATE TABLE user_groups (
    name TEXT PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    arn TEXT NOT NULL UNIQUE,
    path TEXT NOT NULL,
    created TEXT NOT NULL,
    inline TEXT NOT NULL,
    attached TEXT NOT NULL
) STRICT;

CREATE UNIQUE INDEX user_groups_by_name ON user_groups (name COLLATE NOCASE);

ALTER TABLE access_keys ADD COLUMN used TEXT;
ALTER TABLE access_keys ADD COLUMN used_service TEXT;
ALTER TABLE access_keys ADD COLUMN used_region TEXT;

CREATE INDEX access_keys_by_user ON access_keys (user);

-- SQLite cannot take NOT NULL off a column: sessions without a role need a new table.
ALTER TABLE sessions RENAME TO sessions_of_roles;
DROP INDEX sessions_by_expiry;
DROP INDEX sessions_by_instance;

CREATE TABLE sessions (
    access_key_id TEXT PRIMARY KEY,
    secret TEXT NOT NULL,
    token TEXT NOT NULL,
    role TEXT,
    role_id TEXT,
    name TEXT NOT NULL,
    created TEXT NOT NULL,
    expires TEXT NOT NULL,
    policies TEXT NOT NULL,
    instance_id TEXT,
    user_id TEXT,
    tags TEXT NOT NULL,
    transitive TEXT NOT NULL
) STRICT;

INSERT INTO sessions
SELECT access_key_id, secret, token, role, role_id, name, created, expires, policies, instance_id, NULL, '{}', '[]'
FROM sessions_of_roles;

DROP TABLE sessions_of_roles;

CREATE INDEX sessions_by_expiry ON sessions (expires);
CREATE INDEX sessions_by_instance ON sessions (instance_id) WHERE instance_id IS NOT NULL;

CREATE TABLE bucket_policies (
    bucket TEXT PRIMARY KEY REFERENCES buckets (name) ON DELETE CASCADE,
    document TEXT NOT NULL
) STRICT;
