INSERT INTO addresses (id, public_ip, association_id, interface_id, private_ip, tags)
VALUES ('eipalloc-1', '127.40.1.2', 'eipassoc-1', 'eni-1', '172.31.0.5', '{}');
INSERT INTO nat_gateways VALUES (
    'nat-1', 'vpc-1', 'subnet-1', 'eni-1', '172.31.0.6', '127.40.1.3', 'eipalloc-2', 'eipassoc-2',
    '2026-01-01T00:00:00+00:00', 'available', NULL, '{}'
);
