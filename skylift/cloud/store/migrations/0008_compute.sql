ALTER TABLE instances ADD COLUMN rebooting INTEGER NOT NULL DEFAULT 0;
ALTER TABLE instances ADD COLUMN forced INTEGER NOT NULL DEFAULT 0;
ALTER TABLE instances ADD COLUMN booted INTEGER NOT NULL DEFAULT 0;
ALTER TABLE instances ADD COLUMN association_id TEXT;
UPDATE instances SET booted = 1 WHERE state != 'pending';
UPDATE instances SET association_id = 'iip-assoc-' || lower(substr(hex(randomblob(9)), 1, 17))
    WHERE profile_arn IS NOT NULL;
CREATE UNIQUE INDEX instances_by_association ON instances (association_id);

-- A name is taken once an owner, and free again when its image is deregistered: that row stays until no server's disk
-- needs its root directory.
CREATE TABLE images_of_owners (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    root TEXT NOT NULL,
    size_gib INTEGER NOT NULL,
    created TEXT NOT NULL,
    architecture TEXT NOT NULL,
    owner TEXT NOT NULL,
    public INTEGER NOT NULL,
    state TEXT NOT NULL,
    state_reason TEXT NOT NULL,
    launch_users TEXT NOT NULL,
    source_instance_id TEXT,
    source_image_id TEXT,
    no_reboot INTEGER NOT NULL,
    tags TEXT NOT NULL
);
INSERT INTO images_of_owners
    SELECT id, name, description, root, size_gib, created, architecture, owner, public, 'available', '', '[]', NULL,
        NULL, 0, tags
    FROM images;
DROP TABLE images;
ALTER TABLE images_of_owners RENAME TO images;
CREATE UNIQUE INDEX images_by_name ON images (owner, name) WHERE state != 'deregistered';

CREATE TABLE launch_templates (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created TEXT NOT NULL,
    created_by TEXT NOT NULL,
    default_number INTEGER NOT NULL,
    last_number INTEGER NOT NULL,
    tags TEXT NOT NULL
);

CREATE TABLE launch_template_versions (
    template_id TEXT NOT NULL REFERENCES launch_templates (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    description TEXT NOT NULL,
    created TEXT NOT NULL,
    created_by TEXT NOT NULL,
    data TEXT NOT NULL,
    PRIMARY KEY (template_id, number)
);
