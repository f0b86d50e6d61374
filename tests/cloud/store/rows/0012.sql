INSERT INTO accounts VALUES ('123456789012', 'web-shop', '{"tokens":"required","endpoint":null,"hop_limit":2,"tags":null,"tokens_enforced":"enabled"}');
INSERT INTO role_deletions VALUES ('task/aws-service-role/spot.amazonaws.com/AWSServiceRoleForEC2Spot/1', '2026-11-25T00:00:00+00:00');
INSERT INTO released_addresses VALUES ('127.7.1.9', '2026-11-25T00:00:00+00:00');
