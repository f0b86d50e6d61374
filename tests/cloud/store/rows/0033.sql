INSERT INTO scaling_policies VALUES (
    'web', 'half', 'arn:aws:autoscaling:eu-west-1:123456789012:scalingPolicy:1:autoScalingGroupName/web:policyName/half',
    'TargetTrackingScaling', 1, NULL, NULL, NULL, NULL, '[]', NULL, NULL, '{"TargetValue":50.0}'
);
UPDATE alarms SET policy =
    'arn:aws:autoscaling:eu-west-1:123456789012:scalingPolicy:1:autoScalingGroupName/web:policyName/half'
WHERE name = 'busy';
