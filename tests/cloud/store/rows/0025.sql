INSERT INTO spot_prices VALUES ('t3.micro', 'us-east-1a', '2026-11-25T12:00:00+00:00', 0.0031);
INSERT INTO capacities VALUES ('t3.micro', 'us-east-1a', 'any', 2);
INSERT INTO vcpu_quotas VALUES ('standard', 'spot', 32);
INSERT INTO spot_requests VALUES (
    'sir-abcd1234', 'one-time', '2026-11-25T12:00:00+00:00', '{"ImageId":"ami-1","InstanceType":"t3.micro"}',
    't3.micro', 0.0104, 'terminate', 'active', 'fulfilled', 'Your Spot request is fulfilled.',
    '2026-11-25T12:00:00+00:00', NULL, NULL, NULL, 'i-1', 'us-east-1a', 0, NULL, '{}', '{}'
);
INSERT INTO spot_notices VALUES (
    'i-1', NULL, '2026-11-25T12:00:00+00:00', '2026-11-25T12:02:00+00:00', 'price'
);
UPDATE instances SET spot_request_id = 'sir-abcd1234' WHERE id = 'i-1';
