INSERT INTO access_keys (id, secret, user, created, active) VALUES ('AKIA1', 's', NULL, '2026-01-01T00:00:00+00:00', 1);
INSERT INTO sessions (access_key_id, secret, token, role, role_id, name, created, expires, policies, instance_id) VALUES (
    'ASIA1', 's', 't', 'role', 'AROA1', 'i-1', '2026-01-01T00:00:00+00:00', '2026-01-02T00:00:00+00:00', '["{}"]', 'i-1'
);
INSERT INTO roles VALUES (
    'role', 'AROA1', 'arn:aws:iam::123456789012:role/role', '/', '{"Statement":[]}', '2026-01-01T00:00:00+00:00', '', 3600,
    NULL, '{"inline":"{}"}', '["arn:aws:iam::aws:policy/AmazonS3FullAccess"]', '{}'
);
INSERT INTO instance_profiles VALUES (
    'p', 'AIPA1', 'arn:aws:iam::123456789012:instance-profile/p', '/', '2026-01-01T00:00:00+00:00', 'role', '{}'
);
INSERT INTO managed_policies VALUES (
    'arn:aws:iam::123456789012:policy/policy', 'policy', 'ANPA1', '/', '2026-01-01T00:00:00+00:00',
    '2026-01-01T00:00:00+00:00', '{"v1":{"document":"{}","created":"2026-01-01T00:00:00+00:00"}}', 'v1', 1, '', '{}'
);
