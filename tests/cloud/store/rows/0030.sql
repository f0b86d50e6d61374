INSERT INTO scaling_groups VALUES (
    'web', 'arn:aws:autoscaling:eu-west-1:123456789012:autoScalingGroup:1:autoScalingGroupName/web',
    '2026-01-01T00:00:00+00:00', 1, 3, 1, '{"LaunchTemplateId":"lt-1","LaunchTemplateName":"t","Version":"$Latest"}',
    '["subnet-1"]', '["eu-west-1a"]', 0, 300, 0, NULL, '["Default"]', 0, 'arn:aws:iam::123456789012:role/r', '', '{}', 0,
    '[{"key":"Name","value":"web","propagate":true}]', '{"Launch":"User suspended at 2026-01-01T00:00:00Z"}', 0, '', 2,
    '2026-01-01T00:00:00+00:00', 1, '2026-01-01T00:00:00+00:00'
);
INSERT INTO scaling_members VALUES (
    'i-1', 'web', 'eu-west-1a', 'subnet-1', 't3.micro', 'ami-1', 'InService', 'activity-1', '2026-01-01T00:00:00+00:00',
    '{"LaunchTemplateId":"lt-1","LaunchTemplateName":"t","Version":"1"}', 0, '', '2026-01-01T00:00:00+00:00',
    'on-demand', '[{"hook":"up","token":"t","deadline":"2026-01-01T00:00:00+00:00","last":"2026-01-01T00:00:00+00:00",
"heartbeat":60,"default":"ABANDON","result":""}]'
);
INSERT INTO scaling_activities VALUES (
    'activity-1', 'web', 'arn', 'Launching a new EC2 instance: i-1', 'At 2026-01-01T00:00:00Z an instance',
    '2026-01-01T00:00:00+00:00', 'Successful', '{}', '', 100, '2026-01-01T00:00:00+00:00'
);
INSERT INTO lifecycle_hooks VALUES ('web', 'up', 'autoscaling:EC2_INSTANCE_LAUNCHING', 60, 'ABANDON', '');
INSERT INTO scheduled_actions VALUES (
    'web', 'night', 'arn', NULL, NULL, '0 20 * * *', 'Europe/Berlin', 0, NULL, 0, '2026-01-01T19:00:00+00:00'
);
