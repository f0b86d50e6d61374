-- What a cloud of this version may have written: a row at least in each table. This stays as it is.
PRAGMA defer_foreign_keys = ON;
INSERT INTO cloud_facts VALUES ('123456789012', 'eu-west-1', 40, '127.0.0.1:4520', '["100000-165535"]', 7, '[]');
INSERT INTO accounts VALUES (
    '123456789012', 'web-shop',
    '{"tokens":"required","endpoint":null,"hop_limit":2,"tags":null,"tokens_enforced":"enabled"}', NULL
);
INSERT INTO document_keys VALUES ('123456789012', 'private', 'certificate', '2026-11-25T00:00:00+00:00');
INSERT INTO client_tokens VALUES ('RunInstances', 'token', 'digest', '{"ReservationId":"r-1"}');
INSERT INTO access_keys VALUES ('AKIA1', 's', NULL, '2026-01-01T00:00:00+00:00', 1, NULL, NULL, NULL);
INSERT INTO access_keys VALUES (
    'AKIA2', 's', 'user', '2026-01-01T00:00:00+00:00', 0, '2026-01-01T00:00:00+00:00', 's3', 'eu-west-1'
);
INSERT INTO sessions VALUES (
    'ASIA1', 's', 't', 'role', 'AROA1', 'i-1', '2026-01-01T00:00:00+00:00', '2026-01-02T00:00:00+00:00', '["{}"]',
    'i-1', NULL, '{}', '[]', '', NULL, NULL, '{"issuer.example.com:amr":["pwd","mfa"]}'
);
INSERT INTO users VALUES (
    'user', 'AIDA1', 'arn:aws:iam::123456789012:user/user', '/', '2026-01-01T00:00:00+00:00', NULL, '{}', '[]',
    '["group"]', '{}'
);
INSERT INTO user_groups VALUES (
    'group', 'AGPA1', 'arn:aws:iam::123456789012:group/group', '/', '2026-01-01T00:00:00+00:00', '{}', '[]'
);
INSERT INTO roles VALUES (
    'role', 'AROA1', 'arn:aws:iam::123456789012:role/role', '/', '{"Statement":[]}', '2026-01-01T00:00:00+00:00', '',
    3600, NULL, '{"inline":"{}"}', '["arn:aws:iam::aws:policy/AmazonS3FullAccess"]', '{}',
    '2026-11-25T00:00:00+00:00', 'us-east-1'
);
INSERT INTO role_deletions VALUES (
    'task/aws-service-role/spot.amazonaws.com/AWSServiceRoleForEC2Spot/1', '2026-11-25T00:00:00+00:00'
);
INSERT INTO instance_profiles VALUES (
    'p', 'AIPA1', 'arn:aws:iam::123456789012:instance-profile/p', '/', '2026-01-01T00:00:00+00:00', 'role', '{}'
);
INSERT INTO managed_policies VALUES (
    'arn:aws:iam::123456789012:policy/policy', 'policy', 'ANPA1', '/', '2026-01-01T00:00:00+00:00',
    '2026-01-01T00:00:00+00:00', '{"v1":{"document":"{}","created":"2026-01-01T00:00:00+00:00"}}', 'v1', 1, '', '{}'
);
INSERT INTO login_profiles VALUES ('ann', '2026-11-25T00:00:00+00:00', '2026-11-25T00:00:00+00:00', 'aa$bb', '[]', 0);
INSERT INTO mfa_devices VALUES (
    'arn:aws:iam::123456789012:mfa/ann', 'JBSWY3DPEHPK3PXP', '2026-11-25T00:00:00+00:00', NULL, NULL, 0, '{}', 0, NULL
);
INSERT INTO service_credentials VALUES (
    'ACCA1', 'AIDA1', 'codecommit.amazonaws.com', 'user-at-123456789012', '2026-11-29T00:00:00+00:00', 1
);
INSERT INTO oidc_providers VALUES (
    'arn:aws:iam::123456789012:oidc-provider/issuer.example.com', 'issuer.example.com', '2026-11-29T00:00:00+00:00',
    '["sts.amazonaws.com"]', '[]', '{}'
);
INSERT INTO issuer_keys VALUES ('issuer.example.com', '{"keys":[]}', '2026-11-29T00:00:00+00:00');
INSERT INTO credential_reports VALUES ('123456789012', 'user,arn', '2026-11-25T00:00:00+00:00');
INSERT INTO vpcs VALUES ('vpc-1', '172.31.0.0/16', 1, 1, 1, 'dopt-356fe7e3d81c9cce2', '{"Name":"ä"}', '[]', 'default');
INSERT INTO vpcs VALUES ('vpc-2', '10.0.0.0/16', 0, 1, 0, 'dopt-356fe7e3d81c9cce2', '{}', '[]', 'default');
INSERT INTO subnets VALUES ('subnet-1', 'vpc-1', '172.31.0.0/20', 'eu-west-1a', 1, 1, '{}');
INSERT INTO dhcp_options VALUES (
    'dopt-356fe7e3d81c9cce2',
    '{"domain-name":["eu-west-1.compute.internal"],"domain-name-servers":["AmazonProvidedDNS"]}', '{}'
);
INSERT INTO internet_gateways VALUES ('igw-1', 'vpc-1', '{}');
INSERT INTO internet_gateways VALUES ('igw-2', NULL, '{}');
INSERT INTO route_tables VALUES (
    'rtb-1', 'vpc-1', '[{"cidr":"172.31.0.0/16","target":"local"},{"cidr":"0.0.0.0/0","target":"igw-1"}]',
    '[{"id":"rtbassoc-1","subnet_id":null}]', '{}'
);
INSERT INTO network_acls VALUES (
    'acl-9f08e1964fc12aca2', 'vpc-1', 1,
    '[{"number":100,"egress":false,"protocol":"-1","from_port":-1,"to_port":-1,"allow":true,"cidr":"0.0.0.0/0","cidr6":null},{"number":100,"egress":true,"protocol":"-1","from_port":-1,"to_port":-1,"allow":true,"cidr":"0.0.0.0/0","cidr6":null}]',
    '[{"id":"aclassoc-ee30ecdb191853539","subnet_id":"subnet-1"}]', '{}'
);
INSERT INTO network_acls VALUES (
    'acl-8588be0596b4c51af', 'vpc-2', 1,
    '[{"number":100,"egress":false,"protocol":"-1","from_port":-1,"to_port":-1,"allow":true,"cidr":"0.0.0.0/0","cidr6":null},{"number":100,"egress":true,"protocol":"-1","from_port":-1,"to_port":-1,"allow":true,"cidr":"0.0.0.0/0","cidr6":null}]',
    '[]', '{}'
);
INSERT INTO security_groups VALUES (
    'sg-1', 'vpc-1', 'default', 'default VPC security group',
    '[{"id":"sgr-1","egress":true,"protocol":"-1","from_port":-1,"to_port":-1,"cidr":"0.0.0.0/0","group_id":null,"description":""}]',
    '{}'
);
INSERT INTO rule_tags VALUES ('tags-1', 'sg-1', '{"a":"b"}');
INSERT INTO tagged_rules VALUES ('sgr-1', 'sg-1', 'tags-1');
INSERT INTO prefix_lists VALUES (
    'pl-1', 'offices', 'IPv4', 5, 2, '[{"cidr":"203.0.113.0/24","description":"Bern"}]', 'modify-complete',
    'self', '{}'
);
INSERT INTO earlier_prefix_lists VALUES ('pl-1', 1, '[]');
INSERT INTO network_interfaces VALUES (
    'eni-1', 'vpc-1', 'subnet-1', '02:00:00:00:00:01', '172.31.0.5', '["sg-1"]', '2026-01-01T00:00:00+00:00',
    '127.40.1.1', 1, 'i-1', 0, 'eni-attach-1', 1, 1, '', '{}', 'interface', '[]', 'attached',
    '2026-01-01T00:00:00+00:00', 'AIDA1'
);
INSERT INTO addresses VALUES ('eipalloc-1', '127.40.1.2', 'eipassoc-1', 'eni-1', '172.31.0.5', '{}');
INSERT INTO released_addresses VALUES ('127.7.1.9', '2026-11-25T00:00:00+00:00');
INSERT INTO nat_gateways VALUES (
    'nat-1', 'vpc-1', 'subnet-1', 'eni-1', '172.31.0.6', '127.40.1.3', 'eipalloc-2', 'eipassoc-2',
    '2026-01-01T00:00:00+00:00', 'available', NULL, '{}', 'public', '[]'
);
INSERT INTO vpc_peerings VALUES (
    'pcx-1', 'vpc-1', '["10.0.0.0/16"]', 'vpc-2', '["10.1.0.0/16"]', '2026-11-25T00:00:00+00:00', 'active', NULL, '{}'
);
INSERT INTO vpc_endpoints VALUES (
    'vpce-1', 'vpc-1', 'com.amazonaws.us-east-1.s3',
    '{"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}]}',
    '2026-11-25T00:00:00+00:00', '{}'
);
INSERT INTO instances VALUES (
    'i-1', 'r-1', 0, 'ami-1', 't3.micro', 'eu-west-1a', 'vpc-1', 'subnet-1', '2026-01-01T00:00:00+00:00', 1000000000,
    'key', 'ssh-ed25519 AAAA', 'IyEvYmluL3No', 'arn:aws:iam::123456789012:instance-profile/p', 'AIPA1', 'token', 'stop',
    1, '{"tokens":"required","hop_limit":2,"endpoint":"enabled","tags":"disabled"}', 'running', 'running', '', '', '',
    NULL, '{"Name":"web"}', 0, 0, 1, 'iip-assoc-a94e74206d8b1bda2', 0, 'near', 'pg-1', NULL, 'sir-abcd1234', 1,
    'default', NULL, 'default', '{"since":"2026-01-01T00:02:00+00:00","reason":"sshd does not run"}', NULL
);
INSERT INTO instances VALUES (
    'i-2', 'r-2', 0, 'ami-1', 't3.micro', 'eu-west-1a', 'vpc-1', 'subnet-1', '2026-01-01T00:00:00+00:00', 1000065536,
    NULL, NULL, NULL, NULL, NULL, NULL, 'terminate', 0,
    '{"tokens":"required","hop_limit":1,"endpoint":"enabled","tags":"disabled"}', 'terminated', 'terminated',
    'Client.UserInitiatedShutdown', 'Client.UserInitiatedShutdown: User initiated shutdown', '',
    '2026-01-01T01:00:00+00:00', '{}', 0, 0, 1, NULL, 0, '', NULL, NULL, NULL, 0, 'host', 'h-1', 'host',
    NULL, NULL
);
INSERT INTO consoles VALUES ('i-2', 'last words', '2026-01-01T01:00:00+00:00');
INSERT INTO session_keys VALUES ('i-1', 'ec2-user', 'ssh-ed25519 AAAA', '2026-01-01T00:01:00+00:00');
INSERT INTO key_pairs VALUES ('key-1', 'key', 'ed25519', 'f', 'ssh-ed25519 AAAA', '2026-01-01T00:00:00+00:00', '{}');
INSERT INTO images VALUES (
    'ami-1', 'debian', 'd', '/images/ami-1/root', 1, '2026-01-01T00:00:00+00:00', 'x86_64', 'self', 1, 'available', '',
    '[]', NULL, NULL, 0, '{}', 'snap-92d441d3e7fceb4c8', '[]', NULL, 'disabled', NULL, NULL
);
INSERT INTO images VALUES (
    'ami-2', 'mine', 'd', '', 1, '2026-01-01T00:00:00+00:00', 'x86_64', '123456789012', 0, 'pending', '', '[]', 'i-1',
    NULL, 1, '{}', 'snap-60cba7fe13773a507', '[]', NULL, 'disabled', NULL, NULL
);
INSERT INTO launch_templates VALUES ('lt-1', 'template', '2026-01-01T00:00:00+00:00', 'arn', 1, 1, '{}');
INSERT INTO launch_template_versions VALUES ('lt-1', 1, '', '2026-01-01T00:00:00+00:00', 'arn', '{"ImageId":"ami-1"}');
INSERT INTO placement_groups VALUES ('pg-1', 'near', 'cluster', NULL, '{}');
INSERT INTO dedicated_hosts VALUES (
    'h-1', 'm5', NULL, 'eu-west-1a', '2026-01-01T00:00:00+00:00', 'on', NULL, NULL, '{"team":"net"}'
);
INSERT INTO volumes VALUES (
    'vol-1', 8, 'eu-west-1a', '2026-01-01T00:00:00+00:00', 'gp3', 3000, 125, NULL, 'in-use', '', 1, 0, 'i-1',
    '/dev/xvda', 'attached', '2026-01-01T00:00:00+00:00', 1, 0, NULL, '{}'
);
INSERT INTO snapshots VALUES (
    'snap-1', 'vol-1', 8, '2026-01-01T00:00:00+00:00', '', 'completed', '', '2026-01-01T00:01:00+00:00', 0, '', NULL,
    NULL, '[]', 0, '{}', NULL
);
INSERT INTO snapshots VALUES (
    'snap-92d441d3e7fceb4c8', 'vol-ffffffff', 1, '2026-01-01T00:00:00+00:00', '', 'completed', '',
    '2026-01-01T00:00:00+00:00', 1, '/images/ami-1/root', NULL, 'ami-1', '[]', 0, '{}', 'ami-1'
);
INSERT INTO snapshots VALUES (
    'snap-60cba7fe13773a507', 'vol-1', 1, '2026-01-01T00:00:00+00:00', 'Created by CreateImage(i-1) for ami-2',
    'pending', '', NULL, 1, '', NULL, 'ami-2', '[]', 0, '{}', 'ami-2'
);
INSERT INTO spot_prices VALUES ('t3.micro', 'us-east-1a', '2026-11-25T12:00:00+00:00', 0.0031);
INSERT INTO capacities VALUES ('t3.micro', 'us-east-1a', 'any', 2);
INSERT INTO vcpu_quotas VALUES ('standard', 'spot', 32);
INSERT INTO spot_requests VALUES (
    'sir-abcd1234', 'one-time', '2026-11-25T12:00:00+00:00', '{"image":"ami-1","type":"t3.micro","placement":{"zone":"us-east-1a"},"interfaces":[{"index":0,"group_ids":["sg-1"],"listed_addresses":[{"address":"172.31.0.9","primary":true}]}],"devices":[{"device":"/dev/sdf","volume":{"size_gib":8}}],"profile":{"name":"batch"},"tags":[{"resource_type":"instance","tags":[{"key":"team","value":"net"}]}]}',
    't3.micro', 0.0104, 'terminate', 'active', 'fulfilled', 'Your Spot request is fulfilled.',
    '2026-11-25T12:00:00+00:00', NULL, NULL, 'i-1', 'us-east-1a', 0, NULL, '{}', '{}'
);
INSERT INTO spot_notices VALUES ('i-1', NULL, '2026-11-25T12:00:00+00:00', '2026-11-25T12:02:00+00:00', 'price');
INSERT INTO fleets VALUES (
    'fleet-00000000-0000-0000-0000-000000000000', 'maintain', 'active', '2026-01-01T00:00:00+00:00',
    '[{"template":{"LaunchTemplateId":"lt-1","Version":"1"},"overrides":[{"launch":{"type":"t3.micro"},"subnet_ids":["subnet-1"],"weight":2.0},{"requirements":{"VCpuCount":{"Min":1},"MemoryMiB":{"Min":512}}}]}]', 1, 0, 'on-demand', '{}', '{}',
    'termination', 0, 0, NULL, NULL, NULL, NULL, '{}', '[]', '', 0, NULL, NULL
);
INSERT INTO fleet_members VALUES (
    'i-1', 'fleet-00000000-0000-0000-0000-000000000000', 'on-demand', 1.0, 't3.micro', 'eu-west-1a', '{}',
    '2026-01-01T00:00:00+00:00', 0, NULL, NULL
);
INSERT INTO fleet_events VALUES (
    'fleet-00000000-0000-0000-0000-000000000000', '2026-01-01T00:00:00+00:00', 'fleet-change', 'active', '', NULL, 1
);
INSERT INTO reserved_instances VALUES (
    '11111111-2222-3333-4444-555555555555', 'offering-1', 't3.micro', 2, '2026-01-01T00:00:00+00:00',
    '2027-01-01T00:00:00+00:00', NULL, 'default', 'standard', 'No Upfront', 0.0, 0.0065, '{"team":"net"}'
);
INSERT INTO usages VALUES (
    1, 'i-1', 'instance', '2026-01-01T00:00:00+00:00', '2026-01-01T00:00:00+00:00', NULL, 't3.micro', 'eu-west-1a', 1,
    NULL, NULL, 'on-demand', 'default', NULL, 'i-1', '', '{"Name":"web"}'
);
INSERT INTO usages VALUES (
    2, 'vol-1', 'volume', '2026-01-01T00:00:00+00:00', '2026-01-01T00:00:00+00:00', NULL, 'gp3', 'eu-west-1a', 8, 3000,
    125, 'on-demand', 'default', NULL, 'i-1', '', '{}'
);
INSERT INTO usages VALUES (
    3, 'eipalloc-1', 'address', '2026-11-28T09:07:42+00:00', '2026-11-28T09:07:42+00:00', NULL, '', '', 1, NULL, NULL,
    'on-demand', 'default', NULL, 'i-1', '', '{}'
);
INSERT INTO usages VALUES (
    4, 'eni-1', 'address', '2026-11-28T09:07:42+00:00', '2026-11-28T09:07:42+00:00', NULL, '', '', 1, NULL, NULL,
    'on-demand', 'default', NULL, 'i-1', '', '{}'
);
INSERT INTO usages VALUES (
    90, 'i-9', 'instance', '2026-01-01T00:00:00+00:00', '2026-01-01T00:00:00+00:00', '2026-01-01T01:00:00+00:00',
    't3.micro', 'eu-west-1a', 1, NULL, NULL, 'on-demand', 'default', NULL, 'i-9', 'Client.UserInitiatedShutdown',
    '{"team":"net"}'
);
INSERT INTO launch_configurations VALUES (
    'older', 'arn:aws:autoscaling:eu-west-1:123456789012:launchConfiguration:1:launchConfigurationName/older',
    '2026-01-01T00:00:00+00:00', '{"image":"ami-1","type":"t3.micro","group_ids":["sg-1"]}'
);
INSERT INTO scaling_groups VALUES (
    'web', 'arn:aws:autoscaling:eu-west-1:123456789012:autoScalingGroup:1:autoScalingGroupName/web',
    '2026-01-01T00:00:00+00:00', 1, 3, 1, '{"LaunchTemplateId":"lt-1","LaunchTemplateName":"t","Version":"$Latest"}',
    '["subnet-1"]', '["eu-west-1a"]', '', 0, 300, 0, NULL, '["Default"]', 0, 'arn:aws:iam::123456789012:role/r', '', '',
    '{}', 0, '[{"key":"Name","value":"web","propagate":true}]', '{"Launch":"User suspended at 2026-01-01T00:00:00Z"}', 0, '',
    2, '2026-01-01T00:00:00+00:00', 1, '2026-01-01T00:00:00+00:00', 0, '["GroupInServiceInstances"]', 2
);
INSERT INTO scaling_members VALUES (
    'i-1', 'web', 'eu-west-1a', 'subnet-1', 't3.micro', 'ami-1', 'InService', 'activity-1', '2026-01-01T00:00:00+00:00',
    '{"LaunchTemplateId":"lt-1","LaunchTemplateName":"t","Version":"1"}', '', 0, '', '2026-01-01T00:00:00+00:00',
    'on-demand',
    '[{"hook":"up","token":"t","deadline":"2026-01-01T00:00:00+00:00","last":"2026-01-01T00:00:00+00:00",
"heartbeat":60,"default":"ABANDON","result":""}]', 3
);
INSERT INTO scaling_activities VALUES (
    'activity-1', 'web', 'arn', 'Launching a new EC2 instance: i-1', 'At 2026-01-01T00:00:00Z an instance',
    '2026-01-01T00:00:00+00:00', 'Successful', '{}', '', 100, '2026-01-01T00:00:00+00:00'
);
INSERT INTO lifecycle_hooks VALUES ('web', 'up', 'autoscaling:EC2_INSTANCE_LAUNCHING', 60, 'ABANDON', '');
INSERT INTO scheduled_actions VALUES (
    'web', 'night', 'arn', NULL, NULL, '0 20 * * *', 'Europe/Berlin', 0, NULL, 0, '2026-01-01T19:00:00+00:00'
);
INSERT INTO scaling_policies VALUES (
    'web', 'half',
    'arn:aws:autoscaling:eu-west-1:123456789012:scalingPolicy:1:autoScalingGroupName/web:policyName/half',
    'TargetTrackingScaling', 1, NULL, NULL, NULL, NULL, '[]', NULL, NULL, '{"TargetValue":50.0}'
);
INSERT INTO metrics VALUES (1, 'Shop', 'Orders', '[["Door","east"]]', 'Count', 1772366400);
INSERT INTO metric_points VALUES (1, 1772366400, 2.0, 7.0, 3.0, 4.0);
INSERT INTO alarms VALUES (
    'busy', 'Shop', 'Orders', '[["Door","east"]]', 'Sum', NULL, 60, 1, NULL, 10.0, 'GreaterThanThreshold', NULL,
    '2026-11-25T12:00:00+00:00', '2026-11-25T12:01:00+00:00', '2026-11-25T12:01:00+00:00', NULL, 1, '[]',
    '["arn:aws:automate:us-east-1:ec2:stop"]', '[]', 'ALARM', 'Threshold Crossed', NULL, '2026-11-25T12:01:00+00:00',
    '{}', 'arn:aws:autoscaling:eu-west-1:123456789012:scalingPolicy:1:autoScalingGroupName/web:policyName/half'
);
INSERT INTO alarm_history VALUES (1, 'busy', '2026-11-25T12:01:00+00:00', 'StateUpdate', 'updated', '{}');
INSERT INTO alarm_actions VALUES (
    1, 'busy', 'arn:aws:automate:us-east-1:ec2:stop', 'ALARM', '2026-11-25T12:01:00+00:00', 11.0
);
INSERT INTO buckets VALUES (
    'bucket', 'eu-west-1', '2026-01-01T00:00:00+00:00', '123456789012', '{"a":"b"}', NULL, 'BucketOwnerEnforced',
    '{"block_acls":true,"ignore_acls":true,"block_policy":true,"restrict_buckets":true}', 0, 0, '[]', '[]', NULL, 1
);
INSERT INTO bucket_policies VALUES ('bucket', '{"Statement":[]}');
INSERT INTO objects VALUES (
    'bucket', 'key', 4, 'etag', '2026-01-02T03:04:05.678000+00:00', 'text/csv', '{}', '{}', '{}', 'FULL_OBJECT', '{}', NULL,
    1767323045000000, 'null', 1, 0,
    '[{"grantee":"http://acs.amazonaws.com/groups/global/AllUsers","permission":"READ"}]', 'GLACIER',
    '2026-01-03T00:00:00+00:00', '[{"file":"f","offset":0,"length":4}]', '[]'
);
INSERT INTO objects VALUES (
    'bucket', 'small', 4, '8d777f385d3dfec8815d20f7496026dc', '2026-11-25T00:00:00+00:00', 'text/plain', '{}', '{}', '{}',
    'FULL_OBJECT', '{}', NULL, 1, 'null', 1, 0, NULL, 'STANDARD', NULL,
    '[{"file":"","offset":0,"length":4,"row":1}]', '[]'
);
INSERT INTO uploads VALUES (
    'upload', 'bucket', 'big', '2026-01-01T00:00:00+00:00', 'arn', 'text/csv', '{}', '{}', NULL, 'FULL_OBJECT', '{}', 0, NULL, 'STANDARD_IA'
);
INSERT INTO key_deletions VALUES ('bucket', 'big', 1);
INSERT INTO parts VALUES (
    'upload', 1, 4, 'md5', '2026-01-01T00:00:00+00:00', '[{"file":"g","offset":0,"length":4}]', '{}'
);
INSERT INTO small_bodies VALUES (1, X'64617461');
INSERT INTO parameters VALUES ('/a/b', 1, '{}');
INSERT INTO parameter_versions VALUES (
    '/a/b', 1, 'String', 'value', '2026-01-01T00:00:00+00:00', 'arn', 'Standard', 'text', NULL, '["live"]'
);
INSERT INTO schedule_groups VALUES (
    'default', 'arn:aws:scheduler:us-east-1:123456789012:schedule-group/default', '2026-11-25T12:00:00+00:00',
    '2026-11-25T12:00:00+00:00', '{}', 'ACTIVE'
);
INSERT INTO schedules VALUES (
    'default', 'nightly', 'arn:aws:scheduler:us-east-1:123456789012:schedule/default/nightly', 'cron(0 2 * * ? *)',
    'Europe/Berlin', NULL, NULL, NULL, 'ENABLED',
    '{"arn":"arn:aws:scheduler:::aws-sdk:ec2:runInstances","role_arn":"arn","input":"{}","max_age":null,"attempts":0}',
    NULL, 'NONE', '2026-11-25T12:00:00+00:00', '2026-11-25T12:00:00+00:00', '2026-11-25T12:00:00+00:00',
    '2026-11-26T01:00:00+00:00'
);
INSERT INTO schedule_tokens VALUES ('CreateSchedule', 'token', 'digest', 'arn', '2026-11-25T12:00:00+00:00');
INSERT INTO schedule_invocations VALUES (
    '0123456789abcdef', 'default', 'nightly', '2026-11-25T01:00:00+00:00', '2026-11-25T12:00:00+00:00', 2
);
INSERT INTO refused_calls VALUES (
    '01234567-89ab-cdef-0123-456789abcdef', '2026-11-25T12:00:00+00:00', 'RunInstances', 'arn', '{}'
);
INSERT INTO commands VALUES (
    '01234567-89ab-cdef-0123-456789abcdef', 'AWS-RunShellScript', '$DEFAULT', '{"commands":["true"]}',
    '2026-11-25T12:00:00+00:00', '2026-11-25T14:00:00+00:00', 3600, '', '["i-00000000000000001"]',
    '[{"key":"tag:a","values":["b"]}]', '', '', '50', '0'
);
INSERT INTO command_invocations VALUES (
    '01234567-89ab-cdef-0123-456789abcdef', 'i-00000000000000001', 'Success', 'Success', 0,
    '2026-11-25T12:00:00+00:00', '2026-11-25T12:00:01+00:00', 'out', 'err'
);
