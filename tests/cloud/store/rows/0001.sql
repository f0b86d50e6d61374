INSERT INTO cloud_facts VALUES ('123456789012', 'eu-west-1', 40, '127.0.0.1:4520', '["100000-165535"]', 7);
INSERT INTO vpcs VALUES ('vpc-1', '172.31.0.0/16', 1, 1, 1, 'dopt-1', '{"Name":"ä"}');
INSERT INTO vpcs VALUES ('vpc-2', '10.0.0.0/16', 0, 1, 0, 'dopt-1', '{}');
INSERT INTO subnets VALUES ('subnet-1', 'vpc-1', '172.31.0.0/20', 'eu-west-1a', 1, 1, '{}');
INSERT INTO internet_gateways VALUES ('igw-1', 'vpc-1', '{}');
INSERT INTO internet_gateways VALUES ('igw-2', NULL, '{}');
INSERT INTO route_tables VALUES (
    'rtb-1', 'vpc-1',
    '[{"cidr":"172.31.0.0/16","target":"local"},{"cidr":"0.0.0.0/0","target":"igw-1"}]',
    '[{"id":"rtbassoc-1","subnet_id":null}]', '{}'
);
INSERT INTO security_groups VALUES (
    'sg-1', 'vpc-1', 'default', 'default VPC security group',
    '[{"id":"sgr-1","egress":true,"protocol":"-1","from_port":-1,"to_port":-1,"cidr":"0.0.0.0/0","group_id":null,"description":"","tags":{}}]',
    '{}'
);
INSERT INTO images VALUES (
    'ami-1', 'debian', 'd', '/images/ami-1/root', 1, '2026-01-01T00:00:00+00:00', 'x86_64', 'self', 1, '{}'
);
INSERT INTO instances VALUES (
    'i-1', 'r-1', 0, 'ami-1', 't3.micro', 'eu-west-1a', 'vpc-1', 'subnet-1', '2026-01-01T00:00:00+00:00', 1000000000, 8,
    'key', 'ssh-ed25519 AAAA', 'IyEvYmluL3No', 'arn:aws:iam::123456789012:instance-profile/p', 'AIPA1', 'token', 'stop', 1,
    '{"tokens":"required","hop_limit":2,"endpoint":"enabled","tags":"disabled"}', 'running', 'running', '', '', '',
    NULL, '{"Name":"web"}'
);
INSERT INTO instances VALUES (
    'i-2', 'r-2', 0, 'ami-1', 't3.micro', 'eu-west-1a', 'vpc-1', 'subnet-1', '2026-01-01T00:00:00+00:00', 1000065536, 8,
    NULL, NULL, NULL, NULL, NULL, NULL, 'terminate', 0,
    '{"tokens":"required","hop_limit":1,"endpoint":"enabled","tags":"disabled"}', 'terminated', 'terminated',
    'Client.UserInitiatedShutdown', 'Client.UserInitiatedShutdown: User initiated shutdown', '',
    '2026-01-01T01:00:00+00:00', '{}'
);
INSERT INTO network_interfaces VALUES (
    'eni-1', 'vpc-1', 'subnet-1', '02:00:00:00:00:01', '172.31.0.5', '["sg-1"]', '2026-01-01T00:00:00+00:00',
    '127.40.1.1', 1, 'i-1', 0, 'eni-attach-1', 1, 1, '', '{}'
);
INSERT INTO volumes VALUES ('vol-1', 'i-1', '/dev/xvda', 8, 'eu-west-1a', '2026-01-01T00:00:00+00:00', '{}');
INSERT INTO consoles VALUES ('i-2', 'last words', '2026-01-01T01:00:00+00:00');
INSERT INTO key_pairs VALUES ('key-1', 'key', 'ed25519', 'f', 'ssh-ed25519 AAAA', '2026-01-01T00:00:00+00:00', '{}');
INSERT INTO client_tokens VALUES ('RunInstances', 'token', 'digest', '{"ReservationId":"r-1"}');
