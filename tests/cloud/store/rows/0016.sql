INSERT INTO login_profiles VALUES ('ann', '2026-11-25T00:00:00+00:00', '2026-11-25T00:00:00+00:00', 'aa$bb', '[]', 0);
INSERT INTO credential_reports VALUES ('123456789012', 'user,arn', '2026-11-25T00:00:00+00:00');
