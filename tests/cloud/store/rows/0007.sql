INSERT INTO parameters VALUES ('/a/b', 1, '{}');
INSERT INTO parameter_versions VALUES (
    '/a/b', 1, 'String', 'value', '2026-01-01T00:00:00+00:00', 'arn', 'Standard', 'text', NULL
);
INSERT INTO session_keys VALUES ('i-1', 'ec2-user', 'ssh-ed25519 AAAA', '2026-01-01T00:01:00+00:00');
