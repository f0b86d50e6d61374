-- Placement groups, and which one an instance is in.
CREATE TABLE placement_groups (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    strategy TEXT NOT NULL,
    partitions INTEGER,
    tags TEXT NOT NULL
) STRICT;

ALTER TABLE instances ADD COLUMN placement_group TEXT NOT NULL DEFAULT '';
ALTER TABLE instances ADD COLUMN placement_group_id TEXT;
ALTER TABLE instances ADD COLUMN partition INTEGER;
