INSERT INTO users VALUES (
    'user', 'AIDA1', 'arn:aws:iam::123456789012:user/user', '/', '2026-01-01T00:00:00+00:00', NULL, '{}', '[]',
    '["group"]', '{}'
);
INSERT INTO user_groups VALUES (
    'group', 'AGPA1', 'arn:aws:iam::123456789012:group/group', '/', '2026-01-01T00:00:00+00:00', '{}', '[]'
);
INSERT INTO access_keys VALUES (
    'AKIA2', 's', 'user', '2026-01-01T00:00:00+00:00', 0, '2026-01-01T00:00:00+00:00', 's3', 'eu-west-1'
);
INSERT INTO bucket_policies VALUES ('bucket', '{"Statement":[]}');
