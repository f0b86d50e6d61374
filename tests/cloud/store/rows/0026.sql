INSERT INTO metrics VALUES (1, 'Shop', 'Orders', '[["Door","east"]]', 'Count', 1772366400);
INSERT INTO metric_points VALUES (1, 1772366400, 2.0, 7.0, 3.0, 4.0);
