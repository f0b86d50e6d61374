-- Gateway endpoints for S3. Their routes stand in the route tables.
CREATE TABLE vpc_endpoints (
    id TEXT PRIMARY KEY,
    vpc_id TEXT NOT NULL REFERENCES vpcs (id),
    service TEXT NOT NULL,
    policy TEXT NOT NULL,
    created TEXT NOT NULL,
    tags TEXT NOT NULL
) STRICT;

CREATE INDEX vpc_endpoints_by_vpc ON vpc_endpoints (vpc_id);
