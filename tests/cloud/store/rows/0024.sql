INSERT INTO usages VALUES (
    90, 'i-9', 'instance', '2026-01-01T00:00:00+00:00', '2026-01-01T00:00:00+00:00', '2026-01-01T01:00:00+00:00', 't3.micro',
    'eu-west-1a', 1, NULL, NULL, 'on-demand', 'default', NULL, 'i-9', 'Client.UserInitiatedShutdown', '{"team":"net"}'
);
