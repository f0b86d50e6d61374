INSERT INTO fleets VALUES (
    'fleet-00000000-0000-0000-0000-000000000000', 'maintain', 'active', '2026-01-01T00:00:00+00:00',
    '[{"LaunchTemplateSpecification":{"LaunchTemplateId":"lt-1","Version":"1"}}]', 1, 0, 'on-demand', '{}', '{}',
    'termination', 0, 0, NULL, NULL, NULL, NULL, '{}', '[]', '', 0, NULL, NULL
);
INSERT INTO fleet_members VALUES (
    'i-1', 'fleet-00000000-0000-0000-0000-000000000000', 'on-demand', 1.0, 't3.micro', 'eu-west-1a', '{}',
    '2026-01-01T00:00:00+00:00', 0, NULL, NULL
);
INSERT INTO fleet_events VALUES (
    'fleet-00000000-0000-0000-0000-000000000000', '2026-01-01T00:00:00+00:00', 'fleet-change', 'active', '', NULL, 1
);
