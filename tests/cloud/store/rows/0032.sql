INSERT INTO alarms VALUES (
    'busy', 'Shop', 'Orders', '[["Door","east"]]', 'Sum', NULL, 60, 1, NULL, 10.0, 'GreaterThanThreshold', NULL,
    '2026-11-25T12:00:00+00:00', '2026-11-25T12:01:00+00:00', '2026-11-25T12:01:00+00:00', NULL, 1, '[]',
    '["arn:aws:automate:us-east-1:ec2:stop"]', '[]', 'ALARM', 'Threshold Crossed', NULL,
    '2026-11-25T12:01:00+00:00', '{}'
);
INSERT INTO alarm_history VALUES (1, 'busy', '2026-11-25T12:01:00+00:00', 'StateUpdate', 'updated', '{}');
INSERT INTO alarm_actions VALUES (
    1, 'busy', 'arn:aws:automate:us-east-1:ec2:stop', 'ALARM', '2026-11-25T12:01:00+00:00', 11.0
);
