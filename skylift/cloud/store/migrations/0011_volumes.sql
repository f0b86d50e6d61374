-- Volumes that are not an instance's root, and snapshots.
CREATE TABLE volumes_of_all_kinds (
    id TEXT PRIMARY KEY,
    size_gib INTEGER NOT NULL,
    zone TEXT NOT NULL,
    created TEXT NOT NULL,
    type TEXT NOT NULL,
    iops INTEGER,
    throughput INTEGER,
    snapshot_id TEXT,
    state TEXT NOT NULL,
    error TEXT NOT NULL,
    root INTEGER NOT NULL,
    auto_enable_io INTEGER NOT NULL,
    instance_id TEXT REFERENCES instances (id),
    device TEXT,
    attachment TEXT,
    attached TEXT,
    delete_on_termination INTEGER NOT NULL,
    forced INTEGER NOT NULL,
    modification TEXT,
    tags TEXT NOT NULL,
    UNIQUE (instance_id, device)
);
INSERT INTO volumes_of_all_kinds
    SELECT id, size_gib, zone, created, 'gp3', 3000, 125, NULL, 'in-use', '', 1, 0, instance_id, device, 'attached',
        created, 1, 0, NULL, tags
    FROM volumes;
DROP TRIGGER root_volume_ends;
DROP TABLE volumes;
ALTER TABLE volumes_of_all_kinds RENAME TO volumes;
CREATE INDEX volumes_by_state ON volumes (state);

-- Whoever writes down that an instance ended: its root volume goes with it, and its other volumes as they were told to.
CREATE TRIGGER volumes_lose_their_instance AFTER UPDATE OF state ON instances
WHEN NEW.state = 'terminated' AND OLD.state != 'terminated' BEGIN
    DELETE FROM volumes WHERE instance_id = NEW.id AND root = 1;
    UPDATE volumes SET state = 'deleting' WHERE instance_id = NEW.id AND delete_on_termination = 1;
    UPDATE volumes SET state = 'available' WHERE instance_id = NEW.id AND state = 'in-use';
    UPDATE volumes SET instance_id = NULL, device = NULL, attachment = NULL, attached = NULL,
        delete_on_termination = 0, forced = 0
        WHERE instance_id = NEW.id;
END;

CREATE TABLE snapshots (
    id TEXT PRIMARY KEY,
    volume_id TEXT NOT NULL,
    size_gib INTEGER NOT NULL,
    started TEXT NOT NULL,
    description TEXT NOT NULL,
    state TEXT NOT NULL,
    message TEXT NOT NULL,
    completed TEXT,
    of_root INTEGER NOT NULL,
    root TEXT NOT NULL,
    source_id TEXT,
    image_id TEXT,
    users TEXT NOT NULL,
    public INTEGER NOT NULL,
    tags TEXT NOT NULL
);

ALTER TABLE images ADD COLUMN snapshot_id TEXT;
ALTER TABLE images ADD COLUMN devices TEXT NOT NULL DEFAULT '[]';
