-- Who there is: keys, temporary credentials, roles, instance profiles, policies.

CREATE TABLE access_keys (
    id TEXT PRIMARY KEY,
    secret TEXT NOT NULL,
    user TEXT,
    created TEXT NOT NULL,
    active INTEGER NOT NULL
) STRICT;

CREATE TABLE sessions (
    access_key_id TEXT PRIMARY KEY,
    secret TEXT NOT NULL,
    token TEXT NOT NULL,
    role TEXT NOT NULL,
    role_id TEXT NOT NULL,
    name TEXT NOT NULL,
    created TEXT NOT NULL,
    expires TEXT NOT NULL,
    policies TEXT NOT NULL,
    instance_id TEXT
) STRICT;

CREATE INDEX sessions_by_expiry ON sessions (expires);
CREATE INDEX sessions_by_instance ON sessions (instance_id) WHERE instance_id IS NOT NULL;

-- IAM compares names without case when it looks for a conflict, and with it when it looks one up.
CREATE TABLE roles (
    name TEXT PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    arn TEXT NOT NULL UNIQUE,
    path TEXT NOT NULL,
    trust_policy TEXT NOT NULL,
    created TEXT NOT NULL,
    description TEXT NOT NULL,
    max_session_seconds INTEGER NOT NULL,
    permissions_boundary TEXT,
    inline TEXT NOT NULL,
    attached TEXT NOT NULL,
    tags TEXT NOT NULL
) STRICT;

CREATE UNIQUE INDEX roles_by_name ON roles (name COLLATE NOCASE);

CREATE TABLE instance_profiles (
    name TEXT PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    arn TEXT NOT NULL UNIQUE,
    path TEXT NOT NULL,
    created TEXT NOT NULL,
    role TEXT REFERENCES roles (name),
    tags TEXT NOT NULL
) STRICT;

CREATE UNIQUE INDEX instance_profiles_by_name ON instance_profiles (name COLLATE NOCASE);
CREATE INDEX instance_profiles_by_role ON instance_profiles (role);

CREATE TABLE managed_policies (
    arn TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    id TEXT NOT NULL UNIQUE,
    path TEXT NOT NULL,
    created TEXT NOT NULL,
    updated TEXT NOT NULL,
    versions TEXT NOT NULL,
    default_version TEXT NOT NULL,
    latest INTEGER NOT NULL,
    description TEXT NOT NULL,
    tags TEXT NOT NULL
) STRICT;

CREATE UNIQUE INDEX managed_policies_by_name ON managed_policies (name COLLATE NOCASE);
