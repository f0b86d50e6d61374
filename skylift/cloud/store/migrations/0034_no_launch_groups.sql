-- Requests for Spot Instances that live and die together were taken, and did not: they are refused by name now.
ALTER TABLE spot_requests DROP COLUMN launch_group;
