INSERT INTO mfa_devices VALUES (
    'arn:aws:iam::123456789012:mfa/ann', 'JBSWY3DPEHPK3PXP', '2026-11-25T00:00:00+00:00', NULL, NULL, 0, '{}'
);
