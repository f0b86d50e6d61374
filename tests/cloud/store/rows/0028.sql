INSERT INTO reserved_instances VALUES (
    '11111111-2222-3333-4444-555555555555', 'offering-1', 't3.micro', 2, '2026-01-01T00:00:00+00:00',
    '2027-01-01T00:00:00+00:00', NULL, 'default', 'standard', 'No Upfront', 0.0, 0.0065, '{"team":"net"}'
);
