INSERT INTO images VALUES (
    'ami-2', 'mine', 'd', '', 1, '2026-01-01T00:00:00+00:00', 'x86_64', '123456789012', 0, 'pending', '', '[]', 'i-1',
    NULL, 1, '{}'
);
INSERT INTO launch_templates VALUES ('lt-1', 'template', '2026-01-01T00:00:00+00:00', 'arn', 1, 1, '{}');
INSERT INTO launch_template_versions VALUES (
    'lt-1', 1, '', '2026-01-01T00:00:00+00:00', 'arn', '{"ImageId":"ami-1"}'
);
