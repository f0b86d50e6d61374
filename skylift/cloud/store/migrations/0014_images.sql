ALTER TABLE snapshots ADD COLUMN set_id TEXT;

ALTER TABLE images ADD COLUMN deprecates TEXT;
ALTER TABLE images ADD COLUMN protection TEXT NOT NULL DEFAULT 'disabled';
ALTER TABLE images ADD COLUMN protected_until TEXT;
ALTER TABLE images ADD COLUMN last_launched TEXT;

-- An image of the account's own has a snapshot of its root volume; those that were made before had none.
INSERT INTO snapshots (id, volume_id, size_gib, started, description, state, message, completed, of_root, root, source_id,
    image_id, users, public, tags, set_id)
    SELECT 'snap-' || lower(substr(hex(randomblob(9)), 1, 17)),
        COALESCE((SELECT id FROM volumes WHERE root = 1 AND instance_id = images.source_instance_id), 'vol-ffffffff'),
        size_gib, created, COALESCE('Created by CreateImage(' || source_instance_id || ') for ' || id, ''),
        CASE state WHEN 'pending' THEN 'pending' ELSE 'completed' END, '',
        CASE state WHEN 'pending' THEN NULL ELSE created END, 1, root, NULL, id, '[]', 0, '{}', id
    FROM images WHERE owner != 'amazon' AND snapshot_id IS NULL AND state IN ('pending', 'available');
UPDATE images SET snapshot_id = (SELECT id FROM snapshots WHERE snapshots.image_id = images.id)
    WHERE owner != 'amazon' AND snapshot_id IS NULL AND state IN ('pending', 'available');
