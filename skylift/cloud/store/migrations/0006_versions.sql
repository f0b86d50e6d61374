-- S3: versions and tags of objects, and what a bucket can be told about itself.

ALTER TABLE buckets ADD COLUMN versioning TEXT;
ALTER TABLE buckets ADD COLUMN ownership TEXT DEFAULT 'BucketOwnerEnforced';
ALTER TABLE buckets ADD COLUMN public_access TEXT DEFAULT
    '{"block_acls":true,"ignore_acls":true,"block_policy":true,"restrict_buckets":true}';
ALTER TABLE buckets ADD COLUMN bucket_key INTEGER NOT NULL DEFAULT 0;
ALTER TABLE buckets ADD COLUMN cors TEXT NOT NULL DEFAULT '[]';

-- A row is a version now; newest first is the order S3 lists them in.
CREATE TABLE versions (
    bucket TEXT NOT NULL REFERENCES buckets (name),
    key TEXT NOT NULL,
    size INTEGER NOT NULL,
    etag TEXT NOT NULL,
    modified TEXT NOT NULL,
    extents TEXT NOT NULL,
    content_type TEXT NOT NULL,
    headers TEXT NOT NULL,
    metadata TEXT NOT NULL,
    checksums TEXT NOT NULL,
    checksum_type TEXT NOT NULL,
    parts TEXT NOT NULL,
    tags TEXT NOT NULL,
    upload_id TEXT,
    sequence INTEGER NOT NULL,
    version TEXT NOT NULL,
    latest INTEGER NOT NULL,
    delete_marker INTEGER NOT NULL,
    PRIMARY KEY (bucket, key, sequence DESC)
) STRICT;

INSERT INTO versions
SELECT bucket, key, size, etag, modified, extents, content_type, headers, metadata, checksums, checksum_type, parts,
    '{}', NULL, CAST(strftime('%s', modified) AS INTEGER) * 1000000, 'null', 1, 0
FROM objects;

DROP TABLE objects;
ALTER TABLE versions RENAME TO objects;

-- What ListObjects walks along; it also holds that a key has one latest version.
CREATE UNIQUE INDEX objects_latest ON objects (bucket, key) WHERE latest = 1;

ALTER TABLE uploads ADD COLUMN tags TEXT NOT NULL DEFAULT '{}';
