-- NAT gateways of several addresses, and private ones, which have no public address.
CREATE TABLE nat_gateways_now (
    id TEXT PRIMARY KEY,
    vpc_id TEXT NOT NULL,
    subnet_id TEXT NOT NULL,
    interface_id TEXT NOT NULL,
    private_ip TEXT NOT NULL,
    public_ip TEXT,
    allocation_id TEXT,
    association_id TEXT,
    created TEXT NOT NULL,
    state TEXT NOT NULL,
    deleted TEXT,
    tags TEXT NOT NULL,
    connectivity TEXT NOT NULL DEFAULT 'public',
    secondary TEXT NOT NULL DEFAULT '[]'
) STRICT;

INSERT INTO nat_gateways_now (
    id, vpc_id, subnet_id, interface_id, private_ip, public_ip, allocation_id, association_id, created, state, deleted,
    tags
)
SELECT
    id, vpc_id, subnet_id, interface_id, private_ip, public_ip, allocation_id, association_id, created, state, deleted,
    tags
FROM nat_gateways;

DROP TABLE nat_gateways;
ALTER TABLE nat_gateways_now RENAME TO nat_gateways;
CREATE INDEX nat_gateways_by_vpc ON nat_gateways (vpc_id);
