INSERT INTO buckets (name, region, created, owner, tags)
VALUES ('bucket', 'eu-west-1', '2026-01-01T00:00:00+00:00', '123456789012', '{"a":"b"}');
INSERT INTO objects VALUES (
    'bucket', 'key', 4, 'etag', '2026-01-02T03:04:05.678000+00:00', '[{"file":"f","offset":0,"length":4}]', 'text/csv',
    '{}', '{}', '{}', 'FULL_OBJECT', '[]'
);
INSERT INTO uploads VALUES (
    'upload', 'bucket', 'big', '2026-01-01T00:00:00+00:00', 'arn', 'text/csv', '{}', '{}', NULL, 'FULL_OBJECT'
);
INSERT INTO parts VALUES (
    'upload', 1, 4, 'md5', '2026-01-01T00:00:00+00:00', '[{"file":"g","offset":0,"length":4}]', '{}'
);
