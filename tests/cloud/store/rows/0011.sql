INSERT INTO snapshots VALUES (
    'snap-1', 'vol-1', 8, '2026-01-01T00:00:00+00:00', '', 'completed', '', '2026-01-01T00:01:00+00:00', 0, '', NULL, NULL,
    '[]', 0, '{}'
);
