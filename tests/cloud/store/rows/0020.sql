INSERT INTO vpc_endpoints VALUES (
    'vpce-1', 'vpc-1', 'com.amazonaws.us-east-1.s3',
    '{"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}]}',
    '2026-11-25T00:00:00+00:00', '{}'
);
