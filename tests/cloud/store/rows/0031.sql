INSERT INTO dedicated_hosts VALUES (
    'h-1', 'm5', NULL, 'eu-west-1a', '2026-01-01T00:00:00+00:00', 'on', NULL, NULL, '{"team":"net"}'
);
UPDATE instances SET tenancy = 'host', host_id = 'h-1', affinity = 'host' WHERE id = 'i-2';
