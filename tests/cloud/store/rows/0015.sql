INSERT INTO prefix_lists VALUES (
    'pl-1', 'offices', 'IPv4', 5, 1, '{"1":[{"cidr":"203.0.113.0/24","description":"Bern"}]}', 'create-complete', 'self', '{}'
);
