INSERT INTO small_bodies VALUES (1, x'64617461');
INSERT INTO objects (
    bucket, key, size, etag, modified, extents, content_type, headers, metadata, checksums, checksum_type, parts, tags,
    sequence, version, latest, delete_marker
) VALUES (
    'bucket', 'small', 4, '8d777f385d3dfec8815d20f7496026dc', '2026-11-25T00:00:00+00:00',
    '[{"file":"","offset":0,"length":4,"row":1}]', 'text/plain', '{}', '{}', '{}', 'FULL_OBJECT', '[]', '{}',
    1, 'null', 1, 0
);
