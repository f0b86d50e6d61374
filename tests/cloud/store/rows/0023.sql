INSERT INTO placement_groups VALUES ('pg-1', 'near', 'cluster', NULL, '{}');
UPDATE instances SET placement_group = 'near', placement_group_id = 'pg-1' WHERE id = 'i-1';
