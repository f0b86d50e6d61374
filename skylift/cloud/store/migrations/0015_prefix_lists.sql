-- Managed prefix lists with their versions.
CREATE TABLE prefix_lists (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    family TEXT NOT NULL,
    max_entries INTEGER NOT NULL,
    version INTEGER NOT NULL,
    versions TEXT NOT NULL,
    state TEXT NOT NULL,
    owner TEXT NOT NULL,
    tags TEXT NOT NULL
) STRICT;
