INSERT INTO vpc_peerings VALUES (
    'pcx-1', 'vpc-1', '["10.0.0.0/16"]', 'vpc-2', '["10.1.0.0/16"]', '2026-11-25T00:00:00+00:00', 'active', NULL, '{}'
);
